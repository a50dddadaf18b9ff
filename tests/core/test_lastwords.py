"""Every fault that kills a new API server, by the last line it leaves: one sentence, one remedy, one to blame."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.crilog import join_lines, last_words
from kauditd.core.lastwords import LastWords, explain_last_words
from kauditd.core.lastwords_table import Blame

DATA = Path(__file__).parents[1] / "data/podlogs"
KLOG = "1123 18:24:16.818956       1 "

RECORDED = {
    "unknown-flag": ("unknown-flag", "--audit-log-maxsizes"),
    "bad-maxage-value": ("bad-flag-value", '--audit-log-maxage does not take the value "thirty"'),
    "negative-maxsize": ("negative-value", "--audit-log-maxsize must not be negative, and it is -1"),
    "policy-missing-file": ("policy-missing", "/etc/kubernetes/audit/absent.yaml"),
    "policy-not-mounted": ("policy-missing", "/etc/kubernetes/audit/policy.yaml"),
    "policy-bad-yaml": ("policy-broken-yaml", "line 4: did not find expected ',' or ']' (in /etc/kubernetes/audit/bad"),
    "policy-bad-level": ("policy-bad-level", 'level "Everything", which there is not (in /etc/kubernetes/audit/bad'),
    "policy-no-rules": ("policy-no-rules", "/etc/kubernetes/audit/bad.yaml"),
    "policy-empty-file": ("policy-empty", "/etc/kubernetes/audit/bad.yaml"),
    "policy-old-api": ("policy-old-version", "audit.k8s.io/v1beta1"),
    "log-dir-readonly": ("log-read-only", "/var/log/kubernetes/audit/audit.log"),
    "log-path-is-dir": ("log-is-directory", "/var/log/kubernetes/audit is a directory"),
}


def failed(text: str) -> LastWords:
    """What a command that failed with ``text`` means."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return explain_last_words(f'E{KLOG}run.go:72] "command failed" err="{escaped}"')


@pytest.mark.parametrize("fault", RECORDED)
def test_recorded_fault(fault: str) -> None:
    code, part = RECORDED[fault]
    words = explain_last_words(last_words(join_lines((DATA / f"{fault}.log").read_bytes())))
    assert words.code == code
    assert part in words.sentence
    assert words.remedy
    assert words.blames is Blame.AUDIT


