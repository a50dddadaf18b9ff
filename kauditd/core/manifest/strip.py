"""The way back: our lines out, the original in their place, everybody else's bytes as they are."""

import re
from collections.abc import Iterable

from kauditd.core.manifest.draft import Draft, require_own_path
from kauditd.core.manifest.flags import LOG_FLAGS, POLICY_FLAG, is_ours
from kauditd.core.manifest.locate import Site, locate
from kauditd.core.manifest.nonce import nonce_in
from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.restore import drop_items, drop_nonce, restore_flag, restore_read_only
from kauditd.core.manifest.splice import apply_patches, digest, invert, split_lines
from kauditd.core.manifest.verify import verify
from kauditd.core.model import LOG_VOLUME, NONCE_ANNOTATION, POLICY_VOLUME, Edit, EditRecord, Splice

_OUR_NAME = re.compile(rf"(?:{POLICY_VOLUME}|{LOG_VOLUME})(?:-\d+)?")


def strip(text: bytes, record: EditRecord) -> bytes:
    """The manifest as it was before the edit that ``record`` tells of.

    Where nobody wrote since, the original bytes come back. Otherwise exactly our flags, mounts, volumes and nonce go
    and replaced values return, and the result is compared as an object. Raises ManifestRefused where what we wrote
    was changed since, so that it is not clear whose it is.
    """
    now = digest(text)
    if now == record.before:
        return text
    if now == record.after:
        lines = invert(split_lines(text.decode("utf-8")), record.splices)
        original = b"" if lines is None else "".join(lines).encode("utf-8")
        if digest(original) == record.before:
            return original
    return _strip_by_meaning(text, record)[0]


def record_of(text: bytes) -> EditRecord:
    """A record made from the manifest alone, for when the journal is lost: what bears our names counts as ours.

    Ours are mounts and volumes named ``kauditd-log`` and ``kauditd-policy`` (also with a number behind), the nonce,
    and, where the policy in force is a published one, the policy and log flags. A value that we replaced is not
    known any more; such a flag goes as a whole. Raises ManifestRefused.
    """
    site = locate(parse(text))
    edits = tuple(_edits_by_name(site))
    stripped, splices = _strip_by_meaning(
        text, EditRecord(before=digest(b""), after=digest(text), splices=(), edits=edits)
    )
    return EditRecord(before=digest(stripped), after=digest(text), splices=_inverse(splices), edits=edits)


def _edits_by_name(site: Site) -> Iterable[Edit]:
    def missing(code: str, subject: str, after: str) -> Edit:
        return Edit(code=code, subject=subject, line=0, before=None, after=after)

    if is_ours(site.flags):
        last = {word.name: word for word in site.flags}
        for name in (*LOG_FLAGS, POLICY_FLAG):
            if name in last and last[name].index == last[name].value_index:
                yield missing("flag-missing", name, last[name].value)
    for mount in site.mounts:
        if _OUR_NAME.fullmatch(mount.name):
            yield missing("mount-missing", mount.name, mount.mount_path)
    for volume in site.volumes:
        if _OUR_NAME.fullmatch(volume.name) and volume.host_path is not None:
            yield missing("volume-missing", volume.name, volume.host_path)
    nonce = nonce_in(site.pod)
    if nonce is not None:
        yield missing("nonce-missing", NONCE_ANNOTATION, nonce)


def _strip_by_meaning(text: bytes, record: EditRecord) -> tuple[bytes, tuple[Splice, ...]]:
    document = parse(text)
    site = locate(document)
    draft = Draft(site)
    restored = {splice.new[0]: splice.old[0] for splice in record.splices if len(splice.new) == len(splice.old) == 1}
    dropped: dict[str, dict[str, str]] = {"flag": {}, "mount": {}, "volume": {}}
    for edit in record.edits:
        match edit.code:
            case "flag-missing" | "mount-missing" | "volume-missing":
                dropped[edit.code.partition("-")[0]][edit.subject] = edit.after or ""
            case "flag-differs" | "flag-duplicate":
                restore_flag(draft, edit, restored)
            case "mount-readonly":
                restore_read_only(draft, edit)
            case _:
                continue
    drop_items(draft, dropped["flag"], dropped["mount"], dropped["volume"], record.created)
    if any(edit.code.startswith("nonce-") and edit.after is not None for edit in record.edits):
        drop_nonce(draft, created="annotations" in record.created)
    if not draft.patches:
        return text, ()
    require_own_path(site)
    changed, splices = apply_patches(document.text, draft.patches)
    content = changed.encode("utf-8")
    verify(content, draft.pod)
    return content, splices


def _inverse(splices: Iterable[Splice]) -> tuple[Splice, ...]:
    """Splices of the way back turned into those of the way there."""
    shift = 0
    inverse = []
    for splice in splices:
        inverse.append(
            Splice(start=splice.start + shift, new=splice.old, old=splice.new, role=splice.role, subject=splice.subject)
        )
        shift += len(splice.old) - len(splice.new)
    return tuple(inverse)
