"""What an API server's last line means: one plain sentence, what to do, and who is to blame."""

import re
from dataclasses import dataclass

from kauditd.core.crilog import read_entry
from kauditd.core.lastwords_table import END_RULES, RULES, Blame, Rule
from kauditd.errors import quote

_QUOTE_LIMIT = 160
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """One fault: a stable code, a sentence that names the flag, file or value, and what to do about it."""

    code: str
    sentence: str
    remedy: str
    blames: Blame


def explain_last_words(line: str) -> LastWords:
    """The meaning of one line of the API server's log, without the runtime's prefix (``crilog.last_words`` finds it).

    A line that no rule knows is quoted and cut. An ordinary log entry says that the process ended without a reason of
    its own, unless it is about an etcd that does not answer: the process waits for etcd until somebody ends it.
    """
    ordinary, text = read_entry(line)
    if not text:
        return _ended_silently("the API server ended without a word")
    found = None if ordinary else _find(RULES, text)
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
        or _find(END_RULES, text)
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


def _find(rules: tuple[Rule, ...], text: str) -> LastWords | None:
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
