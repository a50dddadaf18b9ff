"""The API server as a host process, under real systemd: drop-in in, drop-in derived again, drop-in out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kauditd.sim.container import BindMount, Container
from tests.box.conftest import DRIVER, PRODUCT
from tests.box.machine import Machine

pytestmark = pytest.mark.box

UNIT = "kube-apiserver.service"
FRAGMENT = f"/etc/systemd/system/{UNIT}"
OURS = f"{FRAGMENT}.d/90-kauditd.conf"
ASKED = [
    "--audit-log-maxage=30",
    "--audit-log-path=/var/log/kubernetes/audit/audit.log",
    "--audit-policy-file=/etc/kubernetes/audit/policy-aaaaaaaaaaaa.yaml",
]
POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
STAND_IN = "/usr/lib/stand-in/kube-apiserver.py"
STAND_IN_TEXT = """\
import sys
from kauditd.sim.apiserver import main
sys.exit(main(sys.argv[1:], parent_pid=1))
"""
PROGRAM = f"@/usr/bin/python3 kube-apiserver {STAND_IN}"
SERVICE = f"""\
[Unit]
Description=Stand-in API server
[Service]
Environment=PYTHONPATH={PRODUCT} PYTHONDONTWRITEBYTECODE=1 KAUDITD_SIM_CONTAINER=/etc/stand-in.json
Restart=on-failure
RestartSec=100ms
"""
FLAGS = ("--advertise-address=127.0.0.1", "--secure-port=6443")
STYLES: Mapping[str, Mapping[str, str]] = {
    "plain": {FRAGMENT: f"{SERVICE}ExecStart={PROGRAM} \\\n  {FLAGS[0]} \\\n  # why not\n  {FLAGS[1]} --v=2\n"},
    "variables": {
        f"/usr/lib/systemd/system/{UNIT}": (
            f"{SERVICE}EnvironmentFile=-/etc/kubernetes/apiserver\nProtectSystem=strict\n"
            f"ExecStart={PROGRAM} {FLAGS[0]} $KUBE_API_ARGS\n"
        ),
        "/etc/kubernetes/apiserver": f'# flags\nKUBE_API_ARGS="{FLAGS[1]} --audit-log-maxage=7 --v=2"\n',
    },
    "drop-in": {
        f"/usr/lib/systemd/system/{UNIT}": f"{SERVICE}ExecStart={PROGRAM} --v=9\n",
        f"{FRAGMENT}.d/10-local.conf": (
            f"[Service]\nExecStart=\nExecStart={PROGRAM} {' '.join(FLAGS)} --v=2 --audit_log_path=/var/log/own.log\n"
        ),
    },
}
LAST_FLAG = "--v=2"


def drive(machine: Machine, verb: str, unit: str = UNIT) -> Any:
    """What the driver answers to a verb, decoded; "" where it says nothing."""
    words = ("python3", "-B", f"{DRIVER}/driver.py", verb, unit)
    return json.loads(machine.check("env", f"PYTHONPATH={PRODUCT}", *words, timeout_s=50) or '""')


def install(machine: Machine, files: Mapping[str, str], tmp_path: Path) -> dict[str, object]:
    """A stand-in API server as a unit of ``files``, started; what it looks like."""
    view = Container(
        speed=50.0,
        started_monotonic_s=0.0,
        version="v1.36.3",
        address="127.0.0.1",
        scratch="/run/stand-in",
        faults_dir="/run/faults",
        tokens={},
        mounts=(BindMount(mount_path="/", host_path="", read_only=False),),
    )
    view.save(tmp_path / "view.json")
    machine.write("/etc/stand-in.json", (tmp_path / "view.json").read_text())
    machine.write(STAND_IN, STAND_IN_TEXT)
    machine.write(ASKED[2].partition("=")[2], POLICY)
    machine.check("mkdir", "-p", "/var/log/kubernetes/audit")
    for path, text in files.items():
        machine.write(path, text)
    return drive(machine, "start")


def in_force(arguments: object) -> dict[str, str]:
    assert isinstance(arguments, list)
    pairs = [word[2:].replace("_", "-").partition("=") for word in arguments if word.startswith("--")]
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("style", STYLES)
def test_the_trail_goes_on_stays_on_and_goes_off(machine: Machine, tmp_path: Path, style: str) -> None:
    files = STYLES[style]
    asked = in_force(ASKED)
    original = install(machine, files, tmp_path)
    assert original["arguments"] == original["expected"], "the reader and the process disagree"
    assert original["codes"]
    # Debian's manager knows /usr/lib by its older name.
    assert original["fragment"].removeprefix("/usr") == original["manager_fragment"].removeprefix("/usr")
    assert original["drop_ins"] == original["manager_drop_ins"]

    enabled = drive(machine, "edit")
    assert in_force(enabled["arguments"]) == in_force(original["arguments"]) | asked
    assert enabled["arguments"] == enabled["expected"]
    assert enabled["manager_drop_ins"] == enabled["drop_ins"]
    assert OURS in str(enabled["drop_ins"])
    assert (enabled["stale"], enabled["codes"], enabled["livez"]) == (False, [], 200)
    assert '"/livez"' in machine.check("cat", "/var/log/kubernetes/audit/audit.log")

    again = drive(machine, "edit")
    assert again["pid"] == enabled["pid"], "nothing to do restarts nothing"

    path, text = next((path, text) for path, text in files.items() if PROGRAM in text and FLAGS[0] in text)
    machine.write(path, text.replace(FLAGS[0], f"{FLAGS[0]} --min-request-timeout=900"))
    changed = drive(machine, "look")
    assert (changed["stale"], changed["codes"]) == (True, ["unit-stale"])
    assert "--min-request-timeout=900" not in str(changed["arguments"])
    upgraded = drive(machine, "edit")
    assert in_force(upgraded["arguments"]) == in_force(enabled["arguments"]) | {"min-request-timeout": "900"}
    assert (upgraded["stale"], upgraded["codes"]) == (False, [])

    machine.write(path, text)
    drive(machine, "strip")
    stripped = drive(machine, "look")
    assert stripped["arguments"] == original["arguments"]
    assert stripped["drop_ins"] == original["drop_ins"]
    for path, text in files.items():
        assert machine.check("cat", path) == text, "no foreign file has changed"


DUMP = "/opt/dump/kube-apiserver"
DUMP_TEXT = """\
#!/usr/bin/python3
import json, os, sys
with open(os.environ["DUMP"], "w") as out:
    json.dump(sys.argv[1:], out)
