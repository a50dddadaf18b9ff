"""One edit while it is being worked out: the cuts in the text, and the same change made to the decoded Pod.

The two are made side by side and independently; the edit is good only if the patched text decodes to that Pod.
"""

from kauditd.core.manifest.locate import Site, own, require_own
from kauditd.core.manifest.scalars import Value, decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Node, Sequence, lookup, resolve
from kauditd.core.model import Edit


class Draft:
    """Collects patches, edits and the keys that are new; ``pod`` is the object that must come out."""

    __slots__ = ("container", "created", "edits", "patches", "pod", "site")

    def __init__(self, site: Site) -> None:
        self.site = site
        self.patches: list[Patch] = []
        self.edits: list[Edit] = []
        self.created: list[str] = []
        self.pod = as_mapping(decode(site.pod))
        containers = as_list(as_mapping(self.pod["spec"])["containers"])
        self.container = as_mapping(containers[self._container_index()])

    def _container_index(self) -> int:
        listed = lookup(self.site.spec, "containers")[0]
        items = () if listed is None else getattr(resolve(listed), "items", ())
        return next(index for index, item in enumerate(items) if resolve(item) is self.site.container)

    def words(self, key: str) -> list[Value]:
        """The list ``key`` (``command`` or ``args``) of the container to come."""
        return as_list(self.container[key])

    def spec(self) -> dict[str, Value]:
        """The ``spec`` of the Pod to come."""
        return as_mapping(self.pod["spec"])

    def metadata(self) -> dict[str, Value]:
        """The ``metadata`` of the Pod to come."""
        return as_mapping(self.pod.setdefault("metadata", {}))

    def next_line(self, patch: Patch) -> int:
        """The line number, from 1 in the incoming text, before which or in which a patch works."""
        document = self.site.document
        at_end = patch.start == len(document.text)
        return len(document.line_starts) + 1 if at_end else document.line(patch.start) + 1


def as_mapping(value: Value) -> dict[str, Value]:
    """The value as a mapping; anything else becomes an empty one, which no comparison will take for the original."""
    return value if isinstance(value, dict) else {}


def as_list(value: Value) -> list[Value]:
    """The value as a list; anything else becomes an empty one, which no comparison will take for the original."""
    return value if isinstance(value, list) else []


def require_own_path(site: Site) -> None:
    """Refuse a Pod whose container is reached through aliases or merge keys, or is shared with another place."""
    document = site.document
    own(document, site.pod, "spec")
    listed = own(document, site.spec, "containers")
    items: tuple[Node, ...] = listed.items if isinstance(listed, Sequence) else ()
    for item in items:
        if resolve(item) is site.container:
            require_own(document, item, "the container")
    for key in ("command", "args"):
        own(document, site.container, key)
