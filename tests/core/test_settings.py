"""The settings file: what it may say, and what the operator is told where it says something else."""

import time
from dataclasses import fields, is_dataclass, replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.settings import LIMIT_BYTES, Settings, default_settings, flatten, parse_settings
from kauditd.core.settings_table import PROFILE_NAMES, TABLE, render_default_file, text_fault
from kauditd.errors import BadSettings, Problem


def problems(text: str | bytes) -> tuple[Problem, ...]:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BadSettings) as caught:
        parse_settings(raw, file="k.yaml")
    assert caught.value.problems
    assert caught.value.message.startswith("cannot use settings k.yaml:")
    assert caught.value.hint
    assert all(problem.file == "k.yaml" for problem in caught.value.problems)
    return caught.value.problems


def problem(text: str | bytes) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def dotted(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    return f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}\n"


def test_the_defaults_are_those_of_the_design() -> None:
    assert flatten(default_settings()) == {
        "mode": "enforce",
        "target.kind": "auto",
        "target.manifest": "/etc/kubernetes/manifests/kube-apiserver.yaml",
        "target.unit": "kube-apiserver.service",
        "target.kubelet_stable_s": 60,
        "policy.profile": "default",
        "policy.file": None,
        "log.path": "/var/log/kubernetes/audit/audit.log",
        "log.max_size_mib": 100,
        "log.max_age_days": 30,
        "log.max_backups": 10,
        "proof.canary_interval_s": 60,
        "proof.gate_s": 120,
        "proof.overlap_s": 300,
        "api.socket": "/run/kauditd/kauditd.sock",
        "api.group": "kauditd",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# only a comment\n",
        "---\n",
        "--- ~\n",
        "\ufeff",
        "policy:\nlog:\n",
        "log: ~\n",
        "log: {}\n",
        "{}\n",
    ],
)
def test_a_file_that_says_nothing_means_the_defaults(text: str) -> None:
    assert parse_settings(text.encode(), file="k.yaml") == default_settings()


def test_a_full_file_is_read_with_byte_order_mark_and_crlf() -> None:
    text = (
        "\ufeff---\r\nmode: 'observe'  # now\r\ntarget: {kind: systemd, unit: api@1.service, kubelet_stable_s: 0}\r\n"
        'policy:\r\n  file: "/etc/kubernetes/audit-policy.yaml"\r\nlog:\r\n  path: /data/audit/a.log\r\n'
        "  max_size_mib: 1\r\n  max_age_days: 400\r\n  max_backups: 99\r\nproof: {gate_s: 45, overlap_s: 60}\r\n"
        "api:\r\n  group: adm\r\n...\r\n"
    )
    settings = parse_settings(text.encode(), file="k.yaml")

    assert flatten(settings) == flatten(default_settings()) | {
        "mode": "observe",
        "target.kind": "systemd",
        "target.unit": "api@1.service",
        "target.kubelet_stable_s": 0,
        "policy.profile": None,
        "policy.file": "/etc/kubernetes/audit-policy.yaml",
        "log.path": "/data/audit/a.log",
        "log.max_size_mib": 1,
        "log.max_age_days": 400,
        "log.max_backups": 99,
        "proof.gate_s": 45,
        "proof.overlap_s": 60,
        "api.group": "adm",
    }


def test_every_field_of_the_values_stands_in_the_table_and_the_other_way_round() -> None:
    found = []
    for field in fields(Settings):
        value = getattr(default_settings(), field.name)
        found += [f"{field.name}.{f.name}" for f in fields(value)] if is_dataclass(value) else [field.name]

    assert found == [spec.key for spec in TABLE]


def test_the_shipped_file_is_the_table_written_out() -> None:
    shipped = (files("kauditd.data") / "kauditd.yaml").read_text(encoding="utf-8")

    assert shipped == render_default_file()
    assert parse_settings(shipped.encode(), file="k.yaml") == default_settings()
    assert max(map(len, shipped.splitlines())) <= 120


