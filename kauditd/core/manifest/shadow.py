"""Another file in the manifests directory that is the API server too.

The kubelet reads every file there whose name has no leading dot (pkg/kubelet/config/file.go) and keeps one Pod per
name; a copy therefore replaces the original or flaps with it. The look is lenient on purpose: whatever the kubelet
might decode counts, also where the editor refuses.
"""

import codecs
import json
import re

from kauditd.core.cmdline import PROGRAM, is_api_server
from kauditd.core.layout import base_name
from kauditd.core.manifest.locate import SHELLS
from kauditd.core.manifest.parse import FAULTS, LIMIT_BYTES, build
from kauditd.core.manifest.scalars import Value, decode
from kauditd.errors import ManifestRefused

KUBELET_LIMIT_BYTES = 10 << 20
POD_NAME = f"kube-system/{PROGRAM}"
_MARKS = (PROGRAM.encode(), b"\\", b"!!binary", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_COMMENT = re.compile(r"^[ \t]*#[^\n]*\n?", re.MULTILINE)
_POD = re.compile(r"""kind["']?\s*:\s*["']?Pod\b""")
_START = re.compile(r"""(?:-\s|[\[,:"'])\s*["']?(?:/[^\s"',]*/)?kube-apiserver\b""")


def defines_api_server(text: bytes) -> str | None:
    """The Pod's "namespace/name" if this file is a Pod named ``kube-system/kube-apiserver`` or starts
    kube-apiserver itself; else None. Never raises."""
    if len(text) > KUBELET_LIMIT_BYTES or not any(mark in text for mark in _MARKS):
        return None
    readable = _COMMENT.sub("", _text_of(text))
    if len(readable) > LIMIT_BYTES:
        # Too long to be parsed in reasonable time, and no honest manifest: its words decide.
        return POD_NAME if _POD.search(readable) and _START.search(readable) else None
    pod = _decode(readable)
    if not isinstance(pod, dict) or _field(pod, "kind") != "Pod":
        return None
    metadata = _field(pod, "metadata")
    name = _string(_field(metadata, "name"))
    full_name = f"{_string(_field(metadata, 'namespace')) or 'default'}/{name}"
    containers = _field(_field(pod, "spec"), "containers")
    starts = isinstance(containers, list) and any(_starts_api_server(container) for container in containers)
    return full_name if starts or full_name == POD_NAME else None


def _starts_api_server(container: Value) -> bool:
    """Whether a container runs the API server: itself, through a shell or a wrapper, or by its image alone."""
    command, args = _words(container, "command"), _words(container, "args")
    if not command:
        return base_name(_string(_field(container, "image"))).partition(":")[0] == PROGRAM
    if is_api_server(command[0]):
        return True
    rest = command[1:] + args
    if base_name(command[0]) in SHELLS:
        return any(is_api_server(part) for word in rest for part in word.split())
    return any(word.startswith("/") and is_api_server(word) for word in rest)


def _words(container: Value, key: str) -> list[str]:
    found = _field(container, key)
    return [_string(word) for word in found] if isinstance(found, list) else []


def _text_of(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if wide else "utf-8", "replace")
    return _UNREADABLE.sub(" ", text.removeprefix("\ufeff"))


def _decode(text: str) -> Value:
    """The first document as the kubelet would see it, tabs forgiven; None where nothing can be made of it."""
    if text.lstrip().startswith("{"):
        try:
            return _plain(json.loads(text))
        except (ValueError, RecursionError):
            pass
    for candidate in dict.fromkeys((text, text.replace("\t", " "))):
        try:
            root = build(candidate, strict=False).root
        except (ManifestRefused, *FAULTS):
            continue
        return None if root is None else decode(root)
    return None


def _plain(value: object) -> Value:
    return value if isinstance(value, dict) else None


def _field(value: Value, key: str) -> Value:
    return value.get(key) if isinstance(value, dict) else None


def _string(value: Value) -> str:
    return value if isinstance(value, str) else ""
