"""The process under test. One request a line on standard input (JSON), one answer a line on standard output.

A request is carried out by a forked child, which waits until strace has attached to it where faults are asked for.
So system calls are counted from a known point, and a scenario costs no interpreter start.

request: {"root": DIR, "action": "replace"|"change"|"keep", "content": TEXT, "crash_at": "name[:N]",
          "inject": "fsync:error=EIO:when=1", "trace": FILE}
answer:  {"status": wait status, "result": {...} or null, "refused": why strace could not be used}
"""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.abspath(__file__).rsplit("/tests/", 1)[0])

from kauditd import errors
from kauditd.core import history
from kauditd.core.model import Change, ManifestFile, Outcome
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.effects.crashpoints import VARIABLE, crash_point_hook
from kauditd.effects.journal import Journal
from kauditd.effects.store import Store

MARK_BEGIN = "/marker-of-the-test/begin"
MARK_END = "/marker-of-the-test/end"


def keep(request: dict[str, str]) -> dict[str, object]:
    """Write each kind of file of our own once more than the scene has."""
    root = request["root"]
    store = Store(f"{root}/state", files=files)
    journal = Journal(f"{root}/state/changes.ndjson", files=files)
    os.access(MARK_BEGIN, os.F_OK)
    store.save_state({"n": 2})
    journal.append({"type": "second"})
    journal.compact()
    files.publish_immutable(f"{root}/policies", "policy-0123456789ab.yaml", b"policy")
    os.access(MARK_END, os.F_OK)
    return {"error": ""}


def act(request: dict[str, str], found: ManifestFile) -> dict[str, object]:
    """Replace the manifest, inside a journalled change where asked; what came of it."""
    root = request["root"]
    at = crash_point_hook({VARIABLE: request.get("crash_at", "")})
    content = request["content"].encode()
    journal = Journal(f"{root}/state/changes.ndjson", files=files)
    store = Store(f"{root}/state", files=files)
    change = Change(
        id=1,
        cause="repair",
        target=found.path,
        summary="put the flags back",
        before=found.digest,
        after=digest_of(content),
        started_unix_s=time.time(),
    )
    os.access(MARK_BEGIN, os.F_OK)
    try:
        if request["action"] == "change":
            store.prepare()
            store.save_manifest(found.content)
            at("change.copy-saved")
            journal.append(history.intent_record(change))
            at("change.intent-written")
        replacement = files.Replacement(
            path=found.path, content=content, expected_digest=found.digest, expected_id=found.id
        )
        files.replace(replacement, at=at)
        if request["action"] == "change":
            journal.append(history.outcome_record(1, Outcome.PROVEN, finished_unix_s=time.time()))
    except errors.FileFault as fault:
        return {
            "error": type(fault).__name__,
            "errno": fault.errno_name,
            "message": fault.message,
            "hint": fault.hint,
            "renamed": getattr(fault, "renamed", False),
        }
    finally:
        os.access(MARK_END, os.F_OK)
    return {"error": ""}


def child(request: dict[str, str], go: int, answer: int) -> None:
    found = files.read_manifest(f"{request['root']}/manifests/kube-apiserver.yaml")
    os.write(answer, b"r")
    os.read(go, 1)
    outcome = keep(request) if request["action"] == "keep" else act(request, found)
    os.write(answer, json.dumps(outcome).encode())
    os._exit(0)


def attach(pid: int, request: dict[str, str]) -> "subprocess.Popen[str] | None":
    """strace on the waiting child, or None where no fault is asked for."""
    if not (request.get("inject") or request.get("trace")):
        return None
    command = ["strace", "-p", str(pid), "-o", request.get("trace") or "/dev/null"]
    if request.get("inject"):
        command += ["-e", f"trace={request['inject'].partition(':')[0]}", "-e", f"inject={request['inject']}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.kill()
        raise RuntimeError(f"strace cannot attach: {line.strip()}")
    return tracer


def carry_out(request: dict[str, str]) -> dict[str, object]:
    go_read, go_write = os.pipe()
    answer_read, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.close(answer_read)
        try:
            child(request, go_read, answer_write)
        finally:
            os._exit(70)
    os.close(go_read)
    os.close(answer_write)
    refused = ""
    tracer = None
    try:
        os.read(answer_read, 1)  # the child has read the manifest: what it calls from now on is counted
        tracer = attach(pid, request)
        os.write(go_write, b"g")
    except (OSError, RuntimeError) as error:
        refused = str(error)
    os.close(go_write)
    with os.fdopen(answer_read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if tracer is not None:
        tracer.communicate(timeout=20)
    return {"status": status, "result": json.loads(text) if text else None, "refused": refused}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
