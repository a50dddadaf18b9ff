"""Command lines as the API server reads them: flags, the program's name, the address it answers on.

The rules are those of spf13/pflag with the name normalisation of k8s.io/component-base (``WordSepNormalizeFunc``):
``_`` in a flag's name equals ``-``, a value follows after ``=`` or as the next word, ``--`` ends the flags, and the
last of several equal flags is in force.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kauditd.core.layout import base_name
from kauditd.core.model import Flag

PROGRAM = "kube-apiserver"
DEFAULT_PORT = 6443

_BARE = frozenset(
    [
        "add-dir-header",
        "allow-privileged",
        "alsologtostderr",
        "anonymous-auth",
        "audit-log-batch-throttle-enable",
        "audit-log-compress",
        "audit-log-truncate-enabled",
        "audit-webhook-batch-throttle-enable",
        "audit-webhook-truncate-enabled",
        "contention-profiling",
        "disable-http2-serving",
        "emulation-forward-compatible",
        "enable-aggregator-routing",
        "enable-bootstrap-token-auth",
        "enable-garbage-collector",
        "enable-inflight-quota-handler",
        "enable-logs-handler",
        "enable-priority-and-fairness",
        "enable-swagger-ui",
        "help",
        "kubelet-https",
        "log-json-split-stream",
        "log-text-split-stream",
        "logtostderr",
        "one-output",
        "permit-address-sharing",
        "permit-port-sharing",
        "profiling",
        "repair-malformed-updates",
        "runtime-config-emulation-forward-compatible",
        "service-account-extend-token-expiration",
        "service-account-lookup",
        "shutdown-send-retry-after",
        "skip-headers",
        "skip-log-headers",
        "version",
        "watch-cache",
    ]
)
"""Flags that stand without a value (pflag's ``NoOptDefVal``): the next word is not theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One flag and where it stands: ``index`` of its word, ``value_index`` of the word that holds its value.

    The two are equal for ``--name=value``; ``value_index`` is None for a flag without a value, which means "true".
    """

    name: str
    value: str
    index: int
    value_index: int | None


def locate_flags(words: Sequence[str]) -> Iterator[Word]:
    """The flags among ``words`` (the arguments behind the program's name), in order, duplicates included."""
    index = 0
    while index < len(words) and words[index] != "--":
        word = words[index]
        if len(word) > 2 and word.startswith("--") and word[2] != "=":
            name, equals, value = word[2:].partition("=")
            name = name.replace("_", "-")
            if equals:
                yield Word(name=name, value=value, index=index, value_index=index)
            elif name not in _BARE and index + 1 < len(words) and _is_value(words[index + 1]):
                yield Word(name=name, value=words[index + 1], index=index, value_index=index + 1)
                index += 1
            else:
                yield Word(name=name, value="true", index=index, value_index=None)
        index += 1


def parse_flags(words: Sequence[str]) -> tuple[Flag, ...]:
    """The flags of a command line without its program name; words that are no flags are skipped.

    A flag without a value (a known boolean, or one followed by another flag or by nothing) has the value "true".
    """
    return tuple(Flag(name=word.name, value=word.value) for word in locate_flags(words))


def is_api_server(program: str) -> bool:
    """Whether ``program`` (argv[0], with or without a directory) is the API server."""
    return base_name(program) == PROGRAM


def listening(flags: Sequence[Flag]) -> tuple[str, int]:
    """Address and port to ask for /livez, an IPv6 address without brackets.

    A specific ``--bind-address`` is the only one that answers; else ``--advertise-address`` is asked, as kubeadm's
    probes do, and the loopback address where neither is given.
    """
    values = {flag.name: flag.value for flag in flags}
    bind = _address(values.get("bind-address", ""))
    advertise = _address(values.get("advertise-address", ""))
    return bind or advertise or "127.0.0.1", _port(values.get("secure-port", ""))


def _is_value(word: str) -> bool:
    """Whether a word behind ``--name`` is its value: no flag, though a negative number is one."""
    return not word.startswith("-") or word == "-" or word[1:2].isdigit()


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)


def _port(text: str) -> int:
    try:
        port = int(text, 0)
    except ValueError:
        return DEFAULT_PORT
    return port if 0 < port < 65536 else DEFAULT_PORT
