"""What a policy does to the canaries, so that an event that is hidden is not taken for one that is lost.

The rules are those of k8s.io/apiserver pkg/audit/policy/checker.go, for three requests whose attributes are known:
a GET by nobody in particular, of two paths and of one Secret.
"""

from kauditd.core.canary import Route
from kauditd.core.policy import Level, Policy, ResourceSelector, Rule, Stage

_NAMESPACE, _RESOURCE, _NAME = "default", "secrets", "kauditd-canary"
_ANSWERED = frozenset({Stage.REQUEST_RECEIVED, Stage.RESPONSE_COMPLETE})
_UNAUTHENTICATED = frozenset({Stage.RESPONSE_STARTED})


def recorded_routes(policy: Policy, *, anonymous: bool = True) -> frozenset[Route]:
    """The routes whose canary leaves an event under ``policy``.

    Where anonymous requests are switched off (``anonymous`` false) the answer is 401: the request has no user, so no
    rule with users or groups matches it, and ResponseStarted is its only stage.
    """
    return frozenset(route for route in Route if _is_recorded(policy, route, anonymous=anonymous))


def _is_recorded(policy: Policy, route: Route, *, anonymous: bool) -> bool:
    rule = next((r for r in policy.rules if _matches(r, route, anonymous=anonymous)), None)
    if rule is None or rule.level is Level.NONE:
        return False
    stages = _ANSWERED if anonymous else _UNAUTHENTICATED
    return bool(stages.difference(policy.omit_stages, rule.omit_stages))


def _matches(rule: Rule, route: Route, *, anonymous: bool) -> bool:
    if rule.users and not (anonymous and "system:anonymous" in rule.users):
        return False
    if rule.user_groups and not (anonymous and "system:unauthenticated" in rule.user_groups):
        return False
    if rule.verbs and "get" not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return route is Route.RESOURCE and _matches_resource(rule)
    if rule.non_resource_urls:
        return route is not Route.RESOURCE and any(_matches_path(u, route) for u in rule.non_resource_urls)
    return True


def _matches_resource(rule: Rule) -> bool:
    if rule.namespaces and _NAMESPACE not in rule.namespaces:
        return False
    return not rule.resources or any(_selects(selector) for selector in rule.resources)


def _selects(selector: ResourceSelector) -> bool:
    if selector.group not in {"", "*"}:
        return False
    if not selector.resources:
        return True
    if selector.resource_names and _NAME not in selector.resource_names:
        return False
    return bool({"*", _RESOURCE, f"{_RESOURCE}/*"}.intersection(selector.resources))


def _matches_path(wanted: str, route: Route) -> bool:
    return route.startswith(wanted.rstrip("*")) if wanted.endswith("*") else route == wanted
