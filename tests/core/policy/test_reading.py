"""What a policy file may say, and what the operator is told where it says something else."""

import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kauditd.core.policy import Level, Policy, ResourceSelector, Rule, Stage, parse_policy
from kauditd.core.policy.reading import LIMIT_BYTES, MAX_PROBLEMS
from kauditd.errors import BadPolicy, Problem
from tests.core.policy.recordings import documents, meaning, upstream_form

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"


def problems(text: str | bytes, *, version: str = "") -> tuple[Problem, ...]:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BadPolicy) as caught:
        parse_policy(raw, file="p.yaml", version=version)
    assert caught.value.problems
    assert caught.value.message.startswith("cannot use policy p.yaml:")
    assert caught.value.hint
    return caught.value.problems


def rule_problem(lines: str, *, version: str = "") -> Problem:
    """The one problem of a policy whose only rule has ``lines`` below its level."""
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    found = problems(f"{HEAD}rules:\n  - level: Metadata\n{indented}", version=version)
    assert len(found) == 1, found
    return found[0]


def test_every_field_is_read() -> None:
    text = (
        f"{HEAD}metadata:\n  name: mine\n  namespace: here\n  labels: {{a: b}}\n  annotations: null\n"
        "  creationTimestamp: null\nomitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n"
        "  - level: None\n    users: [a]\n    userGroups: ['system:nodes']\n    verbs: [get, list]\n"
        "    resources: [{group: apps, resources: [deployments], resourceNames: [x]}, {group: ''}, {}]\n"
        '    namespaces: [""]\n    omitStages: [Panic]\n    omitManagedFields: false\n'
        "  - level: Metadata\n    nonResourceURLs: [/a*, '*']\n"
    )

    assert parse_policy(text.encode(), file="p.yaml") == Policy(
        omit_stages=(Stage.REQUEST_RECEIVED,),
        omit_managed_fields=True,
        rules=(
            Rule(
                level=Level.NONE,
                users=("a",),
                user_groups=("system:nodes",),
                verbs=("get", "list"),
                resources=(
                    ResourceSelector(group="apps", resources=("deployments",), resource_names=("x",)),
                    ResourceSelector(),
                    ResourceSelector(),
                ),
                namespaces=("",),
                omit_stages=(Stage.PANIC,),
                omit_managed_fields=False,
            ),
            Rule(level=Level.METADATA, non_resource_urls=("/a*", "*")),
        ),
    )


def test_json_with_tabs_is_read_as_json() -> None:
    text = (
        '\n{\t"apiVersion": "audit.k8s.io\\/v1", "kind": "Policy", "metadata": null,\n\t"rules": [{"level": "None"}]}\n'
    )

    assert parse_policy(text.encode(), file="p.json") == Policy(rules=(Rule(level=Level.NONE),))


def test_an_alias_stands_for_what_its_anchor_holds() -> None:
    text = f"{HEAD}rules:\n- level: None\n  users: &who [a, b]\n- level: Request\n  users: *who\n"

    first, second = parse_policy(text.encode(), file="p.yaml").rules

    assert first.users == second.users == ("a", "b")


def test_a_misspelt_key_names_line_column_and_what_the_api_server_would_do() -> None:
    problem = rule_problem("verb: [get]")

    assert (problem.line, problem.column, problem.key) == (5, 5, "rules[0].verb")
    assert "did you mean verbs?" in problem.hint
    assert "the rule would match every verb" in problem.hint


