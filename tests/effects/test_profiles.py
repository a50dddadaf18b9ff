"""The shipped profiles: readable, and each of them what it says it is."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from kauditd.core.policy import Level, Policy, ResourceSelector, Rule, Stage, parse_policy, publish
from kauditd.effects import profiles
from kauditd.effects.profiles import PROFILE_NAMES, read_profile
from kauditd.errors import FileFault, KauditError
from tests.core.policy.evaluator import Request, decide

CANARY = Rule(level=Level.METADATA, non_resource_urls=("/kauditd-canary", "/kauditd-canary/*"))
CIS_BODYLESS = ("secrets", "configmaps", "tokenreviews")
CIS_RECORDED = ("pods", "deployments", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy")


@cache
def profile(name: str) -> Policy:
    return parse_policy(read_profile(name), file=f"{name}.yaml", version="v1.35.0")


def test_every_file_is_a_profile_and_every_profile_a_file() -> None:
    found = {entry.name for entry in (files("kauditd.data") / "policies").iterdir()}

    assert found == {f"{name}.yaml" for name in PROFILE_NAMES}


def test_an_unknown_name_is_not_looked_for() -> None:
    for name in ("", "../kauditd", "Default", "seed.yaml"):
        with pytest.raises(KauditError, match="no such profile") as caught:
            read_profile(name)
        assert caught.value.kind == "not-found"


def test_a_damaged_installation_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(profiles, "files", lambda _: tmp_path)

    with pytest.raises(FileFault, match="cannot read profile seed: No such file") as caught:
        read_profile("seed")
    assert caught.value.path == str(tmp_path / "policies" / "seed.yaml")


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_a_profile_loads_on_every_supported_version_and_explains_itself(name: str) -> None:
    text = read_profile(name)

    assert parse_policy(text, file=name, version="") == profile(name)
    assert publish(profile(name), source=f"profile {name}").rule_count == len(profile(name).rules)
    assert text.startswith(f'# kauditd profile "{name}"'.encode())


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_the_canary_passes_first_and_leaves_a_line_whoever_asks(name: str) -> None:
    policy = profile(name)

    assert policy.rules[0] == CANARY
    for user in ("system:anonymous", "kubernetes-admin", None):
        for path in ("/kauditd-canary", "/kauditd-canary/0b1c"):
            level, omitted, _ = decide(policy, Request(user=user, verb="get", path=path, is_resource=False))
            assert level is Level.METADATA
            assert omitted <= {Stage.REQUEST_RECEIVED}


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_no_profile_hides_failed_logins_or_results(name: str) -> None:
    policy = profile(name)
    stages = {*policy.omit_stages, *(stage for rule in policy.rules for stage in rule.omit_stages)}

    assert stages <= {Stage.REQUEST_RECEIVED}
    assert policy.rules[-1].level is not Level.NONE
    assert Rule(level=policy.rules[-1].level) == policy.rules[-1]


def core(*resources: str) -> ResourceSelector:
    return ResourceSelector(resources=resources)


KNOWN_GROUPS = tuple(
    ResourceSelector(group=group)
    for group in (
        "",
        "admissionregistration.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "extensions",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "settings.k8s.io",
        "storage.k8s.io",
    )
)
LEASES = ResourceSelector(group="coordination.k8s.io", resources=("leases",))
TOKENREVIEWS = ResourceSelector(group="authentication.k8s.io", resources=("tokenreviews",))
SEED = (
    Rule(level=Level.NONE, users=("system:kube-proxy",), verbs=("watch",), resources=(core("endpoints", "services"),)),
    Rule(level=Level.NONE, users=("kubelet",), verbs=("get",), resources=(core("nodes"),)),
    Rule(level=Level.NONE, user_groups=("system:nodes",), verbs=("get",), resources=(core("nodes"),)),
    Rule(level=Level.NONE, users=("system:apiserver",), verbs=("get",), resources=(core("namespaces"),)),
    Rule(level=Level.NONE, verbs=("get", "update"), namespaces=("kube-system",)),
    Rule(level=Level.NONE, non_resource_urls=("/healthz*", "/version", "/swagger*")),
    Rule(level=Level.NONE, resources=(core("events"),)),
    Rule(level=Level.NONE, verbs=("get", "update"), resources=(LEASES,)),
    Rule(level=Level.METADATA, resources=(core("secrets", "configmaps"), TOKENREVIEWS)),
    Rule(level=Level.REQUEST, verbs=("get", "list", "watch"), resources=KNOWN_GROUPS),
    Rule(level=Level.REQUEST_RESPONSE, resources=KNOWN_GROUPS),
    Rule(level=Level.METADATA),
)


def test_the_seed_is_the_seed_rule_for_rule() -> None:
    assert profile("seed") == Policy(rules=(CANARY, *SEED), omit_stages=(Stage.REQUEST_RECEIVED,))


def test_stig_and_metadata_are_one_rule_for_everything() -> None:
    assert profile("stig") == Policy(rules=(CANARY, Rule(level=Level.REQUEST_RESPONSE)))
    assert profile("metadata").rules == (CANARY, Rule(level=Level.METADATA))


def named(policy: Policy) -> Iterator[tuple[str, Level]]:
    """Each resource that a rule names, with the rule's level: all that a scanner of the text sees."""
    for rule in policy.rules:
        for selector in rule.resources:
            yield from ((resource, rule.level) for resource in selector.resources)


