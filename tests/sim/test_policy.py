"""The stand-in's own reading of policies agrees with what real API-server code (v1.35 to v1.37) answered."""

import base64
import gzip
import json
from pathlib import Path

import pytest

from kauditd.sim.policy import Policy, PolicyRefused, load_policy
from kauditd.sim.requestinfo import read_request_info

VECTORS = Path(__file__).parents[1] / "data" / "policy"
# Whole groups of recorded documents in which the stand-in must be right about every single one; the others exercise
# corners of YAML and JSON that no policy of a scenario has.
EXACT_GROUPS = frozenset({"level", "url", "names", "stage", "not-validated", "lenient", "rules", "real", "size"})


def recorded(name: str) -> list[dict[str, object]]:
    with gzip.open(VECTORS / f"{name}.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def refusal(content: bytes, *, minor: int = 37) -> str:
    with pytest.raises(PolicyRefused) as caught:
        load_policy(content, minor=minor)
    return caught.value.message


def test_decisions_are_those_recorded() -> None:
    requests = recorded("requests")[::7]
    policies = {str(entry["id"]): entry["policy"] for entry in recorded("policies")}
    with gzip.open(VECTORS / "results.json.gz", "rt") as stream:
        results = json.load(stream)
    compared = 0
    for identifier, indices in results["results"].items():
        policy = load_policy(json.dumps(policies[identifier]).encode(), minor=37)
        for request, index in zip(requests, indices[::7], strict=True):
            level, stages, _ = results["outcomes"][index]
            found = decide(policy, request)
            assert found == (level, frozenset(stages)), (identifier, request)
            compared += 1
    assert compared > 1000


def decide(policy: Policy, request: dict[str, object]) -> tuple[str, frozenset[str]]:
    user = request["user"]
    info = read_request_info(str(request["method"]), str(request["url"]))
    if not isinstance(user, dict):
        return policy.decide(info, user="", groups=())
    return policy.decide(info, user=user["name"], groups=user["groups"] or ())


def test_loader_accepts_and_refuses_what_was_recorded() -> None:
    compared = 0
    for entry in recorded("load"):
        if str(entry["id"]).partition("/")[0] not in EXACT_GROUPS:
            continue
        expected = entry["expect"]
        assert isinstance(expected, list)
        newest = next(answer for answer in expected if "1.37" in answer["versions"])
        try:
            load_policy(base64.b64decode(str(entry["doc"])), minor=37)
            accepted = True
        except PolicyRefused:
            accepted = False
        assert accepted == newest["ok"], entry["id"]
        compared += 1
    assert compared > 50


def test_group_star_loads_since_1_36_only() -> None:
    content = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  resources:\n  - group: '*'\n"
    assert load_policy(content, minor=36).rules[0].level == "Metadata"
    assert "RFC 1123 subdomain" in refusal(content, minor=35)


def test_plain_on_is_a_boolean_and_fatal() -> None:
    content = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  namespaces: [on]\n"
    assert "cannot unmarshal bool" in refusal(content)


def test_only_the_first_document_counts() -> None:
    content = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n---\nrules: 5\n"
    assert len(load_policy(content, minor=37).rules) == 1
