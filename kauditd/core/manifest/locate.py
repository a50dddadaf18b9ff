"""Where things stand in a Pod: the API server's container, the list that holds its flags, mounts and volumes."""

from collections.abc import Iterator
from dataclasses import dataclass

from kauditd.core.cmdline import PROGRAM, Word, is_api_server, locate_flags
from kauditd.core.layout import base_name
from kauditd.core.manifest.scalars import Value, decode, decode_scalar
from kauditd.core.manifest.tree import Alias, Document, Mapping, Node, Sequence, child, lookup, resolve
from kauditd.errors import quote

SHELLS = frozenset({"sh", "bash", "ash", "dash", "ksh", "zsh", "busybox", "env"})
_STRINGS = frozenset(
    [
        "apiVersion",
        "host",
        "image",
        "imagePullPolicy",
        "kind",
        "mountPath",
        "name",
        "namespace",
        "path",
        "priorityClassName",
        "protocol",
        "scheme",
    ]
)
_BOOLEANS = frozenset(["hostIPC", "hostNetwork", "hostPID", "privileged", "readOnly", "runAsNonRoot"])
_INTEGERS = frozenset(
    [
        "containerPort",
        "failureThreshold",
        "hostPort",
        "initialDelaySeconds",
        "periodSeconds",
        "priority",
        "runAsGroup",
        "runAsUser",
        "successThreshold",
        "timeoutSeconds",
    ]
)
_STRING_MAPS = frozenset({"annotations", "labels", "nodeSelector"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume of the Pod; ``host_path`` is None where it is no hostPath."""

    name: str
    host_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """One mount of the container. ``plain`` is false where only a part of the volume is mounted (subPath)."""

    name: str
    mount_path: str
    read_only: bool
    plain: bool
    node: Mapping | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The places of one Pod that the editor works on.

    ``words`` are the items of ``command`` and ``args`` behind the program's name, in the order in which the process
    sees them; ``flags`` index into them.
    """

    document: Document
    pod: Mapping
    spec: Mapping
    container: Mapping
    command: Sequence
    args: Sequence | None
    words: tuple[Node, ...]
    flags: tuple[Word, ...]
    mounts: tuple[VolumeMount, ...]
    volumes: tuple[Volume, ...]

    @property
    def flag_list(self) -> Sequence:
        """The list that new flags belong to: the last one that holds arguments."""
        return self.args if self.args is not None and self.args.items else self.command


def locate(document: Document) -> Site:
    """Find the API server in a Pod. Raises ManifestRefused where it is not clear what to edit."""
    root = document.root
    if decode_or_none(child(root, "kind")) != "Pod" or decode_or_none(child(root, "apiVersion")) != "v1":
        raise document.refuse(
            root,
            "it is not a Pod of apiVersion v1",
            code="not-a-pod",
            hint="name the static pod manifest in target.manifest",
        )
    spec = child(root, "spec")
    containers = child(spec, "containers")
    if not isinstance(spec, Mapping) or not isinstance(containers, Sequence):
        raise document.refuse(root, "the Pod has no containers", code="not-a-pod", hint="restore the manifest")
    check_kinds(document, root)
    container = _api_server(document, containers)
    command, args = child(container, "command"), child(container, "args")
    # _api_server has seen a list of strings in both places.
    lists = [node for node in (command, args) if isinstance(node, Sequence)]
    words = [word for node in lists for word in node.items][1:]
    texts = [_text(document, word) for word in words]
    return Site(
        document=document,
        pod=root,
        spec=spec,
        container=container,
        command=lists[0],
        args=lists[1] if len(lists) > 1 else None,
        words=tuple(words),
        flags=tuple(locate_flags(texts)),
        mounts=tuple(_mounts(container)),
        volumes=tuple(_volumes(spec)),
    )


def decode_or_none(node: Node | None) -> Value:
    """The value of a node, None where there is none."""
    return None if node is None else decode(node)


def _api_server(document: Document, containers: Sequence) -> Mapping:
    found: list[Mapping] = []
    for item in containers.items:
        container = resolve(item)
        if not isinstance(container, Mapping):
            raise document.refuse(item, "a container is not a mapping", code="not-a-pod", hint="restore the manifest")
        for key in ("command", "args"):
            node = child(container, key)
            if node is not None and not isinstance(node, Sequence) and decode(node) is not None:
                raise document.refuse(node, f"{key} is not a list", code="not-a-pod", hint="write one item per word")
        if is_api_server(_first_word(container)):
            found.append(container)
    if len(found) > 1:
        hint = "leave one container that runs kube-apiserver"
        raise document.refuse(found[1], "two containers run kube-apiserver", code="two-api-servers", hint=hint)
    if not found:
        _refuse_disguised(document, containers)
    return found[0]


def _first_word(container: Mapping) -> str:
    command = child(container, "command")
    items = command.items if isinstance(command, Sequence) else ()
    value = decode(items[0]) if items else None
    return value if isinstance(value, str) else ""


def _refuse_disguised(document: Document, containers: Sequence) -> None:
    """No container starts kube-apiserver itself: say what was found instead."""
    for item in containers.items:
        command, args = child(item, "command"), child(item, "args")
        words = [str(decode(word)) for node in (command, args) if isinstance(node, Sequence) for word in node.items]
        if _names_program(words) and isinstance(command, Sequence) and command.items:
            how = "a shell" if base_name(words[0]) in SHELLS else f"{quote(words[0], limit=64)}"
            raise document.refuse(
                command,
                f"kube-apiserver is started through {how}, so its flags are not items of a list",
                code="shell-wrapped",
                hint="make kube-apiserver the first item of command, with one flag per item",
            )
        if PROGRAM in str(decode_or_none(child(item, "image"))):
            raise document.refuse(
                item,
                "the container of the API server's image has no command",
                code="no-api-server",
                hint="put kube-apiserver as the first item of command",
            )
    raise document.refuse(
        containers,
        "no container runs kube-apiserver",
        code="no-api-server",
        hint="name the API server's manifest in target.manifest",
    )


def _names_program(words: list[str]) -> bool:
    """Whether a word, or a word of a shell script, is the API server's program."""
    parts = (part.strip("'\";&()") for word in words for part in word.split())
    return any(is_api_server(part) for part in parts if not part.startswith("-"))


def _text(document: Document, item: Node) -> str:
    value = decode(item)
    if not isinstance(value, str):
        hint = "quote it; the kubelet does not start a Pod with it"
        raise document.refuse(item, "an item of the command is not a string", code="not-a-pod", hint=hint)
    return value


def own(document: Document, mapping: Mapping, key: str) -> Node | None:
    """The value of ``key`` where it stands in the mapping itself and nowhere else; None where there is none.

    Raises ManifestRefused where an alias or a merge key supplies it, or where an alias elsewhere refers to it: a cut
    there would change more than one place, or the wrong one.
    """
    node, merged = lookup(mapping, key)
    if merged and node is not None:
        raise document.refuse(node, f"{key} comes from a merge key (<<)", code="alias", hint=f"write {key} out in full")
    if node is not None:
        require_own(document, node, key)
    return node


def own_mapping(document: Document, mapping: Mapping, key: str) -> Mapping:
    """``own`` for a key that must hold a mapping."""
    node = own(document, mapping, key)
    if not isinstance(node, Mapping):
        raise document.refuse(mapping, f"the Pod has no {key}", code="not-a-pod", hint="restore the manifest")
    return node


def require_own(document: Document, node: Node, what: str) -> None:
    """Refuse a node that is an alias, or one that an alias refers to."""
    if isinstance(node, Alias) or (node.anchor is not None and node.anchor in document.aliased):
        raise document.refuse(
            node, f"{what} is shared through an alias", code="alias", hint=f"write {what} out in full"
        )


def check_kinds(document: Document, node: Node, key: str = "") -> None:
    """Refuse a Pod that the kubelet would not decode because a field that matters here has another type."""
    target = resolve(node)
    if isinstance(target, Sequence):
        for item in target.items:
            check_kinds(document, item)
    elif isinstance(target, Mapping):
        for name, value in target.pairs:
            check_kinds(document, value, "name" if key in _STRING_MAPS else name.text)
    elif not _fits(key, decode_scalar(target)):
        hint = "the kubelet does not start such a Pod; mind YAML 1.1 words such as yes, no, on and off"
        raise document.refuse(node, f"a value of {quote(key)} has the wrong type", code="not-a-pod", hint=hint)


def _fits(key: str, value: Value) -> bool:
    if value is None:
        return True
    if key in _STRINGS:
        return isinstance(value, str)
    if key in _BOOLEANS:
        return isinstance(value, bool)
    return key not in _INTEGERS or (isinstance(value, int) and not isinstance(value, bool))


def _mounts(container: Mapping) -> Iterator[VolumeMount]:
    listed = child(container, "volumeMounts")
    for item in listed.items if isinstance(listed, Sequence) else ():
        node = resolve(item)
        if isinstance(node, Mapping):
            plain = not decode_or_none(child(node, "subPath")) and not decode_or_none(child(node, "subPathExpr"))
            yield VolumeMount(
                name=_string(node, "name"),
                mount_path=clean(_string(node, "mountPath")),
                read_only=decode_or_none(child(node, "readOnly")) is True,
                plain=plain,
                node=node,
            )


def _volumes(spec: Mapping) -> Iterator[Volume]:
    listed = child(spec, "volumes")
    for item in listed.items if isinstance(listed, Sequence) else ():
        node = resolve(item)
        path = decode_or_none(child(child(node, "hostPath"), "path"))
        yield Volume(name=_string(node, "name"), host_path=clean(path) if isinstance(path, str) else None)


def _string(node: Node, key: str) -> str:
    value = decode_or_none(child(node, key))
    return value if isinstance(value, str) else ""


def clean(path: str) -> str:
    """A path without doubled or trailing slashes, so that equal places compare equal."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    return "/" + "/".join(parts)