def passes_text_rule(policy: Policy) -> bool:
    """What Kubescape C-0067 asks of a policy's text."""
    levels: dict[str, set[Level]] = {}
    for resource, level in named(policy):
        levels.setdefault(resource, set()).add(level)
    bodyless = all(levels.get(resource) == {Level.METADATA} for resource in CIS_BODYLESS)
    recorded = all(levels.get(resource) and Level.NONE not in levels[resource] for resource in CIS_RECORDED)
    return bodyless and recorded


def test_default_names_what_scanners_look_for_and_the_others_do_not() -> None:
    assert passes_text_rule(profile("default"))
    assert not any(passes_text_rule(profile(name)) for name in PROFILE_NAMES if name != "default")


def test_default_drops_only_exact_identities_with_exact_verbs_and_objects() -> None:
    for rule in profile("default").rules:
        if rule.level is not Level.NONE:
            continue
        assert rule.users
        assert rule.verbs
        assert not rule.namespaces
        assert not rule.user_groups
        assert rule.non_resource_urls or all(selector.resources for selector in rule.resources)
        assert not any("*" in url for url in rule.non_resource_urls)
        assert set(rule.verbs) <= {"get", "update"}


def test_default_keeps_bodies_of_listed_kinds_only_and_never_of_a_patch() -> None:
    """Before 1.37 a patch at Request or above can lose its only line."""
    for rule in profile("default").rules:
        if rule.level in (Level.REQUEST, Level.REQUEST_RESPONSE):
            assert rule.level is Level.REQUEST
            assert rule.verbs == ("create", "update")
            assert all(selector.resources for selector in rule.resources)
            assert not any("*" in name or "/" in name for s in rule.resources for name in s.resources)


