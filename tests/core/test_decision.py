"""What a policy does to the canaries, against a model of the API server's evaluation and against our profiles."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kauditd.data
from kauditd.core.canary import Route
from kauditd.core.policy import Level, Policy, ResourceSelector, Rule, Stage, parse_policy
from kauditd.core.proof import recorded_routes
from tests.core.policy.evaluator import Request, decide

PROFILES = Path(kauditd.data.__file__).parent / "policies"


def request(route: Route, *, anonymous: bool) -> Request:
    """The attributes that the API server sees."""
    user, groups = ("system:anonymous", ("system:unauthenticated",)) if anonymous else (None, ())
    if route is Route.RESOURCE:
        return Request(
            user=user, groups=groups, verb="get", resource="secrets", namespace="default", name="kauditd-canary"
        )
    return Request(user=user, groups=groups, verb="get", path=str(route), is_resource=False)


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2).map(tuple)


STAGES = st.lists(st.sampled_from(list(Stage)), max_size=3).map(tuple)
SELECTORS = st.builds(
    ResourceSelector,
    group=st.sampled_from(["", "*", "apps"]),
    resources=some("*", "secrets", "secrets/*", "*/status", "pods", "*/*", "secret"),
    resource_names=some("kauditd-canary", "other", "*"),
)
RULES = st.builds(
    Rule,
    level=st.sampled_from(list(Level)),
    users=some("system:anonymous", "alice", "*"),
    user_groups=some("system:unauthenticated", "system:masters"),
    verbs=some("get", "list", "*"),
    resources=st.lists(SELECTORS, max_size=2).map(tuple),
    namespaces=some("default", "", "kube-system"),
    non_resource_urls=some("*", "/kauditd-canary", "/kauditd-canary/*", "/kauditd*", "/version", "/v*", "/healthz"),
    omit_stages=STAGES,
)
POLICIES = st.builds(Policy, rules=st.lists(RULES, min_size=1, max_size=4).map(tuple), omit_stages=STAGES)


@given(POLICIES, st.booleans())
def test_the_routes_are_those_that_the_api_server_records(policy: Policy, anonymous: bool) -> None:
    stages = {"RequestReceived", "ResponseComplete"} if anonymous else {"ResponseStarted"}
    expected = set()
    for route in Route:
        level, omitted, _ = decide(policy, request(route, anonymous=anonymous))
        if level is not Level.NONE and stages - omitted:
            expected.add(route)

    assert recorded_routes(policy, anonymous=anonymous) == expected


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
@pytest.mark.parametrize("anonymous", [True, False])
def test_every_profile_records_the_canary(profile: str, anonymous: bool) -> None:
    policy = parse_policy((PROFILES / f"{profile}.yaml").read_bytes(), file=profile)

    assert Route.OWN in recorded_routes(policy, anonymous=anonymous)


def test_a_path_is_matched_by_its_prefix() -> None:
    hiding = Rule(level=Level.NONE, non_resource_urls=("/kauditd*",))
    everything = Rule(level=Level.METADATA)

    assert recorded_routes(Policy(rules=(hiding, everything))) == {Route.VERSION, Route.RESOURCE}
    assert recorded_routes(Policy(rules=(hiding,))) == frozenset()


@pytest.mark.parametrize(
    ("rule", "recorded"),
    [
        ({}, set(Route)),
        ({"users": ("alice",)}, set()),
        ({"user_groups": ("system:masters",)}, set()),
        ({"verbs": ("list",)}, set()),
        ({"omit_stages": (Stage.REQUEST_RECEIVED,)}, set(Route)),
        ({"omit_stages": (Stage.REQUEST_RECEIVED, Stage.RESPONSE_COMPLETE)}, set()),
        ({"namespaces": ("default",)}, {Route.RESOURCE}),
        ({"namespaces": ("kube-system",)}, set()),
        ({"resources": (ResourceSelector(),)}, {Route.RESOURCE}),
        ({"resources": (ResourceSelector(group="apps"),)}, set()),
        ({"resources": (ResourceSelector(resources=("secrets/*",)),)}, {Route.RESOURCE}),
        ({"resources": (ResourceSelector(resources=("pods",)),)}, set()),
        ({"resources": (ResourceSelector(resources=("*",), resource_names=("other",)),)}, set()),
        ({"resources": (ResourceSelector(resources=("*",), resource_names=("kauditd-canary",)),)}, {Route.RESOURCE}),
        ({"non_resource_urls": ("/version",)}, {Route.VERSION}),
        ({"non_resource_urls": ("*",)}, {Route.OWN, Route.VERSION}),
    ],
)
def test_each_condition_of_a_rule(rule: dict[str, object], recorded: set[Route]) -> None:
    policy = Policy(rules=(Rule(**{"level": Level.METADATA, **rule}),))

    assert recorded_routes(policy) == recorded
