"""The host's side of the driver: where it lies in a box, one call, and how to read command lines that it tells of."""

import json
from typing import Any

from tests.box.machine import Machine

PRODUCT = "/usr/lib/kauditd"
DRIVER = "/usr/lib/kauditd-box"
ASKED = [
    "--audit-log-maxage=30",
    "--audit-log-path=/var/log/kubernetes/audit/audit.log",
    "--audit-policy-file=/etc/kubernetes/audit/policy-aaaaaaaaaaaa.yaml",
]


def drive(machine: Machine, verb: str, *units: str) -> Any:
    """What the driver in the box answers to a verb, decoded."""
    words = ("python3", "-B", f"{DRIVER}/driver.py", verb, *units)
    return json.loads(machine.check("env", f"PYTHONPATH={PRODUCT}", *words, timeout_s=50))


def in_force(arguments: object) -> dict[str, str]:
    """The flags among the arguments; of two with one name the last counts."""
    assert isinstance(arguments, list)
    pairs = [word[2:].replace("_", "-").partition("=") for word in arguments if word.startswith("--")]
    return {name: value for name, _, value in pairs}
