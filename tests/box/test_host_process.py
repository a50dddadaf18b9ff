"""The API server as a host process, under real systemd: drop-in in, drop-in derived again, drop-in out."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kauditd.sim.container import BindMount, Container
from tests.box.driving import ASKED, DRIVER, PRODUCT, drive, in_force
from tests.box.machine import Machine
from tests.tree import ROOT

pytestmark = pytest.mark.box

UNIT = "kube-apiserver.service"
FRAGMENT = f"/etc/systemd/system/{UNIT}"
OURS = f"{FRAGMENT}.d/90-kauditd.conf"
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
    return drive(machine, "start", UNIT)


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

    enabled = drive(machine, "edit", UNIT)
    assert in_force(enabled["arguments"]) == in_force(original["arguments"]) | asked
    assert enabled["arguments"] == enabled["expected"]
    assert enabled["manager_drop_ins"] == enabled["drop_ins"]
    assert OURS in str(enabled["drop_ins"])
    assert (enabled["stale"], enabled["codes"], enabled["livez"]) == (False, [], 200)
    assert '"/livez"' in machine.check("cat", "/var/log/kubernetes/audit/audit.log")

    again = drive(machine, "edit", UNIT)
    assert again["pid"] == enabled["pid"], "nothing to do restarts nothing"

    path, text = next((path, text) for path, text in files.items() if PROGRAM in text and FLAGS[0] in text)
    machine.write(path, text.replace(FLAGS[0], f"{FLAGS[0]} --min-request-timeout=900"))
    changed = drive(machine, "look", UNIT)
    assert (changed["stale"], changed["codes"]) == (True, ["unit-stale"])
    assert "--min-request-timeout=900" not in str(changed["arguments"])
    upgraded = drive(machine, "edit", UNIT)
    assert in_force(upgraded["arguments"]) == in_force(enabled["arguments"]) | {"min-request-timeout": "900"}
    assert (upgraded["stale"], upgraded["codes"]) == (False, [])

    machine.write(path, text)
    drive(machine, "strip", UNIT)
    stripped = drive(machine, "look", UNIT)
    assert stripped["arguments"] == original["arguments"]
    assert stripped["drop_ins"] == original["drop_ins"]
    for path, text in files.items():
        assert machine.check("cat", path) == text, "no foreign file has changed"


def test_a_command_that_does_not_start_leaves_its_last_words_and_is_taken_back(
    machine: Machine, tmp_path: Path
) -> None:
    original = install(machine, STYLES["plain"], tmp_path)
    machine.write(ASKED[2].partition("=")[2], "apiVersion: audit.k8s.io/v1\nkind: Policy\n")
    failed = machine.run("env", f"PYTHONPATH={PRODUCT}", "python3", "-B", f"{DRIVER}/driver.py", "edit", UNIT)

    assert failed.returncode == 1
    assert "loading audit policy file" in failed.stderr
    assert drive(machine, "strip", UNIT)["arguments"] == original["arguments"]


NOT_SANDBOX = ("Exec", "Notify", "Restart=", "RestartSec", "Timeout", "Type", "Watchdog", "RuntimeDirectoryPreserve")


def test_the_daemon_s_own_sandbox_leaves_room_for_it(machine: Machine, tmp_path: Path) -> None:
    """What kauditd.service forbids is forbidden here too; only the directory of drop-ins is opened beside it."""
    install(machine, STYLES["plain"], tmp_path)
    machine.check("mkdir", "-p", "/etc/kubernetes")
    service = (ROOT / "systemd/kauditd.service").read_text().partition("[Service]")[2].partition("[Install]")[0]
    lines = [line for line in service.splitlines() if "=" in line and not line.startswith(("#", *NOT_SANDBOX))]
    properties = [f"--property={line}" for line in [*lines, "ReadWritePaths=-/etc/systemd/system"]]
    words = ("env", f"PYTHONPATH={PRODUCT}", "python3", "-B", f"{DRIVER}/driver.py", "edit", UNIT)
    enabled = json.loads(machine.check("systemd-run", "--wait", "--pipe", "--quiet", *properties, *words, timeout_s=60))

    assert "ProtectSystem=strict" in lines
    assert (enabled["codes"], enabled["livez"]) == ([], 200)
    assert machine.check("stat", "-c", "%a %U", OURS, OURS.rpartition("/")[0]) == "644 root\n755 root\n"
