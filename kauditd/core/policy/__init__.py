"""Audit policies: reading them as strictly as they deserve, and publishing them so that every reader agrees.

Charter: pure. What a policy file means is decided here and nowhere else, and never differently from the API server:
a file is either read with upstream's meaning (kube-apiserver pkg/apis/audit, pkg/audit/policy) or refused.
"""

from kauditd.core.policy.publication import PublishedPolicy, body_of, publish
from kauditd.core.policy.reading import parse_policy
from kauditd.core.policy.values import Level, Policy, ResourceSelector, Rule, Stage

__all__ = [
    "Level",
    "Policy",
    "PublishedPolicy",
    "ResourceSelector",
    "Rule",
    "Stage",
    "body_of",
    "parse_policy",
    "publish",
]