"""
LINES = (
    r"""--a='b c' "--d=e f" --g="h 'i'" 'j "k"' l'm n'o"p q" """,
    r"""--a=\x41\102\u00e9\s\t|\" \' "\\" 'a\x42' \a\b\n\v""",
    r"""--a=\d \q "\w" a\ b c\  d""",
    r"""'' "" --a= ;b #c \; d;e""",
    r"""--n=%n --N=%N --p=%p --i=[%i] --percent=%% --j=%j""",
    r"""$ONE $MANY $NONE x$MANY ${MANY} a${ONE}b${NONE}c $$ONE $${ONE} ${MANY $ "$MANY" '${MANY}'""",
    r"""--audit-log-path $ONE $MANY --audit-log-maxage=${ONE}""",
    r"""$FROM_A $FROM_B $QUOTED $ESCAPED $JOINED $TRAILING""",
    "--a \\\n# comment \\\n   --b \\\n; comment\n  'c \\\n d' \\\n\t--e",
    r"""é --ü=ß "日本" \xe6\x97\xa5""",
    r"""--audit-log-path=/a --audit-log-path=/b $MANY --audit_policy_file=/p""",
    r"""--a -- b""",
)
ENVIRONMENT = r"""Environment=ONE=1 "MANY=--x=1 'two words' three\\ four" EMPTY=
Environment='FROM_A=unit' "ODD=a b"
EnvironmentFile=/etc/dump.env
EnvironmentFile=-/etc/none.env
"""
BLANKS = "   "
VARIABLES = r"""# a comment
; another
FROM_A = file
export FROM_B=no
FROM_B="it's \"quoted\" \$x \d
second line"
QUOTED='a\b' "c"
ESCAPED=a\ b\
c  d{TRAIL}
JOINED=a'b'"c"
TRAILING="x"y z
1BAD=no
""".replace("{TRAIL}", BLANKS)


def test_every_word_reaches_the_process_as_it_was_read(machine: Machine) -> None:
    """systemd itself is the judge of the reader, before the drop-in and after it."""
    machine.write(DUMP, DUMP_TEXT, mode="0755")
    machine.write("/etc/dump.env", VARIABLES)
    units = {f"dump-a{number}.service": line for number, line in enumerate(LINES)}
    prefixes = ("", ":", "-", "@")
    units |= {f"dump-b{number}.service": LINES[5] for number in range(len(prefixes))}
    for name, line in units.items():
        prefix = prefixes[int(name[6:].partition(".")[0])] if name.startswith("dump-b") else ""
        program = f"{prefix}{DUMP}{' kube-apiserver' if prefix == '@' else ''}"
        machine.write(
            f"/etc/systemd/system/{name}",
            f"[Service]\nType=oneshot\nEnvironment=DUMP=/run/{name}.json\n{ENVIRONMENT}ExecStart={program} {line}\n",
        )
    machine.check("systemctl", "daemon-reload")
    before = {name: dumped(machine, name) for name in units}
    assert before == {name: drive(machine, "words", name) for name in units}

    for name in units:
        drive(machine, "compose", name)
    machine.check("systemctl", "daemon-reload")
    after = {name: dumped(machine, name) for name in units}
    assert after == {name: drive(machine, "words", name) for name in units}
    for name, words in after.items():
        assert in_force(words) == in_force(before[name]) | in_force(ASKED)


def dumped(machine: Machine, unit: str) -> object:
    """The arguments that systemd started the unit's program with."""
    machine.check("systemctl", "start", unit)
    return json.loads(machine.check("cat", f"/run/{unit}.json"))
