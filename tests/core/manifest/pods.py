"""Manifests in many layouts, with the Pod they mean; and what the tests ask of the editor."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from kauditd.core.model import Desired, Flag, Mount

DATA = Path(__file__).resolve().parents[2] / "data" / "manifests"
LOG_DIR = "/var/log/kubernetes/audit"
POLICY_DIR = "/etc/kubernetes/audit"
POLICY = f"{POLICY_DIR}/policy-0123456789ab.yaml"

FLAGS = (
    Flag(name="audit-log-maxage", value="30"),
    Flag(name="audit-log-maxbackup", value="10"),
    Flag(name="audit-log-maxsize", value="100"),
    Flag(name="audit-log-path", value=f"{LOG_DIR}/audit.log"),
    Flag(name="audit-policy-file", value=POLICY),
)
LOG_MOUNT = Mount(name="kauditd-log", host_path=LOG_DIR, mount_path=LOG_DIR, read_only=False)
POLICY_MOUNT = Mount(name="kauditd-policy", host_path=POLICY_DIR, mount_path=POLICY_DIR, read_only=True)
DESIRED = Desired(flags=FLAGS, mounts=(LOG_MOUNT, POLICY_MOUNT))


def wish(nonce: str | None) -> Desired:
    """The usual wish, with a nonce."""
    return Desired(flags=FLAGS, mounts=(LOG_MOUNT, POLICY_MOUNT), nonce=nonce)


def manifests() -> list[Path]:
    """Every manifest that kubeadm wrote."""
    return sorted(path for path in DATA.glob("v*/*/*.yaml") if not path.name.endswith(".kubeadm.yaml"))


def default(version: str = "v1.37.2/v1beta4") -> bytes:
    """A manifest without audit."""
    return (DATA / version / "default.yaml").read_bytes()


def pod(command: str, *, volumes: str = "", mounts: str = "", tail: str = "", metadata: str = "") -> bytes:
    """A small Pod. Every argument is a piece of text that is put in as it is."""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube-apiserver\n  namespace: kube-system\n{metadata}"
        f"spec:\n  containers:\n  - {command}    image: registry.k8s.io/kube-apiserver:v1.37.2\n"
        f"    name: kube-apiserver\n{mounts}{volumes}{tail}"
    ).encode()


@dataclass
class Layout:
    """How a Pod is written down."""

    step: int = 2
    dash: int = 0
    gap: int = 2
    newline: str = "\n"
    final_newline: bool = True
    head: str = ""
    foot: str = ""
    comments: tuple[int, ...] = ()
    trailing: tuple[int, ...] = ()
    flow_command: str = "block"
    quotes: tuple[str, ...] = ("",)
    empty: str = "missing"


@dataclass
class Model:
    """A Pod: the words of the command, and (name, host path, mount path, read-only) per volume."""

    command: list[str] = field(default_factory=lambda: ["kube-apiserver"])
    args: list[str] | None = None
    volumes: list[tuple[str, str, str, bool]] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    sidecar_first: bool = False
    sidecar_last: bool = False
    image: str = "registry.k8s.io/kube-apiserver:v1.37.2"


def write(model: Model, layout: Layout) -> bytes:
    """The text of a Pod in a layout."""
    lines = ["apiVersion: v1", "kind: Pod", "metadata:"]
    pad = " " * layout.step
    if model.annotations:
        lines.append(f"{pad}annotations:")
        lines += [f"{pad}{pad}{key}: {_quote(value, chr(34))}" for key, value in model.annotations.items()]
    elif layout.empty != "missing":
        lines.append(f"{pad}annotations:{ {'null': '', 'word': ' null', 'list': ' {}'}[layout.empty] }")
    lines += [f"{pad}name: kube-apiserver", f"{pad}namespace: kube-system", "spec:", f"{pad}containers:"]
    if model.sidecar_first:
        lines += _sidecar(layout, "first")
    lines += _api_server(model, layout)
    if model.sidecar_last:
        lines += _sidecar(layout, "last")
    lines.append(f"{pad}hostNetwork: true")
    lines += _volumes(model, layout)
    return _finish(lines, layout)


def _quote(text: str, style: str) -> str:
    if style == "'":
        return "'" + text.replace("'", "''") + "'"
    plain = re.fullmatch(r"[A-Za-z/-][A-Za-z0-9/_.=-]*", text) and text not in {"no", "yes"}
    return text if plain and style == "" else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _item(layout: Layout, content: list[str]) -> list[str]:
    lead = "-" + " " * (layout.gap - 1)
    return [lead + content[0], *(" " * layout.gap + line for line in content[1:])]


def _words(layout: Layout, key: str, words: list[str]) -> list[str]:
    styles = layout.quotes
    texts = [_quote(word, styles[number % len(styles)]) for number, word in enumerate(words)]
    if layout.flow_command == "line":
        return [f"{key}: [{', '.join(texts)}]"]
    if layout.flow_command == "lines":
        pad = " " * (layout.step + 1)
        return [f"{key}: [", *(f"{pad}{text}," for text in texts[:-1]), f"{pad}{texts[-1]}", f"{pad}]"]
    if layout.flow_command == "trailing":
        pad = " " * (layout.step + 1)
        return [f"{key}: [", *(f"{pad}{text}," for text in texts), f"{pad}]"]
    pad = " " * layout.dash
    return [f"{key}:", *(f"{pad}-{' ' * (layout.gap - 1)}{text}" for text in texts)]


def _container(layout: Layout, content: list[str]) -> list[str]:
    pad = " " * (layout.step + layout.dash)
    return [pad + line for line in _item(layout, content)]


def _api_server(model: Model, layout: Layout) -> list[str]:
    content = _words(layout, "command", model.command)
    if model.args is not None:
        content = [*_words(layout, "args", model.args), *content] if model.args else [*content, "args: []"]
    content += [f"image: {model.image}", "name: kube-apiserver"]
    pad = " " * layout.dash
    if model.volumes:
        content.append("volumeMounts:")
        for name, _, path, read_only in model.volumes:
            mount = [f"mountPath: {path}", f"name: {name}", *(["readOnly: true"] if read_only else [])]
            content += [pad + line for line in _item(layout, mount)]
    elif layout.empty != "missing":
        content.append(f"volumeMounts:{ {'null': '', 'word': ' ~', 'list': ' []'}[layout.empty] }")
    return _container(layout, content)


def _volumes(model: Model, layout: Layout) -> list[str]:
    outer = " " * layout.step
    if not model.volumes:
        empty = {"missing": [], "null": ["volumes:"], "word": ["volumes: null"], "list": ["volumes: []"]}
        return [outer + line for line in empty[layout.empty]]
    lines = [f"{outer}volumes:"]
    for name, host, _, _ in model.volumes:
        inner = " " * layout.step
        item = ["hostPath:", f"{inner}path: {host}", f"{inner}type: DirectoryOrCreate", f"name: {name}"]
        lines += [outer + " " * layout.dash + line for line in _item(layout, item)]
    return lines


def _sidecar(layout: Layout, name: str) -> list[str]:
    return _container(
        layout, ["command:", " " * layout.dash + "- /log-shipper", f"image: example.com/{name}:1", f"name: {name}"]
    )


def _finish(lines: list[str], layout: Layout) -> bytes:
    shown: list[str] = []
    for number, line in enumerate(lines):
        if number in layout.comments:
            shown += [" " * (number % 7) + "# a comment: with - marks", ""]
        open_flow = line.endswith(("[", ","))
        shown.append(f"{line}  # why" if number in layout.trailing and not open_flow else line)
    text = layout.newline.join([*layout.head.splitlines(), *shown, *layout.foot.splitlines()])
    return (text + (layout.newline if layout.final_newline else "")).encode()