def test_verbs_indented_below_a_resource_are_told_from_a_typo() -> None:
    problem = rule_problem('resources:\n- group: ""\n  verbs: [get]')

    assert problem.key == "rules[0].resources[0].verbs"
    assert "belongs to the rule" in problem.hint
    assert "every verb" in problem.hint


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("Users: [a]", "rules[0].Users"),
        ("users: [a]\nusers: [b]", "rules[0].users"),
        ("users: a", "rules[0].users"),
        ("users:", "rules[0].users"),
        ("users: [{a: b}]", "rules[0].users[0]"),
        ("users: [a, 5]", "rules[0].users[1]"),
        ("users: [yes]", "rules[0].users[0]"),
        ("users: [~]", "rules[0].users[0]"),
        ("users: [017]", "rules[0].users[0]"),
        ("users: [1:20]", "rules[0].users[0]"),
        ("users: [2024-01-01]", "rules[0].users[0]"),
        ("users: [é]", "rules[0].users[0]"),
        ("users: [a:, b]", "rules[0].users[0]"),
        ("users: [a?]", "rules[0].users[0]"),
        ("verbs:\n- get\n  - list", "rules[0].verbs[0]"),
        ("resources: [pods]", "rules[0].resources[0]"),
        ("resources:\n-", "rules[0].resources[0]"),
        ("resources: [{group: apps/v1}]", "rules[0].resources[0].group"),
        (f"resources: [{{group: {'a' * 254}}}]", "rules[0].resources[0].group"),
        ("resources: [{group: 5}]", "rules[0].resources[0].group"),
        ("resources: [{resourceNames: [a]}]", "rules[0].resources[0].resourceNames"),
        ("nonResourceURLs: [healthz]", "rules[0].nonResourceURLs[0]"),
        ("nonResourceURLs: ['']", "rules[0].nonResourceURLs[0]"),
        ("nonResourceURLs: [5]", "rules[0].nonResourceURLs[0]"),
        ("nonResourceURLs: ['/a*/b']", "rules[0].nonResourceURLs[0]"),
        ("nonResourceURLs: ['/a**']", "rules[0].nonResourceURLs[0]"),
        ("nonResourceURLs: [/a]\nnamespaces: [b]", "rules[0].nonResourceURLs"),
        ("nonResourceURLs: [/a]\nresources: [{}]", "rules[0].nonResourceURLs"),
        ("omitStages: [RequestRecieved]", "rules[0].omitStages[0]"),
        ("omitStages: [5]", "rules[0].omitStages[0]"),
        ("omitManagedFields: yes", "rules[0].omitManagedFields"),
        ("omitManagedFields: 'true'", "rules[0].omitManagedFields"),
    ],
)
def test_each_rule_that_upstream_refuses_or_reads_otherwise_is_refused_at_its_key(lines: str, key: str) -> None:
    problem = rule_problem(lines)

    assert problem.key == key
    assert problem.line >= 5
    assert problem.column


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", ""),
        ("# nothing\n", ""),
        ("[]", ""),
        ("kind: Policy\nrules: [{level: None}]\n", "apiVersion"),
        ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]\n", "apiVersion"),
        ("apiVersion: audit.k8s.io/v1\nkind: Event\nrules: [{level: None}]\n", "kind"),
        ("apiVersion: audit.k8s.io/v1\nrules: [{level: None}]\n", "kind"),
        ("apiVersion: 1\nkind: Policy\nrules: [{level: None}]\n", "apiVersion"),
        (HEAD, "rules"),
        (f"{HEAD}rules:\n", "rules"),
        (f"{HEAD}rules: []\n", "rules"),
        (f"{HEAD}rules: [Metadata]\n", "rules[0]"),
        (f"{HEAD}rules:\n-\n", "rules[0].level"),
        (f"{HEAD}rules: [{{}}]\n", "rules[0].level"),
        (f"{HEAD}rules: [{{level: metadata}}]\n", "rules[0].level"),
        (f"{HEAD}rules: [{{level: 5}}]\n", "rules[0].level"),
        (f"{HEAD}rules: [{{level: None}}]\nomitStages: [All]\n", "omitStages[0]"),
        (f"{HEAD}rules: [{{level: None}}]\nspec: {{}}\n", "spec"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: 5\n", "metadata"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: {{name: 5}}\n", "metadata.name"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: {{labels: {{a: 1}}}}\n", "metadata.labels.a"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: {{labels: {{Null: a}}}}\n", "metadata.labels.Null"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: {{labels: [a]}}\n", "metadata.labels"),
        (f"{HEAD}rules: [{{level: None}}]\nmetadata: {{creationTimestamp: now}}\n", "metadata.creationTimestamp"),
    ],
)
def test_each_fault_of_the_document_is_refused_at_its_key(text: str, key: str) -> None:
    assert [problem.key for problem in problems(text)] == [key]


