"""The API server's command line as spf13/pflag reads it, with the texts that it dies with.

Known from pflag and component-base: ``_`` counts as ``-`` in names, ``--flag value`` is legal for all but booleans,
the last of duplicates wins, an unknown flag or a value of the wrong type ends the process with exit code 1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kauditd.errors import KauditError


class BadCommandLine(KauditError):
    """The process must print ``message`` and exit with code 1, as cobra does."""


STRING, BOOL, INT, DURATION, LIST = "string", "bool", "int", "duration", "list"

AUDIT_FLAGS: Mapping[str, str] = {
    "audit-log-batch-buffer-size": INT,
    "audit-log-batch-max-size": INT,
    "audit-log-batch-max-wait": DURATION,
    "audit-log-batch-throttle-burst": INT,
    "audit-log-batch-throttle-enable": BOOL,
    "audit-log-batch-throttle-qps": STRING,
    "audit-log-compress": BOOL,
    "audit-log-format": STRING,
    "audit-log-maxage": INT,
    "audit-log-maxbackup": INT,
    "audit-log-maxsize": INT,
    "audit-log-mode": STRING,
    "audit-log-path": STRING,
    "audit-log-truncate-enabled": BOOL,
    "audit-log-truncate-max-batch-size": INT,
    "audit-log-truncate-max-event-size": INT,
    "audit-log-version": STRING,
    "audit-policy-file": STRING,
    "audit-webhook-batch-buffer-size": INT,
    "audit-webhook-batch-initial-backoff": DURATION,
    "audit-webhook-batch-max-size": INT,
    "audit-webhook-batch-max-wait": DURATION,
    "audit-webhook-batch-throttle-burst": INT,
    "audit-webhook-batch-throttle-enable": BOOL,
    "audit-webhook-batch-throttle-qps": STRING,
    "audit-webhook-config-file": STRING,
    "audit-webhook-initial-backoff": DURATION,
    "audit-webhook-mode": STRING,
    "audit-webhook-truncate-enabled": BOOL,
    "audit-webhook-truncate-max-batch-size": INT,
    "audit-webhook-truncate-max-event-size": INT,
    "audit-webhook-version": STRING,
}

STRING_FLAGS = """
admission-control-config-file advertise-address api-audiences authentication-config
authentication-token-webhook-config-file authentication-token-webhook-version authorization-config
authorization-webhook-config-file authorization-webhook-version bind-address cert-dir client-ca-file cloud-config
cloud-provider cors-allowed-origins debug-socket-path egress-selector-config-file emulated-version
encryption-provider-config endpoint-reconciler-type etcd-cafile etcd-certfile etcd-keyfile etcd-prefix etcd-servers
external-hostname goaway-chance kubelet-certificate-authority kubelet-client-certificate kubelet-client-key
kubelet-preferred-address-types kubernetes-service-node-port log-flush-frequency logging-format oidc-ca-file
oidc-client-id oidc-groups-claim oidc-groups-prefix oidc-issuer-url oidc-signing-algs oidc-username-claim
oidc-username-prefix peer-advertise-ip peer-advertise-port peer-ca-file proxy-client-cert-file proxy-client-key-file
requestheader-client-ca-file requestheader-uid-headers service-account-issuer service-account-jwks-uri
service-account-key-file service-account-signing-endpoint service-account-signing-key-file service-cluster-ip-range
service-node-port-range show-hidden-metrics-for-version storage-backend storage-media-type tls-cert-file
tls-min-version tls-private-key-file token-auth-file tracing-config-file vmodule
"""
LIST_FLAGS = """
authorization-mode disable-admission-plugins disabled-metrics enable-admission-plugins etcd-servers-overrides
feature-gates oidc-required-claim requestheader-allowed-names requestheader-extra-headers-prefix
requestheader-group-headers requestheader-username-headers runtime-config strict-transport-security-directives
tls-cipher-suites tls-sni-cert-key watch-cache-sizes
"""
BOOL_FLAGS = """
allow-privileged anonymous-auth contention-profiling enable-aggregator-routing enable-bootstrap-token-auth
enable-garbage-collector enable-logs-handler enable-priority-and-fairness permit-address-sharing permit-port-sharing
profiling service-account-extend-token-expiration service-account-lookup shutdown-send-retry-after watch-cache
"""
INT_FLAGS = """
apiserver-count default-watch-cache-size delete-collection-workers http2-max-streams-per-connection kubelet-port
max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight min-request-timeout secure-port v
"""
DURATION_FLAGS = """
authentication-token-webhook-cache-ttl authorization-webhook-cache-authorized-ttl
authorization-webhook-cache-unauthorized-ttl etcd-compaction-interval etcd-count-metric-poll-period
etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-readycheck-timeout event-ttl kubelet-timeout
lease-reuse-duration-seconds livez-grace-period request-timeout service-account-max-token-expiration
shutdown-delay-duration shutdown-watch-termination-grace-period
"""


def known_flags() -> Mapping[str, str]:
    """Every flag that the stand-in knows, with its kind: all audit flags, kubeadm's, and the common others."""
    kinds = (
        (STRING, STRING_FLAGS),
        (LIST, LIST_FLAGS),
        (BOOL, BOOL_FLAGS),
        (INT, INT_FLAGS),
        (DURATION, DURATION_FLAGS),
    )
    return {**AUDIT_FLAGS, **{name: kind for kind, names in kinds for name in names.split()}}


