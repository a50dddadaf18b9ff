"""The real API server takes every published profile, and what its log then holds is what the profile promises."""

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kauditd.core.desired import desired_state
from kauditd.core.layout import POLICY_DIR
from kauditd.core.manifest import edit
from kauditd.core.model import Desired
from kauditd.core.policy import parse_policy, publish
from kauditd.core.settings import default_settings
from kauditd.effects.profiles import PROFILE_NAMES, read_profile
from kauditd.errors import BadPolicy
from tests.real.cluster import ApiServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(120, func_only=True)]

CANARY = "/kauditd-canary"
NAMESPACE = {"metadata": {"name": "team-a"}}
PASSWORD = base64.b64encode(b"hunter2 in plain sight").decode()
SECRET = {"metadata": {"name": "key"}, "data": {"password": PASSWORD}}
LEVELS: Mapping[str, tuple[str, str]] = {  # of a created namespace, of a created Secret
    "default": ("Request", "Metadata"),
    "seed": ("RequestResponse", "Metadata"),
    "stig": ("RequestResponse", "RequestResponse"),
    "metadata": ("Metadata", "Metadata"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A running API server that audits, and where its log is."""

    server: ApiServer
    desired: Desired
    log: Path

    def events_of(self, audit_id: str, *, limit_s: float = 1.0) -> list[dict[str, Any]]:
        """The events with this id; waits up to ``limit_s`` for the first and then takes what is there."""
        deadline = time.monotonic() + limit_s
        while True:
            text = self.log.read_text() if self.log.exists() else ""
            found = [json.loads(line) for line in text.splitlines() if audit_id in line]
            events = [event for event in found if event["auditID"] == audit_id]
            if events or time.monotonic() > deadline:
                return events
            time.sleep(0.01)


def start_with(server: ApiServer, node_root: Path, manifest: bytes, policy: bytes, *, source: str) -> Audited:
    """Publish ``policy`` on the node, turn audit on in ``manifest`` and start the API server from it."""
    published = publish(parse_policy(policy, file=source), source=source)
    directory = node_root / POLICY_DIR.lstrip("/")
    directory.mkdir(parents=True)
    (directory / published.file_name).write_bytes(published.text)
    desired = desired_state(default_settings(), policy_path=f"{POLICY_DIR}/{published.file_name}")
    server.start_and_wait(edit(manifest, desired).text)
    log = node_root / default_settings().log.path.lstrip("/")
    return Audited(server=server, desired=desired, log=log)


@pytest.fixture(params=PROFILE_NAMES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def audited(apiserver: ApiServer, node_root: Path, fresh_manifest: bytes, profile: str) -> Audited:
    """The API server with one of the published profiles."""
    return start_with(apiserver, node_root, fresh_manifest, read_profile(profile), source=f"profile {profile}")


def test_a_published_profile_is_in_force(audited: Audited, node_root: Path, profile: str) -> None:
    """Flags in /proc, the canary in the file, levels as promised, and no secret where none may be."""
    canary, made, secret = (str(uuid.uuid4()) for _ in range(3))
    server = audited.server

    assert server.request(CANARY, headers={"Audit-ID": canary}).status in {403, 404}
    (event,) = [e for e in audited.events_of(canary) if e["stage"] == "ResponseComplete"]
    assert event["requestURI"] == CANARY
    assert event["level"] == "Metadata"

    running = {word.replace(str(node_root), "") for word in server.command_line()}
    assert {str(flag) for flag in audited.desired.flags} <= running
    assert audited.log.stat().st_mode & 0o777 == 0o600
    assert "lenient" not in server.last_words(100_000)

    assert server.request_as_admin("POST", "/api/v1/namespaces", NAMESPACE, Audit_ID=made).status == 201
    assert server.request_as_admin("POST", "/api/v1/namespaces/team-a/secrets", SECRET, Audit_ID=secret).status == 201
    levels = tuple({e["level"] for e in audited.events_of(i)} for i in (made, secret))
    assert levels == tuple({level} for level in LEVELS[profile])
    assert (PASSWORD in audited.log.read_text()) == (profile == "stig")


def test_the_log_is_held_open_by_the_process(apiserver: ApiServer, node_root: Path, fresh_manifest: bytes) -> None:
    """What a proof looks at: the inode of the log among the files that the running process has open."""
    audited = start_with(apiserver, node_root, fresh_manifest, read_profile("metadata"), source="profile metadata")
    held = [path.stat() for path in Path(f"/proc/{apiserver.pid}/fd").iterdir() if path.exists()]

    assert audited.log.stat().st_ino in {status.st_ino for status in held}


def test_a_policy_that_is_not_there_ends_the_start(
    apiserver: ApiServer, node_root: Path, fresh_manifest: bytes
) -> None:
    """The reason why nothing is written before the policy is in place."""
    desired = desired_state(default_settings(), policy_path=f"{POLICY_DIR}/policy-000000000000.yaml")

    apiserver.start(edit(fresh_manifest, desired).text)

    assert apiserver.exit_code() == 1
    assert "loading audit policy file" in apiserver.last_words()


def test_a_misspelt_key_starts_a_weaker_policy(apiserver: ApiServer, node_root: Path, fresh_manifest: bytes) -> None:
    """The API server only warns and drops the key; our own reader must refuse what it lets pass."""
    policy = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  userGroup: [nobody]\n"
    directory = node_root / POLICY_DIR.lstrip("/")
    directory.mkdir(parents=True)
    (directory / "policy-000000000000.yaml").write_bytes(policy)
    desired = desired_state(default_settings(), policy_path=f"{POLICY_DIR}/policy-000000000000.yaml")

    apiserver.start_and_wait(edit(fresh_manifest, desired).text)

    assert "falling back to lenient decoding" in apiserver.last_words(100_000)
    with pytest.raises(BadPolicy):
        parse_policy(policy, file="policy.yaml")
