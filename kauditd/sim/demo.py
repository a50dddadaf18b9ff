"""``kauditd demo``: the whole story on a simulated node, without root and without Kubernetes.

Every sentence is checked before it is printed as true. Daemon and command line are the real ones, run as an operator
runs them; only kubelet, kubeadm and API server are stand-ins that behave as the real ones were measured to.
"""

import hashlib
import json
import shutil
import tempfile
import time
from pathlib import Path

from kauditd.core.layout import SETTINGS_FILE
from kauditd.errors import KauditError
from kauditd.sim.kubelet import NodeConfig
from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.node import Node
from kauditd.sim.stage import MARKER, DemoFailed, ManifestWatch, Narrator, Prober, Programs
from kauditd.sim.upgrade import UpgradeOutcome, read_upgrade, start_upgrade

SPEED = 20.0
OLD_VERSION, NEW_VERSION = "v1.36.3", "v1.37.2"
LOG_PATH = "/var/log/kubernetes/audit/audit.log"
ETCD_WAIT_S = 20.0
RESTORE_LIMIT_S = 1.0
SHOWN_CHARACTERS = 300
SETTINGS = """\
# The simulated node is a few seconds old, and its kubelet with it.
target:
  kubelet_stable_s: 0
proof:
  canary_interval_s: 5
"""
BROKEN_SETTINGS = SETTINGS + "log:\n  max_age_days: thirty\n"


def run_demo(*, color: bool) -> int:
    """Tell the story on standard output. Returns 0, or 1 where a step is not what it says."""
    root = str(Path(tempfile.mkdtemp(prefix="kauditd-demo-")).resolve())
    narrator, programs = Narrator(color=color), Programs(root)
    node = Node(NodeConfig(root=root, speed=SPEED), version=OLD_VERSION)
    began = time.monotonic()
    try:
        try:
            _Story(node, programs, narrator).tell()
        finally:
            code = programs.stop_daemon()
            node.stop()
    except (KauditError, TimeoutError) as exc:
        narrator.failed(str(exc))
        print(f"\nthe daemon's last lines:\n{programs.log_tail()}")
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    narrator.fact("cleaned up", f"daemon stopped with exit code {code}, node stopped, {root} removed")
    narrator.title(f"\nAll of it was checked, in {time.monotonic() - began:.0f} s. Next: README.md, or kauditctl help.")
    return 0