def test_all_problems_are_reported_in_document_order() -> None:
    found = problems(f"{HEAD}rules:\n- level: metadata\n  user: [a]\n- users: [1]\n- verbs: get\n  level: None\n")

    assert [p.key for p in found] == [
        "rules[0].level",
        "rules[0].user",
        "rules[1].level",
        "rules[1].users[0]",
        "rules[2].verbs",
    ]
    assert [p.line for p in found] == [4, 5, 6, 6, 7]


def test_the_number_of_problems_is_bounded() -> None:
    assert len(problems(f"{HEAD}rules:\n" + "- level: x\n" * 500)) == MAX_PROBLEMS


@pytest.mark.parametrize("version", ["", "v1.35.9", "1.9", "2", "latest", "v1.36.0-alpha.1"])
def test_a_wildcard_group_needs_an_api_server_known_to_be_1_36(version: str) -> None:
    text = f"{HEAD}rules:\n- level: None\n  resources: [{{group: '*'}}]\n".encode()
    found = problems(text, version=version)

    assert found[0].key == "rules[0].resources[0].group"
    assert (version or "not known") in found[0].hint


@pytest.mark.parametrize(
    "version", ["v1.36.3", "v1.36", "1.37", "v1.36.0-rc.0", "v1.40.0-rc.1", "v2.0.0", "v1.36.3+k3s1"]
)
def test_later_versions_know_the_wildcard_group(version: str) -> None:
    text = f"{HEAD}rules:\n- level: None\n  resources: [{{group: '*'}}]\n".encode()

    assert parse_policy(text, file="p.yaml", version=version).rules[0].resources[0].group == "*"


def test_a_second_document_is_refused_because_the_api_server_would_not_see_it() -> None:
    found = problems(f"{HEAD}rules: [{{level: None}}]\n---\n{HEAD}rules: [{{level: Metadata}}]\n")

    assert (found[0].line, found[0].message) == (4, "a second YAML document begins here")


def test_a_file_beyond_the_limit_is_refused_unread() -> None:
    assert "bytes" in problems(b"#" * (LIMIT_BYTES + 1))[0].message


def test_hostile_files_are_refused_quickly() -> None:
    levels = "".join(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    hostile = [
        f"x0: &a0 [a]\n{levels}",
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
        "- " * 100_000,
        "a: " * 100_000,
        "rules: [" + "a, " * 300_000,
        '"' + "\\" * 200_001,
        "!" * 100_000,
        "&a " * 100_000,
        f"{HEAD}rules: [{{level: None, omitManagedFields: {'9' * 100_000}}}]",
        f"{HEAD}rules: &r [*r]",
    ]
    for text in hostile:
        started = time.process_time()
        problems(text)
        assert time.process_time() - started < 10


@given(st.binary(max_size=300) | st.text(alphabet="{}[]:,-&*!|>'\"#%@?\n\t \\uU0/xaé~", max_size=80).map(str.encode))
def test_no_bytes_do_anything_but_parse_or_be_refused(text: bytes) -> None:
    for prefix in (b"", f"{HEAD}rules:\n- level: ".encode()):
        try:
            outcome: object = parse_policy(prefix + text, file="p.yaml")
        except BadPolicy as refused:
            outcome = refused.problems
        assert outcome


ACCEPTED = [text for _, text, expect in documents() if expect[0]["strict_ok"] and expect[0]["ok"] and b"\t" not in text]
FRAGMENTS = [
    "- ",
    "  ",
    "\n",
    ":",
    ": ",
    " #",
    "'",
    '"',
    "&a ",
    "*a",
    "[",
    "]",
    "{",
    "}",
    ",",
    "?",
    "!",
    "\\/",
    "x",
    "0",
    "~",
]


@settings(max_examples=150)
@given(st.data())
def test_an_accepted_file_means_the_same_to_a_reader_of_yaml_1_1(data: st.DataObject) -> None:
    """Real files with small accidents: PyYAML resolves scalars as the API server's go-yaml v2 does."""
    text = data.draw(st.sampled_from(ACCEPTED)).decode("utf-8", "replace")
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 2))
        text = text[:at] + data.draw(st.sampled_from(["", *FRAGMENTS])) + text[at + cut :]
    try:
        policy = parse_policy(text.encode(), file="p.yaml", version="1.36")
    except BadPolicy:
        return
    loaded = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)

    assert upstream_form(policy) == meaning(loaded)
