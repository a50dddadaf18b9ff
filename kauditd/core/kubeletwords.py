"""What the kubelet's own log says about our manifest and pod: the words behind a fault that leaves no container.

The wordings are those of kubelet v1.37.2 as recorded (pkg/kubelet/config/file.go, pkg/volume/hostpath,
pkg/kubelet/kuberuntime), matched on their stable parts. Most are logged again at every retry; each is told once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kauditd.errors import quote

_QUOTE_LIMIT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletWords:
    """One thing that the kubelet complained of: a stable code, a plain sentence, what to do, and its line, cut.

    ``subject`` is the volume that it is about, else empty.
    """

    code: str
    subject: str
    sentence: str
    remedy: str
    line: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """``sentence`` takes the pattern's named groups."""

    pattern: re.Pattern[str]
    code: str
    sentence: str
    remedy: str


def _rule(code: str, pattern: str, sentence: str, remedy: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), code, sentence, remedy)


_MANIFEST_RULES = (
    _rule(
        "manifest-unreadable",
        r"couldn't parse as pod\((?P<why>.*?)(?:\), please|\)?$)",
        "the kubelet cannot read the manifest as a Pod: {why}",
        "mend the file, or put the last good one back",
    ),
    _rule(
        # A file that is just being renamed is no fault.
        "manifest-unreadable",
        r"process (?:manifest|config) file.*?: (?!no such file)(?P<why>[^:\"]+)(?:\"|$)",
        "the kubelet cannot process the manifest: {why}",
        "see that it is a regular file of at most 10 MiB that root can read",
    ),
)

_POD_RULES = (
    _rule(
        "hostpath-mismatch",
        r"volume \"(?P<volume>[^\"]+)\".*hostPath type check failed[:, ]+(?P<why>[^\"]*)",
        'the kubelet cannot mount the volume "{volume}", whose hostPath is not of its type: {why}',
        "make what the type asks for at that path, or set the type to what is there",
    ),
    _rule(
        "mount-failed",
        r"MountVolume\.\w+ failed for volume \"(?P<volume>[^\"]+)\".*?\) ?: (?P<why>.*)",
        'the kubelet cannot mount the volume "{volume}": {why}',
        "see that the path exists and that the node can mount it",
    ),
    _rule(
        "volumes-late",
        r"unmounted volumes=\[(?P<volumes>[^\]]*)\]",
        "the kubelet still waits for the volumes {volumes}",
        "it does so for two minutes after its own restart; after that look at the hostPaths of these volumes",
    ),
    _rule(
        "image-missing",
        r"(?:ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName)"
        r".*?image (?:tag |name |reference )?\W*(?P<image>[\w.:/@-]+\w)",
        "the kubelet cannot get the image {image}",
        "pull it by hand with crictl pull, or set the image to one that is there",
    ),
    _rule(
        "container-refused",
        r"(?:CreateContainer(?:Config)?Error|RunContainerError|CreatePodSandbox\w*(?: for pod)?|KillPodSandboxError)"
        r"(?P<why>.*)",
        "the container runtime does not start the API server{why}",
        "journalctl -u containerd (or -u crio) has the reason",
    ),
    _rule(
        "crash-back-off",
        r"back-off (?P<wait>\w+) restarting failed container",
        "the kubelet waits {wait} before it starts the API server again",
        "the container's own last words say why it ended",
    ),
)


def find_kubelet_words(
    lines: Iterable[str], *, manifest: str, pod_name: str, pod_uid: str = ""
) -> tuple[KubeletWords, ...]:
    """What the kubelet says about ``manifest`` (its logical path) and its pod; the newest complaint stands last.

    One of a kind about one volume is given once, as it was said last.
    A line is about the pod where it names ``pod_name`` (the node's name follows in the kubelet's own) or ``pod_uid``.
    """
    found: dict[tuple[str, str], KubeletWords] = {}
    for line in lines:
        words = None
        # Values are quoted, and quoted again inside each other: the escapes only stand in the way.
        text = re.sub(r'\\+"', '"', line.strip())
        if manifest in text:
            words = _explain(_MANIFEST_RULES, text)
        if words is None and (pod_name in text or (pod_uid != "" and pod_uid in text)):
            words = _explain(_POD_RULES, text)
        if words is not None:
            found.pop((words.code, words.subject), None)
            found[words.code, words.subject] = words
    return tuple(found.values())


def _explain(rules: tuple[_Rule, ...], text: str) -> KubeletWords | None:
    for rule in rules:
        found = rule.pattern.search(text)
        if found is not None:
            groups = {k: quote(v.rstrip(' "'), limit=_QUOTE_LIMIT) for k, v in found.groupdict("").items()}
            sentence = rule.sentence.format_map(groups)
            return KubeletWords(
                code=rule.code,
                subject=groups.get("volume", ""),
                sentence=sentence,
                remedy=rule.remedy,
                line=quote(text),
            )
    return None
