"""What one manifest says about audit, for whoever decides; nothing is changed here."""

from kauditd.core.cmdline import listening
from kauditd.core.manifest.digest import object_digest
from kauditd.core.manifest.flags import POLICY_FLAG, image_of
from kauditd.core.manifest.locate import Site, clean, decode_or_none, locate
from kauditd.core.manifest.mounts import host_path
from kauditd.core.manifest.nonce import nonce_in
from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.place import version_of
from kauditd.core.manifest.tree import Target, child
from kauditd.core.model import Flag, ManifestView

LOG_FLAG = "audit-log-path"


def read(text: bytes) -> ManifestView:
    """The facts of a manifest. Raises ManifestRefused where ``edit`` would for what concerns reading."""
    document = parse(text)
    site = locate(document)
    flags = tuple(Flag(name=word.name, value=word.value) for word in site.flags)
    in_force = {flag.name: flag for flag in flags}
    names = [flag.name for flag in flags]
    address, port = listening(flags)
    image = image_of(site)
    metadata = child(site.pod, "metadata")
    return ManifestView(
        pod_name=_string(metadata, "name"),
        namespace=_string(metadata, "namespace") or "default",
        image=image,
        version=version_of(image),
        address=address,
        port=port,
        pod_digest=object_digest(site.pod),
        flags=flags,
        audit_flags=tuple(flag for flag in in_force.values() if flag.name.startswith("audit-")),
        duplicates=tuple(name for name in in_force if name.startswith("audit-") and names.count(name) > 1),
        log_host_path=_seen(site, in_force.get(LOG_FLAG)),
        policy_host_path=_seen(site, in_force.get(POLICY_FLAG)),
        nonce=nonce_in(site.pod),
        run_as_user=_identity(site, "runAsUser"),
        run_as_group=_identity(site, "runAsGroup"),
    )


def _seen(site: Site, flag: Flag | None) -> str | None:
    """The host path of a flag's file, None where it is no path or nothing of the host is mounted there."""
    if flag is None or not flag.value.startswith("/"):
        return None
    return host_path(site.mounts, site.volumes, clean(flag.value))


def _identity(site: Site, key: str) -> int | None:
    """A user or group id: the container's own, else the Pod's."""
    for holder in (site.container, site.spec):
        value = decode_or_none(child(child(holder, "securityContext"), key))
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _string(node: Target | None, key: str) -> str:
    value = decode_or_none(child(node, key))
    return value if isinstance(value, str) else ""
