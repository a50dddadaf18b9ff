"""What settings ask of the API server."""

from kauditd.core.desired import desired_state
from kauditd.core.model import Desired, Flag, Mount
from kauditd.core.settings import default_settings, parse_settings

POLICY = "/etc/kubernetes/audit/policy-0123456789ab.yaml"


def test_the_defaults_ask_for_five_flags_in_order_and_two_directories() -> None:
    assert desired_state(default_settings(), policy_path=POLICY) == Desired(
        flags=(
            Flag(name="audit-log-maxage", value="30"),
            Flag(name="audit-log-maxbackup", value="10"),
            Flag(name="audit-log-maxsize", value="100"),
            Flag(name="audit-log-path", value="/var/log/kubernetes/audit/audit.log"),
            Flag(name="audit-policy-file", value=POLICY),
        ),
        mounts=(
            Mount(
                name="kauditd-log",
                host_path="/var/log/kubernetes/audit",
                mount_path="/var/log/kubernetes/audit",
                read_only=False,
            ),
            Mount(
                name="kauditd-policy",
                host_path="/etc/kubernetes/audit",
                mount_path="/etc/kubernetes/audit",
                read_only=True,
            ),
        ),
    )


def test_settings_and_nonce_go_through() -> None:
    text = b"log: {path: /data/a/k.log, max_size_mib: 7, max_age_days: 8, max_backups: 9}"
    desired = desired_state(parse_settings(text, file="k"), policy_path=POLICY, nonce="n1")

    assert [flag.value for flag in desired.flags] == ["8", "9", "7", "/data/a/k.log", POLICY]
    assert (desired.mounts[0].host_path, desired.nonce) == ("/data/a", "n1")