def test_default_uses_no_wildcard_group_and_leaves_managed_fields_out() -> None:
    policy = profile("default")

    assert all(selector.group != "*" for rule in policy.rules for selector in rule.resources)
    assert policy.omit_managed_fields
    assert policy.rules[-1].level is Level.METADATA


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
SECRET_BODIES = (
    ("", "secrets", ""),
    ("", "configmaps", ""),
    ("", "serviceaccounts", "token"),
    ("authentication.k8s.io", "tokenreviews", ""),
    ("authentication.k8s.io", "tokenrequests", ""),
    ("authentication.k8s.io", "selfsubjectreviews", ""),
    ("certificates.k8s.io", "certificatesigningrequests", ""),
    ("certificates.k8s.io", "certificatesigningrequests", "status"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"),
    ("example.com", "vaultcredentials", ""),
    ("bitnami.com", "sealedsecrets", ""),
    ("", "nodes", "proxy"),
    ("", "pods", "exec"),
)
PEOPLE = (
    ("kubernetes-admin", ("kubeadm:cluster-admins",)),
    ("mallory", ("system:authenticated",)),
    ("system:anonymous", ("system:unauthenticated",)),
    ("system:node:worker-1", ("system:nodes",)),
    ("kubelet", ()),
    ("system:kube-proxy", ()),
    ("system:kube-scheduler", ()),
    ("system:kube-controller-manager", ()),
    ("system:serviceaccount:kube-system:default", ("system:serviceaccounts",)),
    ("system:masters", ("system:masters",)),
    (None, ()),
)


@pytest.mark.parametrize("namespace", ["", "default", "kube-system"])
def test_default_records_every_use_of_a_secret_and_never_its_content(namespace: str) -> None:
    policy = profile("default")
    for user, groups in PEOPLE:
        for group, resource, subresource in SECRET_BODIES:
            for verb in VERBS:
                request = Request(
                    user=user, groups=groups, verb=verb, group=group, resource=resource, subresource=subresource,
                    namespace=namespace, name="x",
                )  # fmt: skip
                assert decide(policy, request)[0] is Level.METADATA, request


ATTACKS = (
    ("get", "", "secrets", "", "default", Level.METADATA),
    ("get", "", "secrets", "", "kube-system", Level.METADATA),
    ("update", "", "secrets", "", "kube-system", Level.METADATA),
    ("create", "", "serviceaccounts", "token", "kube-system", Level.METADATA),
    ("create", "", "pods", "exec", "default", Level.METADATA),
    ("get", "", "pods", "exec", "kube-system", Level.METADATA),
    ("get", "", "pods", "portforward", "kube-system", Level.METADATA),
    ("patch", "", "pods", "ephemeralcontainers", "default", Level.METADATA),
    ("update", "", "configmaps", "", "kube-system", Level.METADATA),
    ("update", "apps", "daemonsets", "", "kube-system", Level.REQUEST),
    ("update", "rbac.authorization.k8s.io", "rolebindings", "", "kube-system", Level.REQUEST),
    ("create", "apps", "deployments", "", "default", Level.REQUEST),
    ("patch", "apps", "deployments", "", "default", Level.METADATA),
    ("create", "", "pods", "", "kube-system", Level.REQUEST),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions", "", "", Level.REQUEST),
    ("create", "apiregistration.k8s.io", "apiservices", "", "", Level.REQUEST),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", Level.REQUEST),
    ("delete", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "", Level.METADATA),
    ("create", "batch", "cronjobs", "", "default", Level.REQUEST),
    ("delete", "", "events", "", "default", Level.METADATA),
    ("deletecollection", "events.k8s.io", "events", "", "default", Level.METADATA),
    ("patch", "", "nodes", "status", "", Level.METADATA),
    ("update", "coordination.k8s.io", "leases", "", "kube-node-lease", Level.METADATA),
    ("delete", "coordination.k8s.io", "leases", "", "kube-system", Level.METADATA),
    ("create", "example.com", "widgets", "", "default", Level.METADATA),
)


@pytest.mark.parametrize(("verb", "group", "resource", "subresource", "namespace", "level"), ATTACKS)
def test_default_records_every_row_of_the_threat_matrix(
    verb: str, group: str, resource: str, subresource: str, namespace: str, level: Level
) -> None:
    for user, groups in PEOPLE:
        request = Request(
            user=user, groups=groups, verb=verb, group=group, resource=resource, subresource=subresource,
            namespace=namespace, name="x",
        )  # fmt: skip
        assert decide(profile("default"), request)[0] is level, request


@pytest.mark.parametrize(
    "path", ["/metrics", "/version", "/api", "/openapi/v3", "/livezx", "/readyz/etcd", "/debug/pprof/heap", "/"]
)
def test_default_records_every_url_but_anonymous_probes(path: str) -> None:
    for user, groups in PEOPLE:
        request = Request(user=user, groups=groups, verb="get", path=path, is_resource=False)
        assert decide(profile("default"), request)[0] is Level.METADATA, request


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_default_drops_a_probe_but_not_a_wrong_token_at_a_probe(path: str) -> None:
    def level(user: str | None, verb: str) -> Level:
        return decide(profile("default"), Request(user=user, verb=verb, path=path, is_resource=False))[0]

    assert level("system:anonymous", "get") is Level.NONE
    assert level("system:anonymous", "post") is Level.METADATA
    assert level("mallory", "get") is Level.METADATA
    assert level(None, "get") is Level.METADATA


@pytest.mark.parametrize("name", ["kube-scheduler", "kube-controller-manager"])
def test_default_drops_leader_election_of_the_leader_only(name: str) -> None:
    def level(user: str, verb: str = "update") -> Level:
        request = Request(
            user=user, verb=verb, group="coordination.k8s.io", resource="leases", namespace="kube-system", name=name
        )
        return decide(profile("default"), request)[0]

    assert level(f"system:{name}") is Level.NONE
    assert level(f"system:{name}", "delete") is Level.METADATA
    assert level("mallory") is Level.METADATA
    assert level("system:node:worker-1") is Level.METADATA
