"""The edit itself: a pure function of the incoming manifest and of what is desired."""

from kauditd.core.manifest.draft import Draft, require_own_path
from kauditd.core.manifest.flags import draft_flags
from kauditd.core.manifest.locate import locate
from kauditd.core.manifest.mounts import draft_mounts
from kauditd.core.manifest.nonce import draft_nonce
from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.splice import apply_patches, digest
from kauditd.core.manifest.verify import verify
from kauditd.core.model import Desired, Edited, EditRecord


def edit(text: bytes, desired: Desired) -> Edited:
    """The manifest with what is desired, and nothing else changed.

    Lines are spliced into the original text; the result is parsed again and must be, as an object, the original plus
    exactly the listed edits. Editing the result again changes nothing. Raises ManifestRefused.
    """
    document = parse(text)
    draft = Draft(locate(document))
    flags = draft_mounts(draft, desired.mounts, desired.flags)
    others, draft.patches = draft.patches, []
    draft_flags(draft, flags)
    # Where a list ends, its new items come before a new key of the mapping around it.
    draft.patches += others
    draft_nonce(draft, desired.nonce)
    if not draft.edits:
        return Edited(text=text, edits=(), record=EditRecord(before=digest(text), after=digest(text), splices=()))
    require_own_path(draft.site)
    changed, splices = apply_patches(document.text, draft.patches)
    content = changed.encode("utf-8")
    verify(content, draft.pod)
    edits = tuple(sorted(draft.edits, key=lambda item: item.line))
    record = EditRecord(
        before=digest(text), after=digest(content), splices=splices, edits=edits, created=tuple(draft.created)
    )
    return Edited(text=content, edits=edits, record=record)
