"""What the API server decides for a request under a policy (k8s.io/apiserver pkg/audit/policy/checker.go).

A model for tests, checked against recorded decisions in ``test_evaluator.py``.
"""

from dataclasses import dataclass

from kauditd.core.policy import Level, Policy, ResourceSelector, Rule


@dataclass(frozen=True, kw_only=True)
class Request:
    """The attributes of a request. ``user`` None = failed authentication."""

    user: str | None
    groups: tuple[str, ...] = ()
    verb: str
    path: str = ""
    is_resource: bool = True
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def decide(policy: Policy, request: Request) -> tuple[Level, frozenset[str], bool]:
    """Level, omitted stages, omitManagedFields."""
    for rule in policy.rules:
        if _matches(rule, request):
            managed = policy.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
            return rule.level, frozenset(map(str, policy.omit_stages + rule.omit_stages)), managed
    return Level.NONE, frozenset(map(str, policy.omit_stages)), policy.omit_managed_fields


def _matches(rule: Rule, request: Request) -> bool:
    if rule.users and (request.user is None or request.user not in rule.users):
        return False
    if rule.user_groups and (request.user is None or not set(request.groups) & set(rule.user_groups)):
        return False
    if rule.verbs and request.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return request.is_resource and _matches_resource(rule, request)
    if rule.non_resource_urls:
        return not request.is_resource and any(_matches_url(url, request.path) for url in rule.non_resource_urls)
    return True


def _matches_resource(rule: Rule, request: Request) -> bool:
    if rule.namespaces and request.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(_matches_selector(selector, request) for selector in rule.resources)


def _matches_selector(selector: ResourceSelector, request: Request) -> bool:
    if selector.group not in ("*", request.group):
        return False
    if not selector.resources:
        return True
    if selector.resource_names and request.name not in selector.resource_names:
        return False
    combined = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    return any(_matches_name(wanted, combined, request) for wanted in selector.resources)


def _matches_name(wanted: str, combined: str, request: Request) -> bool:
    if wanted in ("*", combined):
        return True
    if request.subresource and wanted.startswith("*/"):
        return wanted[2:] == request.subresource
    return wanted.endswith("/*") and wanted[:-2] == request.resource


def _matches_url(wanted: str, path: str) -> bool:
    if wanted.endswith("*"):
        return path.startswith(wanted.rstrip("*"))
    return wanted == path