_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """Flags in force, by canonical name; typed on the way out, since the way in already refused what does not fit."""

    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The value of a string flag."""
        return self.values.get(name, default)

    def integer(self, name: str, default: int) -> int:
        """The value of an integer flag."""
        value = self.values.get(name)
        return default if value is None else parse_integer(value)

    def boolean(self, name: str, *, default: bool) -> bool:
        """The value of a boolean flag."""
        value = self.values.get(name)
        return default if value is None else value in _TRUE

    def seconds(self, name: str, default: float = 0.0) -> float:
        """The value of a duration flag in seconds."""
        value = self.values.get(name)
        return default if value is None else parse_duration(value)


def parse_integer(text: str) -> int:
    """Go's ``strconv.ParseInt(text, 0, 64)``: decimal, 0x, 0b, 0o or a leading zero for octal. Raises ValueError."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    number = int(digits, 8) if octal else int(digits, 0)
    return -number if text.startswith("-") else number


def parse_duration(text: str) -> float:
    """Go's ``time.ParseDuration`` in seconds ("1m30s", "0"). Raises ValueError."""
    body = text.lstrip("+-")
    if body == "0":
        return 0.0
    parts = list(_DURATION.finditer(body))
    if not parts or "".join(part.group(0) for part in parts) != body:
        raise ValueError(text)
    total = sum(float(part.group(1)) * _UNIT_S[part.group(2)] for part in parts)
    return -total if text.startswith("-") else total


def parse_command_line(arguments: Sequence[str]) -> CommandLine:
    """What follows argv[0]. Raises ``BadCommandLine`` with the line that the real process prints."""
    values: dict[str, str] = {}
    strays: list[str] = []
    known = known_flags()
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if not word.startswith("-") or word == "-":
            strays.append(word)
            continue
        name, kind, value = _split_flag(word, known)
        if value is None:
            if kind == BOOL:
                value = "true"
            elif position == len(arguments):
                raise BadCommandLine(f"Error: flag needs an argument: {word}")
            else:
                value = arguments[position]
                position += 1
        _check_value(name, kind, value)
        values[name] = value
    if strays:
        # cobra looks at the words that are no flags only when all flags are parsed.
        listed = " ".join(f'"{stray}"' for stray in strays)
        raise BadCommandLine(f'Error: "kube-apiserver" does not take any arguments, got [{listed}]')
    return CommandLine(values=values)


def _split_flag(word: str, known: Mapping[str, str]) -> tuple[str, str, str | None]:
    """Canonical name, kind and value (None: in the next argument) of one word that begins with a dash."""
    if not word.startswith("--"):
        if word[1] != "v":
            raise BadCommandLine(f"Error: unknown shorthand flag: '{word[1]}' in {word}")
        return "v", INT, word[2:].removeprefix("=") or None
    spelled, equals, value = word[2:].partition("=")
    name = spelled.replace("_", "-")
    kind = known.get(name)
    if kind is None:
        raise BadCommandLine(f"Error: unknown flag: --{spelled}")
    return name, kind, value if equals else None


def _check_value(name: str, kind: str, value: str) -> None:
    complaint = ""
    if kind == INT:
        try:
            parse_integer(value)
        except ValueError:
            complaint = f'strconv.ParseInt: parsing "{value}": invalid syntax'
    elif kind == BOOL and value not in _TRUE | _FALSE:
        complaint = f'strconv.ParseBool: parsing "{value}": invalid syntax'
    elif kind == DURATION:
        try:
            parse_duration(value)
        except ValueError:
            complaint = f'time: invalid duration "{value}"'
    if complaint:
        raise BadCommandLine(f'Error: invalid argument "{value}" for "--{name}" flag: {complaint}')
