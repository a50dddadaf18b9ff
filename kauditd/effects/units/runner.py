"""One program, started and waited for within a time."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from kauditd.core.layout import base_name
from kauditd.errors import Refused, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a program ended and what it said."""

    exit_code: int
    output: str
    errors: str


def run_bounded(words: Sequence[str], timeout_s: float) -> Done:
    """Run ``words`` with nothing to read and in the C locale; it is killed after ``timeout_s``.

    Raises ``errors.Refused`` of kind ``unavailable`` where it cannot be started or does not end.
    """
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    name = base_name(words[0])
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout_s, env=environ, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        message = f"cannot run {quote(name)}: it did not answer within {timeout_s:g} s"
        raise Refused(
            message, kind="unavailable", hint="systemd may be busy or hang; see systemctl list-jobs"
        ) from error
    except OSError as error:
        message = f"cannot run {quote(name)}: {error.strerror or error}"
        hint = "an API server that systemd runs can be changed only where systemd and its systemctl are"
        raise Refused(message, kind="unavailable", hint=hint) from error
    return Done(
        exit_code=done.returncode,
        output=done.stdout.decode("utf-8", "replace"),
        errors=done.stderr.decode("utf-8", "replace"),
    )
