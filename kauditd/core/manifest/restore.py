"""Single steps of the way back, each made in the text and in the object that must come out."""

from kauditd.core.manifest.draft import Draft, as_list, as_mapping
from kauditd.core.manifest.flags import replace_scalar, set_word
from kauditd.core.manifest.locate import clean, own
from kauditd.core.manifest.nonce import KEY, nonce_holders, nonce_in
from kauditd.core.manifest.parse import build
from kauditd.core.manifest.remove import cut_items, cut_pair, leave_empty
from kauditd.core.manifest.scalars import Value, decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Mapping, Node, Scalar, Sequence, lookup
from kauditd.core.model import NONCE_ANNOTATION, Edit
from kauditd.errors import ManifestRefused, quote


def restore_flag(draft: Draft, edit: Edit, lines: dict[str, str]) -> None:
    """Give a flag that somebody else wrote its old value back, as its old line where that is known and stands alone.

    ``lines`` maps a line that we wrote to the line that stood there.
    """
    site, document = draft.site, draft.site.document
    words = [word for word in site.flags if word.name == edit.subject]
    if not words:
        return
    word = words[-1]
    if (None if word.value_index is None else word.value) == edit.before:
        return
    if word.value != edit.after:
        raise _changed(draft, site.words[word.index], f"--{edit.subject}")
    index = word.index if word.value_index is None else word.value_index
    text = str(decode(site.words[index]))
    stem = text[: len(text) - len(word.value)]
    new = stem.removesuffix("=") if edit.before is None else stem + edit.before
    node = site.words[index]
    start, end = document.line_start(node.start), document.line_end(node.end)
    old_line = lines.get(document.text[start:end], "")
    old_text = _item_of(old_line)
    if old_text is not None:
        patch, new = Patch(start=start, end=end, text=old_line, role="flag-value", subject=edit.subject), old_text
    else:
        patch = replace_scalar(site, index, new, role="flag-value", subject=edit.subject)
    draft.patches.append(patch)
    set_word(draft, index, new)


def _item_of(line: str) -> str | None:
    """The word of a line that is one item of a block list, None for any other line."""
    if not line.lstrip().startswith("- "):
        return None
    root = build(line).root
    value = None if root is None else decode(root)
    first = value[0] if isinstance(value, list) and len(value) == 1 else None
    return first if isinstance(first, str) else None


def restore_read_only(draft: Draft, edit: Edit) -> None:
    """Make a mount read-only again that an edit made writable; one that is gone stays gone."""
    for mount, item in zip(draft.site.mounts, as_list(draft.container.get("volumeMounts")), strict=False):
        node = None if mount.node is None else lookup(mount.node, "readOnly")[0]
        if mount.name == edit.subject and isinstance(node, Scalar) and decode(node) is False:
            draft.patches.append(
                Patch(start=node.start, end=node.end, text="true", role="mount-readonly", subject=mount.name)
            )
            as_mapping(item)["readOnly"] = True


def drop_items(
    draft: Draft, flags: dict[str, str], mounts: dict[str, str], volumes: dict[str, str], created: tuple[str, ...]
) -> None:
    """Take out the flags (name to value), mounts (name to mount path) and volumes (name to host path) that are ours.

    What is gone already is no fault; what has another value now is refused, and so is a volume of ours that a mount
    of somebody else uses. ``created`` names the lists that go as a whole when nothing is left in them.
    """
    site, document = draft.site, draft.site.document
    _drop_flags(draft, flags)
    listed = lookup(site.container, "volumeMounts")[0]
    ours: set[int] = set()
    for index, mount in enumerate(site.mounts):
        if mount.name in mounts:
            if mount.mount_path != clean(mounts[mount.name]):
                continue
            ours.add(index)
    _drop(draft, site.container, draft.container, "volumeMounts", ours, created)
    gone: set[int] = set()
    for index, volume in enumerate(site.volumes):
        if volume.name in volumes:
            if volume.host_path != clean(volumes[volume.name]):
                raise _changed(draft, site.spec, f"volume {quote(volume.name)}")
            gone.add(index)
    kept = [item for index, item in enumerate(site.volumes) if index not in gone]
    lost = {site.volumes[index].name for index in gone} - {volume.name for volume in kept}
    for name in _mounted_names(draft):
        if name in lost:
            raise document.refuse(
                site.spec if listed is None else listed,
                f"somebody else's mount uses our volume {quote(name)}",
                code="changed",
                hint="remove that mount first, or keep the volume",
            )
    _drop(draft, site.spec, draft.spec(), "volumes", gone, created)


def _drop_flags(draft: Draft, flags: dict[str, str]) -> None:
    site = draft.site
    inside = len(site.command.items) - 1
    cuts: dict[str, set[int]] = {"command": set(), "args": set()}
    for name, value in flags.items():
        words = [word for word in site.flags if word.name == name]
        mine = [word for word in words if word.value == value and word.index == word.value_index]
        if not words:
            continue
        if len(mine) != 1:
            raise _changed(draft, site.words[words[-1].index], f"--{name}")
        index = mine[0].index
        if index < inside:
            cuts["command"].add(index + 1)
        else:
            cuts["args"].add(index - inside)
    for key, indexes in cuts.items():
        _drop(draft, site.container, draft.container, key, indexes, ())


def _drop(
    draft: Draft,
    parent: Mapping,
    holder: dict[str, Value],
    key: str,
    indexes: set[int],
    created: tuple[str, ...],
) -> None:
    """Take items out of the list ``key``, in the text and in ``holder``."""
    document = draft.site.document
    node = own(document, parent, key) if indexes else None
    if not isinstance(node, Sequence):
        return
    left = [item for index, item in enumerate(as_list(holder[key])) if index not in indexes]
    if not left and key in created and len(parent.pairs) > 1:
        draft.patches += cut_pair(document, parent, key, role="key", subject=key)
        del holder[key]
        return
    draft.patches += cut_items(document, node, indexes, role=key)
    if not left and not node.flow:
        draft.patches.append(leave_empty(document, parent, key))
    holder[key] = left


def drop_nonce(draft: Draft, *, created: bool) -> None:
    """Take the nonce out, and ``annotations`` with it where that key is ours and nothing else is in it."""
    if nonce_in(draft.site.pod) is None:
        return
    metadata, node = nonce_holders(draft)
    annotations = as_mapping(draft.metadata()[KEY])
    whole = created and len(node.pairs) == 1 and len(metadata.pairs) > 1
    holder, key = (metadata, KEY) if whole else (node, NONCE_ANNOTATION)
    draft.patches += cut_pair(draft.site.document, holder, key, role="nonce", subject=NONCE_ANNOTATION)
    if whole:
        del draft.metadata()[KEY]
        return
    del annotations[NONCE_ANNOTATION]
    if not annotations and not node.flow:
        draft.metadata()[KEY] = None


def _mounted_names(draft: Draft) -> list[str]:
    """The volume names that any container of the Pod to come mounts."""
    kinds = ("containers", "initContainers", "ephemeralContainers")
    containers = [as_mapping(item) for kind in kinds for item in as_list(draft.spec().get(kind))]
    mounts = [as_mapping(item) for container in containers for item in as_list(container.get("volumeMounts"))]
    return [str(mount.get("name")) for mount in mounts]


def _changed(draft: Draft, node: Node, what: str) -> ManifestRefused:
    hint = "undo that change or remove our lines by hand"
    return draft.site.document.refuse(node, f"{what} was changed since we wrote it", code="changed", hint=hint)
