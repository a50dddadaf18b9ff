"""The recorded answers of the API server's code, decoded."""

import base64
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from kauditd.core.policy import Policy

DATA = Path(__file__).parents[2] / "data" / "policy"
VERSIONS = ("1.35", "1.36", "1.37")


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress((DATA / name).read_bytes()).split(b"\n") if line]


@cache
def documents() -> tuple[tuple[str, bytes, list[dict[str, Any]]], ...]:
    """Each document: id, bytes, upstream's answers."""
    return tuple((row["id"], base64.b64decode(row["doc"]), row["expect"]) for row in lines("load.jsonl.gz"))


def meaning(policy: dict[str, Any]) -> dict[str, Any]:
    """Upstream's JSON form of a policy with what is absent, empty or unused made equal."""
    result: dict[str, Any] = {
        "omitStages": policy.get("omitStages") or [],
        "omitManagedFields": policy.get("omitManagedFields", False),
        "rules": [],
    }
    for rule in policy["rules"]:
        kept = {key: value for key, value in rule.items() if value not in ([], None)}
        if "resources" in kept:
            kept["resources"] = [
                {
                    "group": entry.get("group") or "",
                    "resources": entry.get("resources") or [],
                    "resourceNames": entry.get("resourceNames") or [],
                }
                for entry in kept["resources"]
            ]
        result["rules"].append(kept)
    return result


def upstream_form(policy: Policy) -> dict[str, Any]:
    """Our values in upstream's JSON form."""
    rules = [
        {
            "level": str(rule.level),
            "users": list(rule.users),
            "userGroups": list(rule.user_groups),
            "verbs": list(rule.verbs),
            "resources": [
                {"group": s.group, "resources": list(s.resources), "resourceNames": list(s.resource_names)}
                for s in rule.resources
            ],
            "namespaces": list(rule.namespaces),
            "nonResourceURLs": list(rule.non_resource_urls),
            "omitStages": [str(stage) for stage in rule.omit_stages],
            "omitManagedFields": rule.omit_managed_fields,
        }
        for rule in policy.rules
    ]
    stages = [str(stage) for stage in policy.omit_stages]
    return meaning({"omitStages": stages, "omitManagedFields": policy.omit_managed_fields, "rules": rules})
