"""The nonce annotation: set where kubeadm must see another Pod than before, dropped at the next edit."""

from kauditd.core.manifest.compose import render_scalar
from kauditd.core.manifest.draft import Draft, as_mapping
from kauditd.core.manifest.insert import fill, insert_pair
from kauditd.core.manifest.locate import own, own_mapping
from kauditd.core.manifest.remove import cut_pair
from kauditd.core.manifest.scalars import decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Mapping, Scalar, child
from kauditd.core.model import NONCE_ANNOTATION, Edit

KEY = "annotations"


def nonce_in(pod: Mapping) -> str | None:
    """The nonce that a Pod carries, None where it carries none."""
    node = child(child(child(pod, "metadata"), KEY), NONCE_ANNOTATION)
    value = None if node is None else decode(node)
    return value if isinstance(value, str) else None


def draft_nonce(draft: Draft, nonce: str | None) -> None:
    """Add to the draft what sets the nonce; None drops one that is there, if the draft changes anything else."""
    present = nonce_in(draft.site.pod)
    if nonce is None:
        if present is not None and draft.edits:
            _drop(draft, present)
    elif present is None:
        _set(draft, nonce)
    elif present != nonce:
        _change(draft, present, nonce)


def _set(draft: Draft, nonce: str) -> None:
    document = draft.site.document
    metadata = own_mapping(document, draft.site.pod, "metadata")
    node = own(document, metadata, KEY)
    indent = _indent(draft, metadata)
    if node is None:
        patches = insert_pair(document, metadata, KEY, {NONCE_ANNOTATION: nonce}, indent=indent, style='"')
        draft.created.append(KEY)
    elif isinstance(node, Mapping) and node.pairs:
        patches = insert_pair(document, node, NONCE_ANNOTATION, nonce, indent=indent, style='"')
    elif isinstance(node, Mapping) or decode(node) is None:
        patches = fill(document, metadata, KEY, node, {NONCE_ANNOTATION: nonce}, indent=indent, style='"')
    else:
        raise document.refuse(node, "annotations is not a mapping", code="not-a-pod", hint="restore the manifest")
    _record(draft, patches, "nonce-missing", None, nonce)
    holder = draft.metadata()
    holder[KEY] = {**as_mapping(holder.get(KEY)), NONCE_ANNOTATION: nonce}


def _change(draft: Draft, present: str, nonce: str) -> None:
    _, holder = nonce_holders(draft)
    node = next(value for key, value in holder.pairs if key.text == NONCE_ANNOTATION)
    text = render_scalar(nonce, style="'" if isinstance(node, Scalar) and node.style == "'" else '"')
    end = node.start + len(draft.site.document.text[node.start : node.end].rstrip())
    patch = Patch(start=node.start, end=end, text=text, role="nonce", subject=NONCE_ANNOTATION)
    _record(draft, [patch], "nonce-stale", present, nonce)
    as_mapping(draft.metadata()[KEY])[NONCE_ANNOTATION] = nonce


def _drop(draft: Draft, present: str) -> None:
    metadata, holder = nonce_holders(draft)
    annotations = as_mapping(draft.metadata()[KEY])
    if len(holder.pairs) == 1 and len(metadata.pairs) > 1:
        patches = cut_pair(draft.site.document, metadata, KEY, role="nonce", subject=NONCE_ANNOTATION)
        del draft.metadata()[KEY]
    else:
        patches = cut_pair(draft.site.document, holder, NONCE_ANNOTATION, role="nonce", subject=NONCE_ANNOTATION)
        del annotations[NONCE_ANNOTATION]
    _record(draft, patches, "nonce-stale", present, None)


def nonce_holders(draft: Draft) -> tuple[Mapping, Mapping]:
    """Metadata and annotations of a Pod that carries a nonce. Raises ManifestRefused where it is not written out."""
    document = draft.site.document
    metadata = own_mapping(document, draft.site.pod, "metadata")
    annotations = own_mapping(document, metadata, KEY)
    own(document, annotations, NONCE_ANNOTATION)
    return metadata, annotations


def _record(draft: Draft, patches: list[Patch], code: str, before: str | None, after: str | None) -> None:
    draft.patches += patches
    line = draft.next_line(patches[-1])
    draft.edits.append(Edit(code=code, subject=NONCE_ANNOTATION, line=line, before=before, after=after))


def _indent(draft: Draft, metadata: Mapping) -> int:
    """How far nested keys stand behind their key in this file's metadata."""
    document = draft.site.document
    for key, value in metadata.pairs:
        if isinstance(value, Mapping) and not value.flow and value.pairs:
            return max(1, document.column(value.pairs[0][0].start) - document.column(key.start))
    return 2
