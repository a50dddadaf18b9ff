"""The tests' own model of the API server's decisions, against recorded ones."""

import gzip
import json
from typing import Any

from kauditd.core.policy import Policy, parse_policy
from kauditd.errors import BadPolicy
from tests.core.policy.evaluator import Request, decide
from tests.core.policy.recordings import DATA, lines


def request_of(row: dict[str, Any]) -> Request:
    user, attributes = row["user"], row["attributes"]
    return Request(
        user=user["name"] if user else None,
        groups=tuple(user.get("groups") or ()) if user else (),
        is_resource=attributes["isResource"],
        **{key: attributes[key] for key in ("verb", "path", "group", "resource", "subresource", "namespace", "name")},
    )


def readable() -> dict[str, Policy]:
    policies: dict[str, Policy] = {}
    for row in lines("policies.jsonl.gz"):
        try:
            policies[row["id"]] = parse_policy(json.dumps(row["policy"]).encode(), file=row["id"], version="1.37")
        except BadPolicy:
            continue  # null entries and the like, which upstream takes and kauditd refuses
    return policies


def test_every_recorded_decision_is_reproduced() -> None:
    requests = [request_of(row) for row in lines("requests.jsonl.gz")]
    recorded = json.loads(gzip.decompress((DATA / "results.json.gz").read_bytes()))
    policies = readable()

    wrong = [
        (name, number)
        for name, policy in policies.items()
        for number, request in enumerate(requests)
        if decide(policy, request) != as_decision(recorded["outcomes"][recorded["results"][name][number]])
    ]

    assert len(policies) >= 140
    assert not wrong


def as_decision(outcome: list[Any]) -> tuple[Any, frozenset[str], bool]:
    return outcome[0], frozenset(outcome[1]), outcome[2]
