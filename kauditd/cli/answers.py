"""The API's JSON envelope, opened: results for printing, errors as failures with their exit code."""

import json

from kauditd.cli.exits import DENIED, NO, UNREACHABLE, YES, Failure
from kauditd.cli.output import write
from kauditd.cli.wire import Reply


def result_of(reply: Reply) -> dict[str, object]:
    """The result of a successful reply, or ``Failure``. 503 with a result is /v1/health's way to say no."""
    document = _open(reply)
    result = document.get("result")
    if document.get("type") != "sync" or not isinstance(result, dict):
        raise failure_of(reply)
    return result


def show_result(reply: Reply) -> int:
    """Prints the API's own result as JSON. On an API error the error object is printed, and then raised."""
    document = _open(reply)
    if isinstance(document.get("result"), dict):
        show(document["result"])
    if document.get("type") != "sync":
        raise failure_of(reply)
    return NO if reply.verdict == 1 else YES


def show(result: object) -> None:
    """Prints a value as JSON, one field a line."""
    write(json.dumps(result, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def failure_of(reply: Reply) -> Failure:
    """What an error reply means for the command: 4 denied, 3 where nobody could answer, else 1."""
    result = _open(reply).get("result")
    error = result if isinstance(result, dict) else {}
    kind = str(error.get("kind", ""))
    message = str(error.get("message") or f"cannot use the daemon's answer: HTTP status {reply.status}")
    hint = str(error.get("hint", ""))
    code = {"forbidden": DENIED, "unavailable": UNREACHABLE}.get(kind, NO)
    return Failure(message, code=code, hint=hint or "see: journalctl -u kauditd")


def _open(reply: Reply) -> dict[str, object]:
    try:
        document = json.loads(reply.body)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {}
