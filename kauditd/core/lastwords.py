"""What an API server's last line means: one plain sentence, what to do, and who is to blame.

The wordings are those of kube-apiserver v1.37.2 as recorded, matched on their stable parts only: spf13/cobra and
spf13/pflag for flags, k8s.io/apiserver pkg/audit/policy (reader, validation) and pkg/server/options (audit, serving,
etcd), Go's fs.PathError and net.OpError, and the Go runtime. The first rule that fits counts.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.crilog import read_entry
from kauditd.errors import quote

_QUOTE_LIMIT = 160


class Blame(StrEnum):
    """Whom the last words blame. ``other``: a fault that has nothing to do with audit or etcd."""

    AUDIT = "audit"
    ETCD = "etcd"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """One fault: a stable code, a sentence that names the flag, file or value, and what to do about it."""

    code: str
    sentence: str
    remedy: str
    blames: Blame


@dataclass(frozen=True, slots=True)
class _Rule:
    """``sentence`` and ``remedy`` take the pattern's named groups. ``blames`` None: audit if the text names audit."""

    pattern: re.Pattern[str]
    code: str
    sentence: str
    remedy: str
    blames: Blame | None


def _rule(code: str, pattern: str, sentence: str, remedy: str, blames: Blame | None = None) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), code, sentence, remedy, blames)


_FLAG = r"(?P<flag>--[\w.-]+)"
_POLICY = "audit policy.*?"
_POLICY_PATH = r"(?:open|read|stat|lstat) (?P<path>[^:]+): "
_LOG = r"ensureLogFile: (?:\w+ )?(?P<path>[^:]+): .*"
_SET_RIGHT = "set it right in the manifest, or in kauditd's settings where kauditd writes the flag"
_MEND_POLICY = "mend it at its source; kauditctl policy check FILE names the place"

_FLAG_RULES = (
    _rule(
        "unknown-flag",
        rf"unknown flag: {_FLAG}",
        "this version of the API server does not know the flag {flag}",
        "take the flag out of the manifest: it is misspelt, or of another version",
    ),
    _rule(
        "unknown-flag",
        r"unknown shorthand flag: (?P<flag>'.')",
        "the API server knows no short flag {flag}",
        "write the flag with two dashes",
    ),
    _rule(
        "bad-flag-value",
        rf"invalid argument \"(?P<value>.*?)\" for \"(?:-\w, )?{_FLAG}\" flag",
        'the flag {flag} does not take the value "{value}"',
        _SET_RIGHT,
    ),
    _rule("bad-flag-value", rf"flag needs an argument: {_FLAG}", "the flag {flag} stands without a value", _SET_RIGHT),
    _rule(
        "negative-value",
        rf"{_FLAG}\D{{0,12}}(?P<value>-\d+).*negative",
        "the flag {flag} must not be negative, and it is {value}",
        _SET_RIGHT,
    ),
    _rule(
        "bad-flag-value",
        r"invalid audit (?P<kind>log|webhook) (?P<what>\w+) (?P<value>[^,]+), allowed",
        'the audit {kind} cannot have the {what} "{value}"',
        _SET_RIGHT,
    ),
)

_POLICY_RULES = (
    _rule(
        "policy-missing",
        f"{_POLICY}{_POLICY_PATH}no such file",
        "the API server cannot find its audit policy {path}",
        "see that the file exists on the node and that the manifest mounts its directory into the container",
    ),
    _rule(
        "policy-denied",
        f"{_POLICY}{_POLICY_PATH}(?:permission denied|operation not permitted)",
        "the API server may not read its audit policy {path}",
        "make the file and its directory readable for the user the API server runs as; look for SELinux denials",
    ),
    _rule(
        "policy-is-directory",
        f"{_POLICY}{_POLICY_PATH}is a directory",
        "the audit policy {path} is a directory",
        "name a file in --audit-policy-file; a mount of type DirectoryOrCreate makes a directory of a missing file",
    ),
    _rule(
        "policy-bad-level",
        rf"{_POLICY}rules\[(?P<rule>\d+)\]\.level: Unsupported value: \"(?P<value>.*?)\"",
        'rule {rule} (from 0) of the audit policy has the level "{value}", which there is not',
        "use None, Metadata, Request or RequestResponse",
    ),
    _rule(
        "policy-no-rules",
        rf"{_POLICY}\b(?:0|no) rules\b",
        "the audit policy has no rules",
        "give it at least one rule, for example one of level Metadata",
    ),
    _rule(
        "policy-empty",
        f"{_POLICY}(?:unknown group version|Object 'Kind' is missing)",
        "the audit policy is empty, or does not say that it is a Policy",
        "begin it with apiVersion: audit.k8s.io/v1 and kind: Policy",
    ),
    _rule(
        "policy-old-version",
        rf"{_POLICY}no kind \"(?P<kind>.*?)\" is registered for version \"(?P<version>.*?)\"",
        "the audit policy is a {kind} of {version}, which this version of the API server does not read",
        "write apiVersion: audit.k8s.io/v1 and kind: Policy",
    ),
    _rule(
        "policy-broken-yaml",
        rf"{_POLICY}(?<![\w.])yaml: line (?P<line>\d+): (?P<why>.*?)(?:: from file .*)?$",
        "the audit policy is no YAML: line {line}: {why}",
        _MEND_POLICY,
    ),
    _rule(
        "policy-broken-yaml",
        rf"{_POLICY}(?<![\w.])(?:yaml|json): (?P<why>.*?)(?:: from file .*)?$",
        "the audit policy cannot be decoded: {why}",
        _MEND_POLICY,
    ),
    _rule("policy-refused", f"{_POLICY}: (?P<why>.*)$", "the audit policy is refused: {why}", _MEND_POLICY),
)