def test_the_shipped_file_with_every_line_switched_on_is_the_defaults() -> None:
    lines = [
        line.replace("#", "", 1) if line.lstrip().startswith("#") and not line.lstrip().startswith("# ") else line
        for line in render_default_file().splitlines()
    ]
    text = "\n".join(lines)

    assert all(f"{spec.name}: " in text for spec in TABLE)
    assert parse_settings(text.encode(), file="k.yaml") == default_settings()


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_profile_seed_brings_its_own_retention_and_no_other_does(name: str) -> None:
    settings = parse_settings(f"policy: {{profile: {name}}}".encode(), file="k.yaml")

    assert settings.policy.profile == name
    assert settings.log.max_age_days == (1 if name == "seed" else 30)


def test_a_given_retention_outweighs_the_seed_and_a_policy_file_outweighs_the_profile() -> None:
    given_age = parse_settings(b"policy: {profile: seed}\nlog: {max_age_days: 7}", file="k.yaml")
    given_file = parse_settings(b"policy: {profile: seed, file: /etc/a.yaml}", file="k.yaml")
    no_profile = parse_settings(b"policy: {profile: null, file: /etc/a.yaml}", file="k.yaml")

    assert given_age.log.max_age_days == 7
    assert given_file.log.max_age_days == 30
    assert given_file == no_profile
    assert no_profile.policy.profile is None


def test_no_profile_and_no_file_is_refused() -> None:
    assert problem("policy:\n  profile: null\n").key == "policy.profile"
    assert problem("policy:\n  profile: null\n  file: 5\n").key == "policy.file"


@pytest.mark.parametrize("spec", [spec for spec in TABLE if not spec.nullable], ids=lambda spec: spec.key)
def test_null_is_no_value_for_a_key_that_needs_one(spec: object) -> None:
    key = next(s.key for s in TABLE if s is spec)
    for null in ("null", "~", ""):
        found = problem(dotted(key, null))
        assert (found.key, "null" in found.message, bool(found.line and found.column)) == (key, True, True)


INTEGERS = [spec for spec in TABLE if spec.kind == "int"]
NOT_INTEGERS = [
    "true",
    "'100'",
    "100.0",
    "1e3",
    "1e400",
    "0x10",
    "0o17",
    "017",
    "1_000",
    "1:20",
    "[1]",
    "{a: 1}",
    ".inf",
    "ten",
    "2024-01-01",
]


@pytest.mark.parametrize("value", NOT_INTEGERS)
def test_only_a_plain_decimal_number_is_a_number(value: str) -> None:
    for spec in INTEGERS:
        found = problem(dotted(spec.key, value))
        assert found.key == spec.key
        assert f"a whole number of {spec.unit} from {spec.low} to {spec.high}" in found.message


@pytest.mark.parametrize("spec", INTEGERS, ids=lambda spec: spec.key)
def test_numbers_hold_their_bounds(spec: object) -> None:
    entry = next(s for s in TABLE if s is spec)
    for good in (entry.low, entry.high):
        assert flatten(parse_settings(dotted(entry.key, str(good)).encode(), file="k"))[entry.key] == good
    for bad in (entry.low - 1, entry.high + 1, -5, int("9" * 30)):
        assert problem(dotted(entry.key, str(bad))).key == entry.key
    assert problem(dotted(entry.key, "9" * 5000)).key == entry.key
    assert problem(dotted(entry.key, str(entry.low - 1))).hint == entry.why_low


def test_no_string_is_a_value_for_a_number_key() -> None:
    assert all(text_fault(spec, "5") for spec in INTEGERS)


def test_a_quoted_number_is_told_to_lose_its_quotes() -> None:
    assert problem("log: {max_backups: '10'}").hint == "remove the quotes"


def test_zero_size_says_that_it_would_end_rotation() -> None:
    assert "no rotation" in problem("log: {max_size_mib: 0}").hint


BAD_PATHS = [
    "relative/a.log",
    "''",
    "/",
    "/var/log/",
    "/var/../etc/a",
    "/var/./a",
    "/var//a",
    "'/var/a b'",
    '"/var/a\\nb"',
    '"/var/a\\0b"',
    "/var/$(HOME)/a",
    "/var/%h/a",
    "/var/a:b",
    "'/var/\"a'",
    "/vär/a",
    "~",
    "5",
    "[/a]",
    "/" + "a" * 300,
    "/a" * 600,
    "/var/a\n    b",
]


