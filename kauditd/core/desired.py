"""Settings -> what they ask of the API server: flags and mounts.

The same for every target; whether they are written into a manifest or a unit file is the editor's matter.
"""

from kauditd.core.layout import POLICY_DIR, parent
from kauditd.core.model import LOG_VOLUME, POLICY_VOLUME, Desired, Flag, Mount
from kauditd.core.settings import Settings


def desired_state(settings: Settings, *, policy_path: str, nonce: str | None = None) -> Desired:
    """The flags, in alphabetical order, and the mounts, by name, for ``settings`` and a published policy.

    ``policy_path`` is the logical path of the published policy in POLICY_DIR. All three limits of the log are
    written even where they equal the API server's defaults: 1.36 changed what an absent flag means (maxsize 0 to
    100, maxage 0 to 366, maxbackup 0 to 100), and scanners look for the flag. Directories are mounted, never files:
    the API server renames its log, and a mounted file pins the inode of a policy that was replaced.
    """
    log_dir = parent(settings.log.path)
    values = {
        "audit-log-maxage": str(settings.log.max_age_days),
        "audit-log-maxbackup": str(settings.log.max_backups),
        "audit-log-maxsize": str(settings.log.max_size_mib),
        "audit-log-path": settings.log.path,
        "audit-policy-file": policy_path,
    }
    return Desired(
        flags=tuple(Flag(name=name, value=value) for name, value in sorted(values.items())),
        mounts=(
            Mount(name=LOG_VOLUME, host_path=log_dir, mount_path=log_dir, read_only=False),
            Mount(name=POLICY_VOLUME, host_path=POLICY_DIR, mount_path=POLICY_DIR, read_only=True),
        ),
        nonce=nonce,
    )
