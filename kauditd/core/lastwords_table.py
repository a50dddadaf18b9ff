"""The wordings of an API server that gives up: pattern, code, sentence, remedy, blame. The first that fits counts.

They are those of kube-apiserver v1.36.3 and v1.37.2 as recorded, matched on their stable parts only: spf13/cobra and
spf13/pflag for flags, k8s.io/apiserver pkg/audit/policy (reader, validation) and pkg/server/options (audit, serving,
etcd), Go's fs.PathError and net.OpError, and the Go runtime.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Blame(StrEnum):
    """Whom the last words blame. ``other``: a fault that has nothing to do with audit or etcd."""

    AUDIT = "audit"
    ETCD = "etcd"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """One wording; ``sentence`` takes the pattern's named groups. ``blames`` None: audit where the text names audit."""

    pattern: re.Pattern[str]
    code: str
    sentence: str
    remedy: str
    blames: Blame | None


def _rule(code: str, pattern: str, sentence: str, remedy: str, blames: Blame | None = None) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), code, sentence, remedy, blames)


_FLAG = r"(?P<flag>--[\w.-]+)"
_POLICY = "audit policy.*?"
_POLICY_PATH = r"(?:open|read|stat|lstat) (?P<path>[^:]+): "
_LOG = r"ensureLogFile: (?:\w+ )?(?P<path>[^:]+): .*"
_LISTEN = r"listen (?:tcp|udp|unix)\w* (?P<where>\S+): "
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
        r"invalid audit (?P<what>[^:,]+) (?P<value>[^\s,]+), (?P<why>.*)",
        'the audit {what} cannot be "{value}": {why}',
        _SET_RIGHT,
    ),
    _rule(
        "bad-flag-value",
        r"invalid group version, (?P<why>allowed versions are .*audit.*)",
        "--audit-log-version or --audit-webhook-version is of no use here: {why}",
        _SET_RIGHT,
    ),
    _rule(
        "bad-flag-value",
        r"(?P<why>unrecognized feature gate: .*|admission-plugins plugin .* is unknown.*)",
        "a flag names what this version of the API server does not have: {why}",
        "take it out of the flag's value",
    ),
    _rule(
        "flag-missing",
        rf"(?<![\w-]){_FLAG} (?:must be (?:specified|set)|is (?:a )?required)",
        "the flag {flag} is missing",
        "set it in the manifest",
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
    _rule(
        "policy-refused",
        f"{_POLICY}: (?P<why>.*?)(?:: from file .*)?$",
        "the audit policy is refused: {why}",
        _MEND_POLICY,
    ),
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
        rf"{_LISTEN}bind: address already in use",
        "another process already listens on {where}",
        "find it with ss -ltnp, end it or give it another port",
        Blame.OTHER,
    ),
    _rule(
        "port-refused",
        rf"{_LISTEN}(?:bind: )?(?P<why>.*)",
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

END_RULES = (
    _rule(
        "certificate-refused",
        r"(?P<why>(?:x509: |tls: |private key does not match|failed to (?:load|parse) \S* ?(?:certificate|key)"
        r"|error loading CA|data does not contain any valid).*)",
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

RULES = (*_FLAG_RULES, *_POLICY_RULES, *_LOG_RULES, *_NODE_RULES)
"""Asked first. ``END_RULES`` are asked where the words are not about etcd either."""
