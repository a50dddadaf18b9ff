"""``parse_policy`` against what the API server's own code says about the same bytes."""

import json
import re
from typing import Any

import pytest
import yaml

from kauditd.core.policy import parse_policy, publish
from kauditd.errors import BadPolicy
from tests.core.policy.recordings import VERSIONS, documents, meaning, upstream_form


def answers(version: str) -> list[tuple[str, bytes, dict[str, Any]]]:
    return [
        (name, text, next(answer for answer in expect if version in answer["versions"]))
        for name, text, expect in documents()
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_api_server_refuses_or_forgives_is_refused_and_the_rest_means_the_same(version: str) -> None:
    wrong = []
    accepted = 0
    for name, text, answer in answers(version):
        try:
            policy = parse_policy(text, file=name, version=version)
        except BadPolicy:
            continue
        accepted += 1
        if not (answer["ok"] and answer["strict_ok"]) or upstream_form(policy) != meaning(answer["policy"]):
            wrong.append(name)

    assert not wrong
    assert accepted > 250


def test_validation_errors_stand_at_the_fields_that_upstream_names() -> None:
    def flat(field: str) -> str:
        return re.sub(r"\[\d+\]", "", field)

    missing = []
    for name, text, answer in answers("1.35"):
        if answer.get("stage") != "validation" or not answer["strict_ok"]:
            continue
        with pytest.raises(BadPolicy) as caught:
            parse_policy(text, file=name, version="1.35")
        ours = {flat(problem.key) for problem in caught.value.problems}
        missing += [(name, field, ours) for field in answer["fields"] if flat(field) not in ours]

    assert not missing


def test_every_accepted_document_survives_publication_and_yaml_1_1() -> None:
    for name, text, answer in answers("1.36"):
        try:
            policy = parse_policy(text, file=name, version="1.36")
        except BadPolicy:
            continue
        published = publish(policy, source=name)
        assert parse_policy(published.text, file=name, version="1.36") == policy
        assert meaning(yaml.safe_load(published.text)) == meaning(answer["policy"])
        # The YAML also is what a JSON reader would be given.
        json.dumps(yaml.safe_load(published.text))