def test_server_that_runs_has_not_given_up() -> None:
    """The log of a server with a policy of unknown fields: it warned, and it serves."""
    words = explain_last_words(last_words(join_lines((DATA / "policy-unknown-field.log").read_bytes())))
    assert (words.code, words.blames) == ("silent", Blame.UNKNOWN)


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("ensureLogFile: open /data/trail/k8s.json: permission denied", "log-denied", "/data/trail/k8s.json"),
        ("ensureLogFile: mkdir /data: read-only file system", "log-read-only", "/data"),
        ("ensureLogFile: open /data/a.log: no space left on device", "log-no-space", "/data/a.log"),
        ("ensureLogFile: open /data/a.log: disk quota exceeded", "log-no-space", "/data/a.log"),
        ("ensureLogFile: open /data/a.log: not a directory", "log-refused", "/data/a.log: not a directory"),
        ("ensureLogFile: something new", "log-refused", "something new"),
        (
            'loading audit policy file: failed to read file path "/p.yaml": open /p.yaml: permission denied',
            "policy-denied",
            "/p.yaml",
        ),
        (
            'loading audit policy file: failed to read file path "/p.yaml": read /p.yaml: is a directory',
            "policy-is-directory",
            "/p.yaml",
        ),
        (
            'loading audit policy file: failed to read file path "/p.yaml": open /p.yaml: input/output error',
            "policy-refused",
            "input/output error",
        ),
        (
            "loading audit policy file: failed decoding: json: cannot unmarshal rules.users: from file /p.yaml",
            "policy-broken-yaml",
            "rules.users",
        ),
        (
            "loading audit policy file: failed decoding: Object 'Kind' is missing in '{}': from file /p.yaml",
            "policy-empty",
            "/p.yaml",
        ),
        (
            'loading audit policy file: rules[2].nonResourceURLs[0]: Invalid value: "x": must begin with /',
            "policy-refused",
            "rules[2].nonResourceURLs[0]",
        ),
        (
            "loading audit policy file: rules[1].resources[0].group: Required value: must not be empty",
            "policy-refused",
            "must not be empty",
        ),
        (
            'invalid audit log mode fast, allowed modes are "batch,blocking"',
            "bad-flag-value",
            'log mode cannot be "fast"',
        ),
        (
            "invalid audit batch log max batch size 0, must be a positive number",
            "bad-flag-value",
            'batch log max batch size cannot be "0": must be a positive number',
        ),
        ('invalid group version, allowed versions are ["audit.k8s.io/v1"]', "bad-flag-value", "--audit-log-version"),
        ("ensureLogFile: mkdir /data/file: not a directory", "log-refused", "mkdir /data/file: not a directory"),
        (
            'loading audit policy file: failed decoding: no kind "Rules" is registered for version "audit.k8s.io/v1"',
            "policy-old-version",
            "a Rules of audit.k8s.io/v1",
        ),
        (
            "loading audit policy file: couldn't get version/kind; json parse error: json: cannot unmarshal string",
            "policy-broken-yaml",
            "cannot unmarshal string",
        ),
        (
            'loading audit policy file: omitStages[0]: Invalid value: "Foo": allowed stages are X: from file /p.yaml',
            "policy-refused",
            "allowed stages are X (in /p.yaml)",
        ),
        ("[--audit-log-maxage -3 can't be a negative number, x]", "negative-value", "--audit-log-maxage"),
        ("--audit-log-maxbackup: -2 must not be negative", "negative-value", "it is -2"),
        (
            "initializing audit webhook: stat /etc/hook.yaml: no such file or directory",
            "file-missing",
            "/etc/hook.yaml",
        ),
        ("failed to initialize audit: boom", "audit-refused", "boom"),
    ],
)
def test_fault_of_the_audit_settings(text: str, code: str, part: str) -> None:
    words = failed(text)
    assert (words.code, words.blames) == (code, Blame.AUDIT)
    assert part in words.sentence


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("Error: unknown flag: --colour", "unknown-flag", "--colour"),
        ("Error: unknown shorthand flag: 'q' in -q", "unknown-flag", "'q'"),
        ("error: flag needs an argument: --secure-port", "bad-flag-value", "--secure-port"),
        (
            'Error: invalid argument "no" for "-v, --v" flag: strconv.ParseInt: parsing "no": invalid syntax',
            "bad-flag-value",
            '--v does not take the value "no"',
        ),
        ("panic: runtime error: invalid memory address or nil pointer dereference", "panic", "nil pointer"),
        ("fatal error: all goroutines are asleep - deadlock!", "panic", "asleep"),
        ("fatal error: runtime: out of memory", "out-of-memory", "out of memory"),
        ("runtime: out of memory: cannot allocate 4194304-byte block", "out-of-memory", "out of memory"),
        ("Killed", "killed", "killed"),
        ("signal: killed", "killed", "killed"),
        ("exec /usr/local/bin/kube-apiserver: exec format error", "program-missing", "exec format error"),
    ],
)
def test_fault_of_another_kind_in_a_bare_line(line: str, code: str, part: str) -> None:
    words = explain_last_words(line)
    assert (words.code, words.blames) == (code, Blame.OTHER)
    assert part in words.sentence


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        (
            "failed to create listener: listen tcp 0.0.0.0:6443: bind: address already in use",
            "port-in-use",
            "0.0.0.0:6443",
        ),
        ("failed to listen on [::1]:443: listen tcp [::1]:443: bind: permission denied", "port-refused", "[::1]:443"),
        (
            "failed to listen on 10.0.0.9:6443: listen tcp 10.0.0.9:6443: bind: cannot assign requested address",
            "port-refused",
            "cannot listen on 10.0.0.9:6443: cannot assign requested address",
        ),
        ("listen tcp: lookup node.example: no such host", "unknown", "lookup node.example"),
        ('error loading CA bundle for "x": data does not contain any valid certificates', "certificate-refused", "CA"),
        ("tls: failed to find any PEM data in certificate input", "certificate-refused", "PEM data"),
        ("--etcd-servers must be specified", "flag-missing", "--etcd-servers"),
        ("unrecognized feature gate: Foo", "bad-flag-value", "Foo"),
        ('enable-admission-plugins plugin "Foo" is unknown', "bad-flag-value", '"Foo"'),
        ("open /etc/kubernetes/pki/apiserver.crt: no such file or directory", "certificate-missing", "apiserver.crt"),
        (
            "open /etc/kubernetes/pki/apiserver-etcd-client.key: no such file or directory",
            "certificate-missing",
            "apiserver-etcd-client.key",
        ),
        ("stat /srv/pki/sa: no such file or directory", "certificate-missing", "/srv/pki/sa"),
        ("open /etc/kubernetes/encryption.yaml: no such file or directory", "file-missing", "encryption.yaml"),
        ("open /etc/kubernetes/pki/apiserver.key: permission denied", "file-denied", "apiserver.key"),
        ("tls: private key does not match public key", "certificate-refused", "does not match"),
        ("OIDC: Get https://issuer.example: context deadline exceeded", "unknown", "OIDC"),
    ],
)
def test_fault_of_the_node(text: str, code: str, part: str) -> None:
    words = failed(text)
    assert words.code == code
    assert words.blames is (Blame.UNKNOWN if code == "unknown" else Blame.OTHER)
    assert part in words.sentence


