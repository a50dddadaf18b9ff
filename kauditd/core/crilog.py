"""Lines of a container's log file as the runtimes write them, and which of them says why the container ended.

The CRI form is ``TIME STREAM TAG TEXT`` (kubelet pkg/kubelet/kuberuntime/logs): TIME in RFC 3339, STREAM stdout or
stderr, TAG ``F`` for a whole line and ``P`` for a part that the next line of the same stream goes on. Behind
cri-dockerd the file is a link to Docker's json-file log, one object per line.
"""

import json
import re
from collections.abc import Iterable, Sequence

_CRI = re.compile(rb"(\d{4}-\d\d-\d\dT\S+) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?", re.DOTALL)
_KLOG = re.compile(r"[IWEF]\d{4} [^\]]*\] ?")
_GIVES_UP = re.compile(
    r"""F\d{4}\ [^\]]*\]                       # klog's fatal lines
    |   E\d{4}\ [^\]]*\]\ "command\ failed"    # component-base cli.Run
    |   \{.*"msg":\ ?"command\ failed"         # the same with --logging-format=json
    |   [Ee]rror:\ | panic:\ | fatal\ error:\ | runtime:\ out\ of\ memory
    """,
    re.VERBOSE,
)
_ORDINARY = re.compile(r"[IWE]\d{4} [^\]]*\]|\{.*\}$")
_LONGEST_LINE = 1 << 15
_ERR_VALUE = re.compile(r'\berr(?:or)?="((?:[^"\\]|\\.)*)')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)")


def parse_cri_line(line: bytes) -> tuple[str, str, str, str] | None:
    """Time, stream ("stdout" or "stderr"), tag ("F" or "P") and text; None where it is no CRI line.

    Bytes that are no UTF-8 are replaced; the end of the line is not part of the text. Further tags behind a colon,
    which the format reserves, are ignored.
    """
    found = _CRI.fullmatch(line.rstrip(b"\r\n"))
    if found is None:
        return None
    time, stream, tag, text = (part.decode("utf-8", "replace") for part in found.groups(b""))
    return time, stream, tag, text


def join_lines(content: bytes) -> tuple[str, ...]:
    """The texts of a log file (or of its end, from a line's beginning), parts joined per stream.

    A part whose end is missing stands where it would have gone on last. Lines of no known form are dropped: they are
    a torn first or last line. No text is longer than 32 KiB.
    """
    done: list[str] = []
    open_parts: dict[str, str] = {}
    for raw in content.split(b"\n"):
        parsed = parse_cri_line(raw) or _parse_docker_line(raw)
        if parsed is None:
            continue
        _, stream, tag, text = parsed
        whole = (open_parts.pop(stream, "") + text)[:_LONGEST_LINE]
        if tag == "P":
            open_parts[stream] = whole
        else:
            done.append(whole)
    return (*done, *open_parts.values())


def last_words(lines: Sequence[str]) -> str:
    """The line that says why the container ended: as a rule the last one that is not blank; "" where there is none.

    A Go panic and a fatal klog line are followed by a dump of stacks, and an old API server prints its usage behind
    the error; so lines that are no log entries are stepped over while an entry that gives up stands before them.
    klog writes a value of several lines as ``err=<``, tabbed lines and ``>``: those become one line again.
    """
    last = ""
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        last = last or line.strip()
        if gives_up(line):
            return _with_block(line.strip(), lines[index + 1 :])
        if _ORDINARY.match(line):
            break
    return last


def gives_up(line: str) -> bool:
    """Whether an API server that wrote this ends at once: a fatal entry, a failed command, a refused flag, a panic."""
    return _GIVES_UP.match(line) is not None


def read_entry(line: str) -> tuple[bool, str]:
    """Whether the line is an ordinary log entry (one that does not give up), and what it says.

    The text is unwrapped: without klog's header, "Error: " or JSON around it, of a failed command the value of
    ``err`` as it was before quoting.
    """
    return not gives_up(line) and _ORDINARY.match(line) is not None, _message(_KLOG.sub("", line, count=1).strip())


def _with_block(line: str, following: Iterable[str]) -> str:
    if not line.endswith("=<"):
        return line
    block: list[str] = []
    for text in following:
        if text.strip() == ">":
            break
        block.append(text.strip())
    return line[:-1] + json.dumps(" ".join(block), ensure_ascii=False)


def _parse_docker_line(line: bytes) -> tuple[str, str, str, str] | None:
    """One object of Docker's json-file log driver; a text without a line end goes on in the next object."""
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match value:
        case {"log": str(text), "stream": "stdout" | "stderr" as stream}:
            return str(value.get("time", "")), stream, "F" if text.endswith("\n") else "P", text.rstrip("\r\n")
        case _:
            return None


def _message(entry: str) -> str:
    if entry.startswith("{"):
        return _json_message(entry)
    found = _ERR_VALUE.search(entry)
    if found is not None:
        return _ESCAPE.sub(_unescape, found.group(1)).strip()
    return re.sub(r"^error: ", "", entry, flags=re.IGNORECASE).strip()


def _json_message(entry: str) -> str:
    try:
        value = json.loads(entry)
    except (ValueError, RecursionError):
        return entry
    match value:
        case {"err": str(text)} | {"error": str(text)} | {"msg": str(text)}:
            return text.strip()
        case _:
            return entry


def _unescape(found: re.Match[str]) -> str:
    """One escape of Go's ``%q``; line ends and tabs become spaces."""
    escape = found.group(1)
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return " " if escape in "nrt" else escape