_LOG_RULES = (
    _rule(
        "log-read-only",
        f"{_LOG}read-only file system",
        "the API server cannot write its audit log {path}: the file system is read-only there",
        "mount the log directory without readOnly, and look at dmesg where the node's own file system became read-only",
        Blame.AUDIT,
    ),
    _rule(
        "log-is-directory",
        f"{_LOG}is a directory",
        "the audit log {path} is a directory",
        "name a file in --audit-log-path, and mount its directory",
        Blame.AUDIT,
    ),
    _rule(
        "log-denied",
        f"{_LOG}(?:permission denied|operation not permitted)",
        "the API server may not write its audit log {path}",
        "give the directory to the user the API server runs as; look for SELinux denials and lsattr",
        Blame.AUDIT,
    ),
    _rule(
        "log-no-space",
        f"{_LOG}(?:no space left on device|disk quota exceeded)",
        "there is no room for the audit log {path}",
        "free space there: df -h and df -i show which is used up",
        Blame.AUDIT,
    ),
    _rule(
        "log-refused",
        "ensureLogFile: (?P<why>.*)",
        "the API server cannot open its audit log: {why}",
        "see that the directory of --audit-log-path exists, is mounted and can be written",
        Blame.AUDIT,
    ),
)

_NODE_RULES = (
    _rule(
        "port-in-use",
        r"listen \w+ (?P<where>\S+): bind: address already in use",
        "another process already listens on {where}",
        "find it with ss -ltnp, end it or give it another port",
        Blame.OTHER,
    ),
    _rule(
        "port-refused",
        r"listen \w+ (?P<where>\S+): (?:bind: )?(?P<why>.*)",
        "the API server cannot listen on {where}: {why}",
        "see that --bind-address is an address of this node and --secure-port is free to use",
        Blame.OTHER,
    ),
    _rule(
        "file-missing",
        r"audit.*?(?:open|stat|lstat|read) (?P<path>[^:\"]+): no such file",
        "the API server cannot find {path}, which an audit flag names",
        "see that the file exists on the node and that the manifest mounts it",
        Blame.AUDIT,
    ),
    _rule(
        "certificate-missing",
        r"(?:open|stat|lstat|read) (?P<path>[^:\"]+(?:\.(?:crt|key|pem|pub|cer)|/pki/[^:\"]*)): no such file",
        "the API server cannot find the certificate or key {path}",
        "restore it, or let kubeadm make it again (kubeadm init phase certs), and see that its directory is mounted",
        Blame.OTHER,
    ),
    _rule(
        "file-missing",
        r"(?:open|stat|lstat|read) (?P<path>[^:\"]+): no such file",
        "the API server cannot find {path}",
        "see that the file exists on the node and that the manifest mounts it",
    ),
    _rule(
        "file-denied",
        r"(?:open|stat|lstat|read|mkdir) (?P<path>[^:\"]+): (?:permission denied|operation not permitted)",
        "the API server may not use {path}",
        "give the file to the user the API server runs as; look for SELinux denials",
    ),
)

