"""What the API server makes of a request line before anything else: apiserver ``pkg/endpoints/request/requestinfo.go``.

No cleaning of the path, the shape alone decides whether a request is for a resource, and ``watch=`` counts unless its
value is ``false`` or ``0``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

VERBS: Mapping[str, str] = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
LONG_RUNNING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})
ABSOLUTE_FORM = re.compile(r"https?://[^/?]*")
BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
SPECIAL_VERBS = frozenset({"proxy", "watch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """One request in the words of policy rules. ``path`` is decoded and without the query."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""

    @property
    def long_running(self) -> bool:
        """Whether the request gets a ResponseStarted event and may stay open."""
        return (
            self.verb in SPECIAL_VERBS
            or self.subresource in LONG_RUNNING_SUBRESOURCES
            or self.path.startswith("/debug/pprof/")
        )

    def object_ref(self) -> dict[str, str] | None:
        """The event's ``objectRef`` in upstream's key order, None for a non-resource request."""
        if not self.is_resource:
            return None
        pairs = (
            ("resource", self.resource),
            ("namespace", self.namespace),
            ("name", self.name),
            ("apiGroup", self.group),
            ("apiVersion", self.version),
            ("subresource", self.subresource),
        )
        return {key: value for key, value in pairs if value}


def read_request_info(method: str, target: str) -> RequestInfo:
    """Method and request target ("/api/v1/pods?watch=1") as the audit policy sees them."""
    raw_path, _, query = ABSOLUTE_FORM.sub("", target).partition("?")
    path = unquote(raw_path)
    parts = path.strip("/").split("/") if path.strip("/") else []
    other = RequestInfo(path=path, verb=method.lower())
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return other
    group = ""
    parts = parts[1:]
    if path.strip("/").startswith("apis/"):
        if len(parts) < 3:
            return other
        group, parts = parts[0], parts[1:]
    version, parts = parts[0], parts[1:]
    verb = VERBS.get(method, "")
    if parts[0] in SPECIAL_VERBS and len(parts) > 1:
        verb, parts = parts[0], parts[1:]
    namespace, parts = _split_namespace(parts)
    resource = parts[0] if parts else ""
    name = parts[1] if len(parts) > 1 else ""
    # What follows "proxy" in the path belongs to the proxied server, hence only the third part counts.
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    verb, name = _collection_verb(verb, name, query)
    return RequestInfo(
        path=path,
        verb=verb,
        is_resource=True,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
    )


def _split_namespace(parts: list[str]) -> tuple[str, list[str]]:
    """The namespace and what names the resource; ``namespaces/x`` alone is both."""
    if parts[0] != "namespaces" or len(parts) < 2:
        return "", parts
    namespace = parts[1]
    if len(parts) > 2 and parts[2] not in NAMESPACE_SUBRESOURCES:
        return namespace, parts[2:]
    return namespace, parts


def _collection_verb(verb: str, name: str, query: str) -> tuple[str, str]:
    if name or verb not in ("get", "delete"):
        return verb, name
    if verb == "delete":
        return "deletecollection", name
    options: dict[str, str] = {}
    for pair in query.split("&"):
        # Go drops a pair with a semicolon or a bad escape, alone; of several values the first counts.
        if ";" in pair or BAD_ESCAPE.search(pair):
            continue
        key, _, value = pair.partition("=")
        options.setdefault(unquote_plus(key), unquote_plus(value))
    watch = options.get("watch")
    verb = "watch" if watch is not None and watch.lower() not in ("false", "0") else "list"
    # Where any list option does not parse, the name in the field selector is lost.
    if not all(re.fullmatch(r"[+-]?\d+", options.get(option, "0") or "0") for option in ("limit", "timeoutSeconds")):
        return verb, ""
    for term in options.get("fieldSelector", "").split(","):
        key, equals, value = term.partition("=")
        if key == "metadata.name" and equals:
            value = value.removeprefix("=")
            return verb, value if value not in (".", "..") and not set(value) & set("/%") else ""
    return verb, name