@pytest.mark.parametrize("value", BAD_PATHS)
@pytest.mark.parametrize("key", ["target.manifest", "log.path", "api.socket"])
def test_a_path_must_be_fit_for_a_flag_a_mount_and_a_unit_file(key: str, value: str) -> None:
    assert problem(dotted(key, value)).key == key


def test_a_socket_path_must_fit_into_its_address() -> None:
    assert "100" in problem(dotted("api.socket", "/run/" + "a" * 96)).message


@pytest.mark.parametrize(
    ("log", "manifest"),
    [
        ("/audit.log", None),
        ("/etc/kubernetes/manifests/audit.log", None),
        ("/etc/kubernetes/manifests/sub/audit.log", None),
        ("/etc/kubernetes/audit.log", None),
        ("/etc/audit.log", None),
        ("/etc/kubernetes/audit/audit.log", None),
        ("/etc/kubernetes/audit/log/audit.log", None),
        ("/dev/stdout", None),
        ("/proc/1/fd/1", None),
        ("/usr/audit.log", None),
        ("/var/audit.log", None),
        ("/run/audit.log", None),
        ("/run/kauditd/audit.log", None),
        ("/var/lib/kauditd/log/audit.log", None),
        ("/var/lib/etcd/audit.log", None),
        ("/etc/kauditd/audit.log", None),
        ("/etc/kubernetes/pki/audit.log", None),
        ("/srv/manifests/audit.log", "/srv/manifests/kube-apiserver.yaml"),
        ("/srv/audit.log", "/srv/manifests/kube-apiserver.yaml"),
    ],
)
def test_a_log_whose_directory_must_not_be_mounted_is_refused(log: str, manifest: str | None) -> None:
    target = f"target: {{manifest: {manifest}}}\n" if manifest else ""
    found = problem(f"{target}log: {{path: {log}}}\n")

    assert found.key == "log.path"
    assert "mounted read-write" in found.message


@pytest.mark.parametrize("log", ["/var/log/audit.log", "/data/audit.log", "/opt/audit/a.log", "/var/log/kubernetes/a"])
def test_a_log_in_a_directory_of_its_own_is_taken(log: str) -> None:
    assert parse_settings(f"log: {{path: {log}}}".encode(), file="k.yaml").log.path == log


def test_one_wrong_path_is_one_problem() -> None:
    found = problem("target: {manifest: /var/log/kubernetes/audit/m.yaml}\nlog: {path: audit.log}\n")

    assert (found.key, found.line) == ("log.path", 2)


def test_a_manifest_next_to_the_default_log_is_reported_where_the_file_speaks_of_it() -> None:
    found = problem("target: {manifest: /var/log/kubernetes/audit/kube-apiserver.yaml}\n")

    assert (found.key, found.line) == ("log.path", 0)


@pytest.mark.parametrize(
    "path", ["/etc/kubernetes/manifests/p.yaml", "/etc/kubernetes/audit/p.yaml", "/etc/kubernetes/audit/x/p.yaml"]
)
def test_a_policy_source_among_manifests_or_published_policies_is_refused(path: str) -> None:
    assert problem(f"policy: {{file: {path}}}").key == "policy.file"


def test_a_manifest_that_the_kubelet_would_not_read_is_refused() -> None:
    assert problem("target: {manifest: /etc/kubernetes/manifests/.kube-apiserver.yaml}").key == "target.manifest"


@pytest.mark.parametrize(
    "value", ["on", "yes", "true", "Enforce", "enforced", "'off'", "3", "[enforce]", "enforce\n  observe"]
)
def test_a_mode_that_is_none_of_the_two_is_refused(value: str) -> None:
    found = problem(f"mode: {value}\n")

    assert found.key == "mode"
    assert "one of enforce, observe" in found.message


def test_the_nearest_word_is_suggested() -> None:
    assert problem("mode: enforced").hint == "did you mean enforce?"
    assert problem("target: {kind: static_pod}").hint == "did you mean static-pod?"
    assert problem("log: {pth: /a}").hint == "did you mean path?"
    assert problem("Mode: enforce").hint == "did you mean mode?"
    assert problem("gate_s: 120").hint == "did you mean proof.gate_s?"
    assert "known here: mode, target" in problem("zzz: 1").hint


