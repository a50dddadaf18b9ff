"""A policy as values: field for field audit.k8s.io/v1 (kube-apiserver pkg/apis/audit/v1/types.go)."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much of a matching request is recorded, least first."""

    NONE = "None"
    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"


class Stage(StrEnum):
    """The moments of a request at which an event may be written."""

    REQUEST_RECEIVED = "RequestReceived"
    RESPONSE_STARTED = "ResponseStarted"
    RESPONSE_COMPLETE = "ResponseComplete"
    PANIC = "Panic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSelector:
    """Resources of one API group. ``group`` "" is the core group; ``resources`` empty means all, subresources too."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: the first whose conditions all hold decides. An empty condition holds for every request.

    ``omit_stages`` add to the policy's; ``omit_managed_fields`` None means "as the policy says".
    """

    level: Level
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[ResourceSelector, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in order, at least one. A request that no rule matches is not recorded."""

    rules: tuple[Rule, ...]
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool = False
