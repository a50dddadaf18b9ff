"""The last look before anything is handed out: the new text must decode to exactly the Pod that was meant."""

from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.scalars import Value, decode, same
from kauditd.errors import ManifestRefused


def verify(content: bytes, expected: Value) -> None:
    """Parse ``content`` again and compare it, with types, with the Pod ``expected``. Raises ManifestRefused."""
    try:
        found = decode(parse(content).root)
    except ManifestRefused as exc:
        raise _refusal(exc.message) from exc
    if not same(found, expected):
        raise _refusal("the new text would not decode to the original with our change alone")


def _refusal(cause: str) -> ManifestRefused:
    return ManifestRefused(
        f"cannot edit the manifest: the result did not stand the check ({cause})",
        code="verify-failed",
        hint="nothing was changed; write the command, the mounts and the volumes in plain block style",
    )
