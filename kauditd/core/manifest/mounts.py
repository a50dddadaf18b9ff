"""Mounts and volumes: reuse what already shows our directories, add what is missing, never double or hide anything."""

from collections.abc import Iterable, Sequence

from kauditd.core.manifest.compose import NewItem
from kauditd.core.manifest.draft import Draft, as_list, as_mapping
from kauditd.core.manifest.insert import add_values, sorted_index
from kauditd.core.manifest.locate import Site, Volume, VolumeMount, clean, require_own
from kauditd.core.manifest.scalars import Value, decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Mapping, Scalar, lookup, resolve
from kauditd.core.manifest.tree import Sequence as ListNode
from kauditd.core.model import Edit, Flag, Mount


def covering(mounts: Iterable[VolumeMount], path: str) -> VolumeMount | None:
    """The mount through which the container sees ``path``: the deepest one at or above it."""
    above = [mount for mount in mounts if is_below(path, mount.mount_path)]
    return max(above, key=lambda mount: len(mount.mount_path), default=None)


def host_path(mounts: Iterable[VolumeMount], volumes: Iterable[Volume], path: str) -> str | None:
    """The host path that the container sees at ``path``, None where no directory or file of the host is mounted."""
    mount = covering(mounts, path)
    if mount is None or not mount.plain:
        return None
    source = next((volume.host_path for volume in volumes if volume.name == mount.name), None)
    return None if source is None else clean(source + "/" + path[len(mount.mount_path) :])


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it; both are clean."""
    return path == directory or path.startswith("/" if directory == "/" else directory + "/")


def draft_mounts(draft: Draft, mounts: Iterable[Mount], flags: Sequence[Flag]) -> list[Flag]:
    """Add to the draft what makes each host directory visible; returns the flags with the paths the container sees.

    A mount path that shows something else stays as it is: ours goes to the same path with ``-kauditd`` behind it.
    """
    wishes = _Wishes(draft.site)
    moved: dict[str, str] = {}
    # Writable ones first: a directory that is wished for twice is then mounted writable.
    for mount in sorted(mounts, key=lambda mount: (mount.read_only, mount.name)):
        moved[clean(mount.mount_path)] = wishes.add(mount)
    for name, node in wishes.writable:
        _make_writable(draft, name, node)
    _add(draft, "volumeMounts", wishes.new_mounts)
    _add(draft, "volumes", wishes.new_volumes)
    return [_translate(flag, moved) for flag in flags]


class _Wishes:
    """What has to be added for a list of mounts, each one seeing what those before it will have added."""

    def __init__(self, site: Site) -> None:
        self.mounts = list(site.mounts)
        self.volumes = list(site.volumes)
        self.new_mounts: list[tuple[str, str, Value]] = []
        self.new_volumes: list[tuple[str, str, Value]] = []
        self.writable: list[tuple[str, Mapping]] = []

    def add(self, mount: Mount) -> str:
        """Make ``mount`` visible; returns the path at which the container sees it."""
        wanted = clean(mount.mount_path)
        attempt = 0
        while True:
            path = wanted + ("" if not attempt else "-kauditd" if attempt == 1 else f"-kauditd-{attempt}")
            if self._settle(mount, path):
                return path
            attempt += 1

    def _settle(self, mount: Mount, path: str) -> bool:
        """Whether ``mount`` is visible at ``path``, now or with what is to be added; false where the path is taken."""
        exact = next((found for found in self.mounts if found.mount_path == path), None)
        dangling = exact is not None and all(volume.name != exact.name for volume in self.volumes)
        if exact is not None and dangling and exact.plain:
            self._add_volume(mount, exact.name)
        if host_path(self.mounts, self.volumes, path) == clean(mount.host_path):
            found = covering(self.mounts, path)
            if found is None or mount.read_only or not found.read_only:
                return True
            if found is exact and found.node is not None:
                self.writable.append((found.name, found.node))
                return True
        if exact is not None:
            return False
        self._add_mount(mount, path, self._volume_for(mount))
        return True

    def _volume_for(self, mount: Mount) -> str:
        """The name of our volume: an existing one of ours, else a new one under a name that is free."""
        attempt = 1
        while True:
            name = mount.name if attempt == 1 else f"{mount.name}-{attempt}"
            known = next((volume for volume in self.volumes if volume.name == name), None)
            if known is not None and known.host_path == clean(mount.host_path):
                return name
            if known is None and all(found.name != name for found in self.mounts):
                self._add_volume(mount, name)
                return name
            attempt += 1

    def _add_volume(self, mount: Mount, name: str) -> None:
        value: Value = {"hostPath": {"path": mount.host_path, "type": mount.path_type}, "name": name}
        self.new_volumes.append((name, mount.host_path, value))
        self.volumes.append(Volume(name=name, host_path=clean(mount.host_path)))

    def _add_mount(self, mount: Mount, path: str, name: str) -> None:
        shown = mount.mount_path if clean(mount.mount_path) == path else path
        value: dict[str, Value] = {"mountPath": shown, "name": name}
        if mount.read_only:
            value["readOnly"] = True
        self.new_mounts.append((name, shown, value))
        self.mounts.append(VolumeMount(name=name, mount_path=path, read_only=mount.read_only, plain=True, node=None))


def _add(draft: Draft, key: str, wishes: Sequence[tuple[str, str, Value]]) -> None:
    if not wishes:
        return
    site = draft.site
    parent = site.container if key == "volumeMounts" else site.spec
    code = "mount-missing" if key == "volumeMounts" else "volume-missing"
    known = site.mounts if key == "volumeMounts" else site.volumes
    names = [item.name for item in known]
    items = [
        NewItem(index=sorted_index(names, name), value=value, role=code, subject=name)
        for name, _, value in sorted(wishes, key=lambda wish: wish[0])
    ]
    patches, created = add_values(site.document, parent, key, items, indent=_indent(site))
    draft.patches += patches
    draft.created += [key] if created else []
    after = {name: path for name, path, _ in wishes}
    for item in items:
        place = next((patch for patch in patches if patch.subject == item.subject), patches[-1])
        draft.edits.append(
            Edit(code=code, subject=item.subject, line=draft.next_line(place), before=None, after=after[item.subject])
        )
    holder = draft.container if key == "volumeMounts" else draft.spec()
    result = as_list(holder.get(key))
    for item in reversed(items):
        result.insert(item.index, item.value)
    holder[key] = result


def _indent(site: Site) -> int:
    """How far this file's block lists stand behind their key, as ``containers`` shows it."""
    key = next((name for name, value in site.spec.pairs if name.text == "containers"), None)
    listed = lookup(site.spec, "containers")[0]
    if key is None or not isinstance(listed, ListNode) or listed.flow:
        return 0
    return max(0, site.document.column(listed.start) - site.document.column(key.start))