@pytest.mark.parametrize("value", ["kube-apiserver", "a b.service", "../a.service", "5", "yes"])
def test_a_unit_must_be_a_service(value: str) -> None:
    assert problem(f"target: {{unit: {value}}}").key == "target.unit"


@pytest.mark.parametrize("value", ["1000", "-adm", "'a b'", "''", "on", f"a{'b' * 40}"])
def test_a_group_must_be_a_name(value: str) -> None:
    assert problem(f"api: {{group: {value}}}").key == "api.group"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("log:\n  path: /a/b\n  path: /c/d\n", 3, 3),
        ("log:\n\tpath: /a/b\n", 2, 1),
        ("mode:\tenforce\n", 1, 6),
        ("mode: observe\n---\nmode: enforce\n", 2, 1),
        ("- mode\n", 1, 1),
        ("enforce\n", 1, 1),
        ("log: 5\n", 1, 6),
        ("log: [a]\n", 1, 6),
        ("log:\n  - path: /a/b\n", 2, 3),
        ("mode: &a observe\n", 1, 7),
        ("mode: *a\n", 1, 7),
        ("log: {<<: {path: /a/b}}\n", 1, 7),
        ("mode: !!str observe\n", 1, 7),
        ("? [a]\n: b\n", 1, 3),
        ("mode: [observe\n", 2, 1),
        ("mode: 'observe\n", 2, 1),
        ("a: b: c\n", 1, 5),
        (b"mode: observe\xff\n", 1, 14),
        (b"# \x00\n", 1, 3),
        (b"x: 1\r\n# \xc2\x85\n", 2, 3),
    ],
)
def test_broken_files_are_refused_with_their_place(text: str | bytes, line: int, column: int) -> None:
    found = problem(text)

    assert (found.line, found.column) == (line, column)


def test_a_tab_is_called_by_its_name() -> None:
    assert "tab" in problem("log:\n\tpath: /a/b\n").hint


def test_all_problems_come_at_once_in_document_order() -> None:
    found = problems("mode: on\nlog:\n  max_size_mib: 0\n  pth: /x\nlog:\n  path: x\napi: 3\ntarget: {kind: pod}\n")

    assert [p.key for p in found] == ["mode", "log.max_size_mib", "log.pth", "log", "api", "target.kind"]
    assert [p.line for p in found] == [1, 3, 4, 5, 7, 8]


def test_a_file_beyond_the_limit_is_refused() -> None:
    assert "bytes" in problem(b"#" * (LIMIT_BYTES + 1)).message
    assert parse_settings(b"#" * LIMIT_BYTES, file="k.yaml") == default_settings()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "{" * 60_000,
        "? " * 30_000,
        "a: " * 20_000,
        "- " * 30_000,
        'a: "\\UFFFFFFFF"',
        'a: "\\ud800"',
        "mode: " + "9" * 60_000,
        "[" + "a," * 30_000 + "]",
        "a: !!python/object:os.system x",
        "%YAML 9.9\n---\nmode: observe",
        "!<tag:x> {",
        "mode: |\n  observe\n",
    ],
)
def test_hostile_files_are_refused_quickly(text: str) -> None:
    started = time.process_time()
    problems(text)

    assert time.process_time() - started < 10


WORDS = st.sampled_from(
    ["mode", "log", "path", "max_size_mib", "policy", "file", "enforce", "/a/b", "100", "null", "~", "on"]
)
PIECES = st.lists(
    WORDS
    | st.sampled_from([": ", "\n", "\n  ", "- ", "{", "}", "[", "]", ",", "#", "'", '"', "&a ", "*a", "!", "\t", "\\"])
)


@given(st.binary(max_size=200) | PIECES.map("".join).map(str.encode) | st.text(max_size=60).map(str.encode))
def test_no_bytes_do_anything_but_parse_or_be_refused(text: bytes) -> None:
    try:
        found: object = set(flatten(parse_settings(text, file="k.yaml")))
    except BadSettings as refused:
        found = len(refused.problems) > 0
    assert found in (True, {spec.key for spec in TABLE})


def test_settings_are_values() -> None:
    first, second = default_settings(), default_settings()

    assert first == second
    assert hash(first) == hash(second)
    assert replace(first, mode="observe") != second