_END_RULES = (
    _rule(
        "certificate-refused",
        r"(?P<why>(?:x509: |tls: |private key does not match|failed to (?:load|parse) \S* ?(?:certificate|key)).*)",
        "the API server cannot use one of its certificates or keys: {why}",
        "look at it with openssl x509 -noout -text; kubeadm certs check-expiration lists all of them",
        Blame.OTHER,
    ),
    _rule(
        "out-of-memory",
        r"out of memory|cannot allocate memory|OOMKilled",
        "the API server ran out of memory",
        "raise the memory of the node or the container's limit; dmesg names the process that was ended for it",
        Blame.OTHER,
    ),
    _rule(
        "killed",
        r"^(?:signal: )?(?:killed|terminated)\b",
        "the API server was killed",
        "look for its killer: dmesg for the kernel's out-of-memory killer, the kubelet's log for a failed probe",
        Blame.OTHER,
    ),
    _rule(
        "panic",
        r"^(?:panic|fatal error): (?P<why>.*)",
        "the API server crashed: {why}",
        "this is a fault of the API server itself: search its issues for these words, and go back one version",
    ),
    _rule(
        "program-missing",
        r"(?P<why>exec format error|executable file not found|exec user process caused.*)",
        "the API server's program cannot be run: {why}",
        "see that the image is made for this machine's processor and is complete",
        Blame.OTHER,
    ),
    _rule(
        "audit-refused",
        r"(?P<why>.*audit.*)",
        "the API server gave up over its audit settings: {why}",
        _SET_RIGHT,
        Blame.AUDIT,
    ),
)

_RULES = (*_FLAG_RULES, *_POLICY_RULES, *_LOG_RULES, *_NODE_RULES)
_ETCD_SILENT = re.compile(
    r"connection refused|deadline exceeded|no route to host|i/o timeout|network is unreachable|unavailable|no leader"
    r"|request timed out|connection reset|no such host",
    re.IGNORECASE,
)
_ETCD_NAMED = re.compile(
    r"etcd|[:.]2379\b|storage (?:factory|backend|decorator)|creating leases|^(?:context )?deadline exceeded$",
    re.IGNORECASE,
)
_FILE = re.compile(r"from file (?P<file>[^\s\":]+)")


def explain_last_words(line: str) -> LastWords:
    """The meaning of one line of the API server's log, without the runtime's prefix (``crilog.last_words`` finds it).

    A line that no rule knows is quoted and cut. An ordinary log entry says that the process ended without a reason of
    its own, unless it is about an etcd that does not answer: the process waits for etcd until somebody ends it.
    """
    ordinary, text = read_entry(line)
    if not text:
        return _ended_silently("the API server ended without a word")
    found = None if ordinary else _find(_RULES, text)
    if found is None and _is_about_etcd(text):
        return LastWords(
            code="etcd-unreachable",
            sentence=f"the API server cannot reach etcd: {quote(text, limit=_QUOTE_LIMIT)}",
            remedy="see to etcd first: crictl ps -a --name etcd, and the logs below /var/log/pods/kube-system_etcd-*",
            blames=Blame.ETCD,
        )
    if ordinary:
        cut = quote(text, limit=_QUOTE_LIMIT)
        return _ended_silently(f"the API server ended without a reason of its own; it last wrote: {cut}")
    return (
        found
        or _find(_END_RULES, text)
        or LastWords(
            code="unknown",
            sentence=f"the API server gave up with words that kauditd does not know: {quote(text, limit=_QUOTE_LIMIT)}",
            remedy="crictl logs, or the newest file below /var/log/pods/kube-system_kube-apiserver-*, has the rest",
            blames=Blame.UNKNOWN,
        )
    )


def _is_about_etcd(text: str) -> bool:
    return "etcdserver: " in text or (_ETCD_NAMED.search(text) is not None and _ETCD_SILENT.search(text) is not None)


def _ended_silently(sentence: str) -> LastWords:
    remedy = (
        "something may have killed it: dmesg names what the kernel ended for memory, the kubelet's log failed probes"
    )
    return LastWords(code="silent", sentence=sentence, remedy=remedy, blames=Blame.UNKNOWN)


def _find(rules: tuple[_Rule, ...], text: str) -> LastWords | None:
    for rule in rules:
        found = rule.pattern.search(text)
        if found is not None:
            groups = {k: quote((v or "").strip(), limit=_QUOTE_LIMIT) for k, v in found.groupdict().items()}
            audit = Blame.AUDIT if "audit" in text.lower() else Blame.OTHER
            file = _FILE.search(text)
            return LastWords(
                code=rule.code,
                sentence=rule.sentence.format_map(groups) + (f" (in {quote(file['file'])})" if file else ""),
                remedy=rule.remedy,
                blames=rule.blames or audit,
            )
    return None