def _make_writable(draft: Draft, name: str, mount: Mapping) -> None:
    """Turn ``readOnly: true`` of somebody's mount at our log directory into false."""
    document = draft.site.document
    node = lookup(mount, "readOnly")[0]
    if not isinstance(node, Scalar) or node.anchor is not None or node.tag is not None:
        raise document.refuse(
            mount, "the log's mount is read-only through an alias", code="alias", hint="write readOnly out in full"
        )
    require_own(document, mount, "the log's mount")
    draft.patches.append(Patch(start=node.start, end=node.end, text="false", role="mount-readonly", subject=name))
    draft.edits.append(
        Edit(
            code="mount-readonly",
            subject=name,
            line=document.line(node.start) + 1,
            before="true",
            after="false",
            foreign=True,
        )
    )
    for item in as_list(draft.container.get("volumeMounts")):
        value = as_mapping(item)
        if value.get("mountPath") == decode_path(mount):
            value["readOnly"] = False


def decode_path(node: Mapping) -> Value:
    """The mount path as written."""
    found = lookup(node, "mountPath")[0]
    return None if found is None else decode(resolve(found))


def _translate(flag: Flag, moved: dict[str, str]) -> Flag:
    """The flag with its path as the container sees it."""
    for wanted, path in moved.items():
        if wanted != path and flag.value.startswith("/") and is_below(clean(flag.value), wanted):
            return Flag(name=flag.name, value=path + clean(flag.value)[len(wanted) :])
    return flag