class _Story:
    """The steps in order. Each ends with ``proven``, or raises."""

    def __init__(self, node: Node, programs: Programs, narrator: Narrator) -> None:
        self._node = node
        self._programs = programs
        self._narrator = narrator
        self._log = Path(node.root + LOG_PATH)
        self._settings = Path(node.root + SETTINGS_FILE)

    def tell(self) -> None:
        """All of it."""
        self._narrator.title(
            f"kauditd demo: a simulated control-plane node in {self._node.root}, {SPEED:.0f} times faster than life"
        )
        self.node_starts()
        self.audit_is_off()
        self.audit_goes_on()
        self.events_arrive()
        self.kubeadm_overwrites()
        self.broken_settings_are_refused()
        self.disabled_means_original_bytes()

    def node_starts(self) -> None:
        """Kubelet and API server, with the manifest that kubeadm writes."""
        tell = self._narrator
        tell.step(f"A control-plane node as kubeadm {OLD_VERSION} leaves it")
        self._node.start()
        self._node.wait_ready()
        content = self._node.manifest.read_bytes()
        _expect(MARKER not in content, "kubeadm's manifest should carry no audit flag")
        tell.fact("manifest", f"{_named(content)}, no audit flag")
        tell.proven(f"the API server on 127.0.0.1:{self._node.port} is ready (pid {self._node.pid})")

    def audit_is_off(self) -> None:
        """The one-shot check, which needs no daemon."""
        tell = self._narrator
        tell.step("Audit is off, and kauditctl check says so")
        answer = self._programs.kauditctl("check", "--format", "json")
        status = answer.json()
        _expect(answer.exit_code == 1, f"kauditctl check should exit 1, not {answer.exit_code}: {answer.errors}")
        _expect(status.get("verdict") == "unprotected", f"the verdict should be unprotected: {status.get('verdict')}")
        tell.fact("check", str(status.get("sentence")))
        _expect(not self._log.exists(), "there should be no audit log yet")
        tell.proven(f'verdict "unprotected", exit code 1, no {LOG_PATH}')

    def audit_goes_on(self) -> None:
        """The daemon is started; one restart of the API server later everything is proven."""
        tell = self._narrator
        tell.step("kauditd starts and turns it on")
        mark = len(self._node.events())
        self._settings.write_text(SETTINGS, encoding="utf-8")
        self._programs.start_daemon()
        took_s = self._wait_protected()
        starts = sum(event.event == "process-start" for event in self._node.events()[mark:])
        _expect(starts == 1, f"the API server should have been restarted once, not {starts} times")
        flags = [word for word in self._argv() if word.startswith("--audit-")]
        for flag in flags:
            tell.fact("flag", flag)
        _expect(len(flags) == 5, f"the running API server should carry five audit flags: {flags}")
        tell.proven(f'verdict "protected" after {took_s:.1f} s ({took_s * SPEED:.0f} s of the node), one restart')

    def events_arrive(self) -> None:
        """A request with an id of our own is a line in the file."""
        tell = self._narrator
        tell.step("Events really arrive in the file")
        audit_id = f"demo-{time.time_ns():x}"
        status, _ = self._node.get("/api/v1/namespaces/default/secrets", headers={"Audit-ID": audit_id})
        lines = [line for line in self._log.read_text(encoding="utf-8").splitlines() if audit_id in line]
        _expect(bool(lines), f"the event of request {audit_id} should be in {LOG_PATH}")
        event = json.loads(lines[-1])
        tell.fact("asked", f"GET /api/v1/namespaces/default/secrets, anonymous, answered {status}")
        tell.fact("audit.log", f"{lines[-1][:SHOWN_CHARACTERS]}... ({len(lines[-1])} bytes)")
        _expect(event["responseStatus"]["code"] == status, "the event should carry the answer's status")
        tell.proven(f"stage {event['stage']}, user {event['user']['username']}, code {event['responseStatus']['code']}")

    def kubeadm_overwrites(self) -> None:
        """A real version upgrade: kubeadm knows nothing of our flags."""
        tell = self._narrator
        tell.step(f"kubeadm upgrade apply {NEW_VERSION} overwrites the manifest")
        mark = len(self._node.events())
        with ManifestWatch(self._node.manifest) as watch, Prober(self._node) as prober:
            process = start_upgrade(self._node.root, NEW_VERSION, etcd_wait_s=ETCD_WAIT_S)
            result = read_upgrade(process, timeout_s=40.0)
            self._node.wait_ready()
            self._wait_protected()
        _expect(result.outcome is UpgradeOutcome.UPGRADED, f"kubeadm should succeed: {result.message}")
        gap_s = result.at("moved-in") - result.at("moved-out")
        tell.fact("kubeadm", f"old manifest moved away, its own moved in {gap_s * 1000:.1f} ms later; exit code 0")
        bare_s = watch.bare_s()
        if bare_s is None or bare_s > RESTORE_LIMIT_S:
            raise DemoFailed(f"the flags should be back within {RESTORE_LIMIT_S:.0f} s: {watch.changes}")
        tell.fact("kauditd", _restoration(bare_s))
        starts = sum(event.event == "process-start" for event in self._node.events()[mark:])
        _expect(starts == 1, f"the upgrade should restart the API server once, not {starts} times")
        version = json.loads(self._node.get("/version")[1])["gitVersion"]
        _expect(version == NEW_VERSION, f"the API server should run {NEW_VERSION}, not {version}")
        missing = prober.unaudited(self._log)
        _expect(bool(prober.answered), "some requests should have been answered during the upgrade")
        _expect(not missing, f"{len(missing)} of {len(prober.answered)} answered requests are not in the log")
        tell.fact("meanwhile", f"{len(prober.answered)} requests answered, each one is in the log: 0 unaudited")
        tell.proven(f'{NEW_VERSION} runs audited, verdict "protected", one restart: the one kubeadm needs anyway')

    def broken_settings_are_refused(self) -> None:
        """A typo changes nothing but the verdict's reasons."""
        tell = self._narrator
        tell.step("A broken settings file is refused")
        before = self._node.manifest.read_bytes()
        self._settings.write_text(BROKEN_SETTINGS, encoding="utf-8")
        tell.fact("written", "log.max_age_days: thirty")
        place = f"{SETTINGS_FILE}:{_line_of('thirty')}:"
        reason = self._wait_reason(place)
        tell.fact("status", reason)
        _expect("log.max_age_days" in reason, "the reason should name the key")
        status = self._programs.kauditctl("status", "--format", "json").json()
        settings = status.get("settings")
        values = settings.get("values") if isinstance(settings, dict) else None
        kept = values.get("log.max_age_days") if isinstance(values, dict) else None
        _expect(kept == 30, f"the last good value 30 should stay in force, not {kept}")
        _expect(self._node.manifest.read_bytes() == before, "the manifest should not have been touched")
        self._settings.write_text(SETTINGS, encoding="utf-8")
        self._wait_protected()
        tell.proven("last good settings stayed in force, manifest untouched; mended, and protected again")

    def disabled_means_original_bytes(self) -> None:
        """The way back."""
        tell = self._narrator
        tell.step("kauditctl disable gives the original bytes back")
        config = self._node.config
        original = kubeadm_manifest(
            NEW_VERSION, address=config.address, port=self._node.port, etcd_port=config.etcd_port
        )
        answer = self._programs.kauditctl("disable", "--format", "json")
        change = answer.json()
        _expect(answer.exit_code == 0, f"kauditctl disable should exit 0: {answer.errors or change.get('reason')}")
        tell.fact("change", f"{change.get('summary')}: {change.get('outcome')}")
        found = self._node.manifest.read_bytes()
        tell.fact("kubeadm's", _named(original))
        tell.fact("now", _named(found))
        _expect(found == original, "the manifest should be byte for byte what kubeadm wrote")
        self._node.wait_ready()
        _expect(not any(word.startswith("--audit-") for word in self._argv()), "no audit flag should be left")
        tell.proven("same sha256, and the API server runs without our flags")

    def _argv(self) -> list[str]:
        raw = Path(f"/proc/{self._node.pid}/cmdline").read_bytes()
        return [word.decode() for word in raw.split(b"\0")]

    def _wait_protected(self) -> float:
        """Until the verdict is ``protected``; how long that took. Raises where the daemon ends or time is up."""
        began = time.monotonic()
        answer = self._programs.kauditctl("wait", "--for", "protected", "--timeout", "25")
        ended = self._programs.daemon_ended()
        _expect(ended is None, f"the daemon should keep running; it exited {ended}")
        _expect(answer.exit_code == 0, f"the verdict should become protected: {answer.output}{answer.errors}")
        return time.monotonic() - began

    def _wait_reason(self, needle: str) -> str:
        """Until some reason's text contains ``needle``; that text."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            reasons = self._programs.kauditctl("status", "--format", "json").json().get("reasons")
            for reason in reasons if isinstance(reasons, list) else []:
                text = str(reason.get("text"))
                if needle in text:
                    return text
            time.sleep(0.1)
        raise DemoFailed(f"the status should name {needle}")


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


def _named(content: bytes) -> str:
    return f"sha256 {hashlib.sha256(content).hexdigest()[:16]}..., {len(content)} bytes"


def _line_of(word: str) -> int:
    return BROKEN_SETTINGS[: BROKEN_SETTINGS.index(word)].count("\n") + 1


def _restoration(bare_s: float) -> str:
    if not bare_s:
        return "edited kubeadm's staged file before it was moved in: the manifest never was without the flags"
    return f"flags back {bare_s * 1000:.1f} ms after kubeadm's rename"