@pytest.mark.parametrize(
    "line",
    [
        f'E{KLOG}run.go:72] "command failed" err="context deadline exceeded"',
        "Error: context deadline exceeded",
        f"F{KLOG}instance.go:232] Error creating leases: error creating storage factory: context deadline exceeded",
        (
            f"W{KLOG}logging.go:55] [core] addrConn.createTransport failed to connect to {{Addr: 10.0.0.7:2379}}. "
            "Err: dial tcp 10.0.0.7:2379: connect: connection refused"
        ),
        f'E{KLOG}run.go:72] "command failed" err="dial tcp: lookup etcd.example on 10.0.0.1:53: no such host"',
        f"F{KLOG}controller.go:1] unable to sync: etcdserver: mvcc: database space exceeded",
        '{"ts":1.5,"msg":"command failed","err":"context deadline exceeded"}',
    ],
)
def test_dead_etcd(line: str) -> None:
    words = explain_last_words(line)
    assert (words.code, words.blames) == ("etcd-unreachable", Blame.ETCD)
    assert "etcd" in words.remedy


def test_etcd_that_is_well_is_not_blamed() -> None:
    words = explain_last_words(f"I{KLOG}store.go:1] Monitoring resources path=/registry via etcd 127.0.0.1:2379")
    assert (words.code, words.blames) == ("silent", Blame.UNKNOWN)


def test_old_server_ended_by_the_kubelet() -> None:
    """SIGTERM, the port closes, silence, SIGKILL: no fault of anything."""
    words = explain_last_words(f"I{KLOG}secure_serving.go:256] Stopped listening on [::]:6443")
    assert (words.code, words.blames) == ("silent", Blame.UNKNOWN)
    assert "Stopped listening" in words.sentence


def test_no_word_at_all() -> None:
    words = explain_last_words("")
    assert (words.code, words.blames) == ("silent", Blame.UNKNOWN)


def test_unknown_words_are_quoted_and_cut() -> None:
    words = failed("a new kind of trouble \x1b[31m" + "x" * 1000)
    assert (words.code, words.blames) == ("unknown", Blame.UNKNOWN)
    assert "a new kind of trouble" in words.sentence
    assert "\x1b" not in words.sentence
    assert len(words.sentence) < 300


def test_foreign_braces_are_only_text() -> None:
    assert explain_last_words("Error: strange {flag}").sentence.endswith("strange {flag}")
    assert "{0}" in explain_last_words('Error: invalid argument "{0}" for "--audit-x" flag: bad').sentence


@given(text=st.text(max_size=300))
def test_any_line_has_one_short_printable_sentence(text: str) -> None:
    for line in (text, f"Error: {text}", f'E{KLOG}run.go:72] "command failed" err="audit policy: {text}'):
        words = explain_last_words(line)
        assert words.sentence.isprintable()
        assert words.code
        assert words.remedy
        assert len(words.sentence) < 700
