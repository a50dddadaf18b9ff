"""What the real kubeadm writes, edited by us: equal to what kubeadm itself writes when it is told of audit.

That equality is what keeps a same-version ``kubeadm upgrade`` from restarting etcd and the API server.
"""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from kauditd.core.desired import desired_state
from kauditd.core.manifest import edit, pod_digest, read, strip
from kauditd.core.model import Desired
from kauditd.core.settings import default_settings
from tests.real.build import Release
from tests.real.kubeadm import Kubeadm, configuration

pytestmark = [pytest.mark.real, pytest.mark.timeout(120, func_only=True)]

DESIRED = desired_state(default_settings(), policy_path="/etc/kubernetes/audit/policy-0123456789ab.yaml")
Cluster = Mapping[str, object]


def arguments(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


CLUSTERS: Mapping[str, Cluster] = {
    "default": {},
    "extra arguments": {
        "apiServer": {
            "extraArgs": arguments(
                enable_admission_plugins="NodeRestriction,AlwaysPullImages",
                profiling="false",
                tls_cipher_suites="TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384",
                event_ttl="30m0s",
                v="4",
            ),
            "certSANs": ["cp.example.com"],
        }
    },
    "values that need quotes": {
        "apiServer": {
            "extraArgs": arguments(
                request_timeout="5m0s",
                feature_gates="A=true,B=false",
                oidc_username_prefix="oidc: #",
                oidc_groups_prefix="",
            )
        }
    },
    "arguments given twice": {
        "apiServer": {
            "extraArgs": [
                *arguments(service_account_issuer="https://issuer.example.com"),
                *arguments(service_account_issuer="https://kubernetes.default.svc.cluster.local"),
            ],
            "extraEnvs": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        }
    },
    "volumes on both sides of ours": {
        "apiServer": {
            "extraArgs": arguments(encryption_provider_config="/etc/kubernetes/enc/config.yaml"),
            "extraVolumes": [
                {"name": n, "hostPath": f"/srv/{n}", "mountPath": f"/srv/{n}", "readOnly": True, "pathType": kind}
                for n, kind in (("aaa", "Directory"), ("kauditd-middle", "DirectoryOrCreate"), ("zzz", ""))
            ],
        }
    },
    "dual stack": {
        "networking": {
            "podSubnet": "10.244.0.0/16,fd00:10:244::/56",
            "serviceSubnet": "10.96.0.0/16,fd00:10:96::/112",
        }
    },
    "external etcd": {
        "etcd": {
            "external": {
                "endpoints": ["https://192.0.2.21:2379", "https://192.0.2.22:2379"],
                "caFile": "/etc/etcd/pki/ca.crt",
                "certFile": "/etc/etcd/pki/client.crt",
                "keyFile": "/etc/etcd/pki/client.key",
            }
        }
    },
    "own registry, own endpoint": {
        "imageRepository": "images.example.com/k8s",
        "controlPlaneEndpoint": "cp.example.com:6443",
        "clusterName": "yes",
    },
}

FOREIGN_AUDIT: Mapping[str, list[dict[str, str]]] = {
    "an administrator's audit log": arguments(
        audit_policy_file="/etc/kubernetes/pki/policy.yaml",
        audit_log_path="/var/log/apiserver.log",
        audit_log_maxage="1",
    ),
    "audit to standard output": arguments(audit_log_path="-"),
    "audit flags given twice": [*arguments(audit_log_maxsize="1"), *arguments(audit_log_maxsize="2")],
}


def with_audit(cluster: Cluster, desired: Desired) -> Cluster:
    """The same configuration with our flags and mounts in kubeadm's own words."""
    server = dict(cast("Cluster", cluster.get("apiServer", {})))
    ours = [{"name": flag.name, "value": flag.value} for flag in desired.flags]
    volumes = [
        {
            "name": mount.name,
            "hostPath": mount.host_path,
            "mountPath": mount.mount_path,
            "readOnly": mount.read_only,
            "pathType": mount.path_type,
        }
        for mount in desired.mounts
    ]
    server["extraArgs"] = [*cast("list[object]", server.get("extraArgs", [])), *ours]
    server["extraVolumes"] = [*cast("list[object]", server.get("extraVolumes", [])), *volumes]
    return {**cluster, "apiServer": server}


def written(kubeadm: Kubeadm, cluster: Cluster) -> bytes:
    return kubeadm.write_manifest(configuration(kubeadm.release.version, cluster=cluster))


def equal(release: Release, directory: Path, one: bytes, other: bytes) -> bool:
    """kubeadm's own answer to "is this the same static pod?"."""
    paths = [directory / "one.yaml", directory / "other.yaml"]
    for path, text in zip(paths, (one, other), strict=True):
        path.write_bytes(text)
    done = subprocess.run([release.equal, *paths], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip() == "equal"


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_edit_is_what_kubeadm_would_have_written(kubeadm: Kubeadm, name: str) -> None:
    fresh = written(kubeadm, CLUSTERS[name])
    asked = written(kubeadm, with_audit(CLUSTERS[name], DESIRED))

    assert edit(fresh, DESIRED).text == asked


@pytest.mark.parametrize("name", CLUSTERS)
def test_stripping_gives_kubeadms_bytes_back(kubeadm: Kubeadm, name: str) -> None:
    fresh = written(kubeadm, CLUSTERS[name])
    edited = edit(fresh, DESIRED)

    assert edited.edits
    assert strip(edited.text, edited.record) == fresh
    assert edited.record.before == hashlib.sha256(fresh).hexdigest()


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_was_written_is_read_and_needs_no_second_edit(kubeadm: Kubeadm, name: str) -> None:
    edited = edit(written(kubeadm, CLUSTERS[name]), DESIRED)
    view = read(edited.text)

    assert {(f.name, f.value) for f in view.audit_flags} == {(f.name, f.value) for f in DESIRED.flags}
    assert view.log_host_path == DESIRED.flag("audit-log-path")
    assert view.policy_host_path == DESIRED.flag("audit-policy-file")
    assert view.version == kubeadm.release.version
    assert not edit(edited.text, DESIRED).edits


@pytest.mark.parametrize("name", FOREIGN_AUDIT)
def test_foreign_audit_flags_are_edited_in_place_and_come_back(kubeadm: Kubeadm, name: str) -> None:
    foreign = written(kubeadm, {"apiServer": {"extraArgs": FOREIGN_AUDIT[name]}})

    edited = edit(foreign, DESIRED)
    view = read(edited.text)

    assert sorted((f.name, f.value) for f in view.audit_flags) == sorted((f.name, f.value) for f in DESIRED.flags)
    assert view.duplicates == read(foreign).duplicates
    assert strip(edited.text, edited.record) == foreign


def test_kubeadm_and_we_agree_which_manifests_are_the_same_pod(kubeadm: Kubeadm, tmp_path: Path) -> None:
    """The nonce rule rests on it: what kubeadm takes for equal restarts nothing, and then it waits in vain."""
    fresh = written(kubeadm, {})
    edited = edit(fresh, DESIRED).text
    variants = [
        edited,
        edited + b"\n# a comment\n",
        edited.replace(b"\n", b"\r\n"),
        b"---\n" + edited,
        edited.replace(b"status: {}\n", b""),
        edited.replace(b"--audit-log-maxage=30", b'"--audit-log-maxage=30"'),
        edited.replace(b"maxage=30", b"maxage=31"),
        edited.replace(b"  annotations:\n", b"  annotations:\n    kauditd.io/nonce: a1\n"),
        edited.replace(b"    - --audit-log-maxage=30\n", b"").replace(
            b"    - --allow-privileged=true\n", b"    - --audit-log-maxage=30\n    - --allow-privileged=true\n"
        ),
        fresh,
    ]
    kubeadms = [equal(kubeadm.release, tmp_path, edited, variant) for variant in variants]

    assert [pod_digest(variant) == pod_digest(edited) for variant in variants] == kubeadms
    assert kubeadms == [True] * 6 + [False] * 4


def test_a_nonce_makes_another_pod_and_goes_with_the_next_change(kubeadm: Kubeadm, tmp_path: Path) -> None:
    plain = edit(written(kubeadm, {}), DESIRED).text
    with_nonce = edit(plain, replace(DESIRED, nonce="5f1e")).text
    other = desired_state(default_settings(), policy_path="/etc/kubernetes/audit/policy-ba9876543210.yaml")

    assert not equal(kubeadm.release, tmp_path, plain, with_nonce)
    assert not edit(with_nonce, DESIRED).edits
    assert edit(with_nonce, other).text == edit(plain, other).text
