"""The committed OpenAPI document is the table's, is valid, and describes what the server really sends."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import kauditd.api
from kauditd.api.openapi import document, schema_of, text
from tests.api.fake import FakeBackend, make_change, make_coverage, make_snapshot, make_window, request, serving

COMMITTED = Path(kauditd.api.__file__).parent / "openapi.json"
GETS = (
    "/v1/status",
    "/v1/health",
    "/v1/drift",
    "/v1/plan",
    "/v1/changes",
    "/v1/changes/1",
    "/v1/changes/1/wait",
    "/v1/policy",
    "/v1/proof",
    "/v1/version",
    "/v1/wait",
    "/v1/changes/9",
    "/v1/windows",
)
POSTS = ("/v1/apply", "/v1/rollback", "/v1/disable", "/v1/pause", "/v1/resume", "/v1/canary", "/v1/windows/1/annotate")


def test_the_committed_document_is_the_generated_one() -> None:
    again = "python -m kauditd.api.openapi > kauditd/api/openapi.json"

    assert COMMITTED.read_text() == text(), f"write it again: {again}"


def test_the_document_is_valid_openapi() -> None:
    validator = pytest.importorskip("openapi_spec_validator")

    validator.validate(json.loads(text()))


@pytest.mark.parametrize(("method", "target"), [*(("GET", t) for t in GETS), *(("POST", t) for t in POSTS)])
def test_every_answer_fits_its_schema(path: Path, method: str, target: str) -> None:
    ledger = {"windows": (make_window(1), make_window(2, end_unix_s=None)), "coverage": make_coverage()}
    backend = FakeBackend(current=replace(make_snapshot(changes=(make_change(1),)), **ledger))
    with serving(path, backend):
        answer = request(path, method, target)

    described = document()
    template = target.replace("/changes/1", "/changes/{id}").replace("/changes/9", "/changes/{id}")
    template = template.replace("/windows/1", "/windows/{id}")
    responses = described["paths"][template][method.lower()]["responses"]
    schema = responses[str(answer.status)]["content"]["application/json"]["schema"]
    jsonschema.validate(
        json.loads(answer.body), {**schema, "components": described["components"]}, jsonschema.Draft202012Validator
    )


def test_an_undescribed_type_is_a_fault_and_no_guess() -> None:
    with pytest.raises(TypeError):
        schema_of(set[int], {})
