"""The flags: what is missing is put in, what differs is edited where it stands, duplicates are never added to."""

import re
from collections.abc import Sequence as Items

from kauditd.core.cmdline import Word
from kauditd.core.layout import base_name
from kauditd.core.manifest.compose import NewItem, render_scalar
from kauditd.core.manifest.draft import Draft
from kauditd.core.manifest.insert import insert_items
from kauditd.core.manifest.locate import Site, require_own
from kauditd.core.manifest.place import place_flags, sorts_all_flags
from kauditd.core.manifest.scalars import decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Alias, Scalar, child
from kauditd.core.model import Edit, Flag

POLICY_FLAG = "audit-policy-file"
LOG_FLAGS = ("audit-log-path", "audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize")
_PUBLISHED = re.compile(r"policy-[0-9a-f]{12}\.yaml")


def is_published(path: str) -> bool:
    """Whether a policy path has the name under which policies are published."""
    return _PUBLISHED.fullmatch(base_name(path)) is not None


def is_ours(flags: Items[Word]) -> bool:
    """Whether the audit flags of a manifest are ours: the policy in force is a published one."""
    policy = [word.value for word in flags if word.name == POLICY_FLAG]
    return bool(policy) and is_published(policy[-1])


def draft_flags(draft: Draft, flags: Items[Flag]) -> None:
    """Add to the draft what makes each of ``flags`` the one in force."""
    present: dict[str, list[Word]] = {}
    for word in draft.site.flags:
        present.setdefault(word.name, []).append(word)
    foreign = not is_ours(draft.site.flags)
    for flag in flags:
        words = present.get(flag.name, [])
        if words and words[-1].value != flag.value:
            _replace(draft, flag, words, foreign=foreign)
    # Dropping repeated names keeps a wish that names one flag twice from being put in twice.
    _insert(draft, list({flag.name: flag for flag in flags if flag.name not in present}.values()))


def image_of(site: Site) -> str:
    """The container's image reference, "" where there is none."""
    node = child(site.container, "image")
    value = None if node is None else decode(node)
    return value if isinstance(value, str) else ""


def _insert(draft: Draft, flags: Items[Flag]) -> None:
    site = draft.site
    key = "command" if site.flag_list is site.command else "args"
    texts = [str(decode(item)) for item in site.flag_list.items]
    placed = place_flags(texts, 1 if key == "command" else 0, flags, sort=sorts_all_flags(image_of(site)))
    items = [NewItem(index=index, value=str(flag), role="flag-missing", subject=flag.name) for index, flag in placed]
    values = {flag.name: flag.value for flag in flags}
    patches = insert_items(site.document, site.flag_list, items) if items else []
    draft.patches += patches
    for item in items:
        place = next((patch for patch in patches if patch.subject == item.subject), patches[0])
        draft.edits.append(
            Edit(
                code="flag-missing",
                subject=item.subject,
                line=draft.next_line(place),
                before=None,
                after=values[item.subject],
            )
        )
    result = draft.words(key)
    for item in reversed(items):
        result.insert(item.index, item.value)


def _replace(draft: Draft, flag: Flag, words: Items[Word], *, foreign: bool) -> None:
    """Give the last of ``words`` the wished value, in the spelling and quoting of its line."""
    site, word = draft.site, words[-1]
    index = word.index if word.value_index is None else word.value_index
    if word.index == word.value_index:
        old = _text(site, index)
        new = old[: old.index("=") + 1] + flag.value
    else:
        new = flag.value if word.value_index is not None else f"{_text(site, index)}={flag.value}"
    draft.patches.append(replace_scalar(site, index, new, role="flag-value", subject=flag.name))
    draft.edits.append(
        Edit(
            code="flag-differs" if len(words) == 1 else "flag-duplicate",
            subject=flag.name,
            line=site.document.line(site.words[index].start) + 1,
            before=None if word.value_index is None else word.value,
            after=flag.value,
            foreign=foreign,
        )
    )
    set_word(draft, index, new)


def set_word(draft: Draft, index: int, text: str) -> None:
    """Set the word at ``index`` in the object to come."""
    inside = len(draft.site.command.items) - 1
    if index < inside:
        draft.words("command")[index + 1] = text
    else:
        draft.words("args")[index - inside] = text


def replace_scalar(site: Site, index: int, text: str, *, role: str, subject: str) -> Patch:
    """The patch that makes ``text`` of the word at ``index``, in its quoting; a block scalar becomes a plain one."""
    node, document = site.words[index], site.document
    require_own(document, node, f"--{subject}")
    if isinstance(node, Alias) or not isinstance(node, Scalar) or node.anchor is not None or node.tag is not None:
        hint = "write the flag without an anchor or a tag"
        raise document.refuse(node, f"--{subject} carries an anchor or a tag", code="alias", hint=hint)
    raw = document.text[node.start : node.end]
    style = node.style if node.style in {"'", '"'} else ""
    flow = document.json or (site.flag_list.flow if index >= len(site.command.items) - 1 else site.command.flow)
    end = node.start + len(raw.rstrip())
    return Patch(
        start=node.start, end=end, text=render_scalar(text, style=style, flow=flow), role=role, subject=subject
    )


def _text(site: Site, index: int) -> str:
    return str(decode(site.words[index]))
