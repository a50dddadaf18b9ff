"""A static pod as the kubelet decodes it: what it runs, what it mounts, and which identity its content has.

Upstream: kubelet ``pkg/kubelet/config/common.go`` (the UID is a digest of the decoded, defaulted Pod and of the file's
path) and kubeadm ``util/staticpod`` (equality of two decoded, undefaulted Pods).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from kauditd.errors import KauditError
from kauditd.sim.timing import GRACE_S

POD_FIELDS = """
apiVersion kind metadata spec
"""
METADATA_FIELDS = """
name namespace labels annotations uid finalizers ownerReferences
"""
CONTAINER_FIELDS = """
args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy
resources restartPolicy securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy
tty volumeDevices volumeMounts workingDir
"""
SPEC_FIELDS = """
activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks
ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname imagePullSecrets initContainers
nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resources restartPolicy
runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN
shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes
"""
SPEC_DEFAULTS: Mapping[str, object] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
CONTAINER_DEFAULTS: Mapping[str, object] = {
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
PROBE_DEFAULTS: Mapping[str, object] = {
    "failureThreshold": 3,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


class NotAPod(KauditError):
    """The file does not decode as a Pod; the message is what the kubelet logs."""

    kind = "bad-manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPathMount:
    """One hostPath volume as one container mounts it. ``check`` is the hostPath type, "" for none."""

    volume: str
    host_path: str
    mount_path: str
    read_only: bool
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One decoded static pod. ``uid`` is config.hash, ``key`` the namespace and name that the file source stores by."""

    uid: str
    key: str
    path: str
    command: tuple[str, ...]
    image: str
    grace_s: float
    mounts: tuple[HostPathMount, ...]

    @property
    def version(self) -> str:
        """The image's tag."""
        return self.image.rpartition(":")[2] if ":" in self.image.rpartition("/")[2] else ""


def decode_pod(content: bytes, *, path: str, node_name: str) -> Pod:
    """One manifest file. Raises ``NotAPod`` for bad YAML, for other kinds and for a Pod without containers."""
    document = decode_object(content)
    spec, metadata = _mapping(document.get("spec")), _mapping(document.get("metadata"))
    containers = _mappings(spec.get("containers"))
    if not metadata.get("name") or not containers or not all(entry.get("name") for entry in containers):
        raise NotAPod(f"{path}: invalid pod: metadata.name and spec.containers with names are required")
    digest = hashlib.md5(usedforsecurity=False)
    digest.update(json.dumps(_defaulted(document), sort_keys=True).encode())
    digest.update(f"host:{node_name}file:{path}".encode())
    main = containers[0]
    grace = spec.get("terminationGracePeriodSeconds", GRACE_S)
    return Pod(
        uid=str(metadata.get("uid") or digest.hexdigest()),
        key=f"{metadata.get('namespace') or 'default'}/{metadata['name']}-{node_name}",
        path=path,
        command=tuple(str(word) for word in (*_list(main.get("command")), *_list(main.get("args")))),
        image=str(main.get("image") or ""),
        grace_s=float(grace) if isinstance(grace, (int, float)) else GRACE_S,
        mounts=_mounts(spec, main),
    )


def decode_object(content: bytes) -> dict[str, object]:
    """The Pod as Go decodes it: the first document, without unknown fields, nulls, empty values and ``status``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    loader = YAML(typ="safe", pure=True)
    loader.version = (1, 1)
    loader.allow_duplicate_keys = True
    try:
        document = next(iter(loader.load_all(content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "strict"))), None)
    except (YAMLError, UnicodeDecodeError) as exc:
        raise NotAPod(f"couldn't parse as pod({exc}), please check config file") from exc
    if not isinstance(document, dict) or document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise NotAPod("couldn't parse as pod(invalid pod: object is not a v1 Pod), please check config file")
    known = _only(document, POD_FIELDS)
    known["metadata"] = _only(_mapping(known.get("metadata")), METADATA_FIELDS)
    spec = _only(_mapping(known.get("spec")), SPEC_FIELDS)
    spec["containers"] = [_container(entry) for entry in _mappings(spec.get("containers"))]
    known["spec"] = spec
    pruned = _pruned(known)
    return pruned if isinstance(pruned, dict) else {}


def pods_equal(first: bytes, second: bytes) -> bool:
    """What kubeadm calls equal (``ManifestFilesAreEqual``): layout never counts, list order and defaults do."""
    return decode_object(first) == decode_object(second)


def _container(entry: Mapping[str, object]) -> dict[str, object]:
    known = _only(entry, CONTAINER_FIELDS)
    for port in _mappings(known.get("ports")):
        if not isinstance(port.get("containerPort"), int):
            raise NotAPod(
                "couldn't parse as pod(json: cannot unmarshal string into containerPort), please check config file"
            )
    # A false boolean is left out of the JSON form, so that ``readOnly: false`` equals its absence.
    if "volumeMounts" in known:
        known["volumeMounts"] = [
            {k: v for k, v in mount.items() if not (k == "readOnly" and v is False)}
            for mount in _mappings(known["volumeMounts"])
        ]
    return known


def _only(entry: Mapping[str, object], fields: str) -> dict[str, object]:
    known = fields.split()
    return {str(key): value for key, value in entry.items() if key in known}


def _pruned(value: object) -> object:
    """Nulls and empty collections vanish, as with ``omitempty``; only an ``emptyDir: {}`` means something."""
    if isinstance(value, dict):
        items = {str(key): _pruned(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if key == "emptyDir" or item not in (None, {}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _defaulted(document: Mapping[str, object]) -> dict[str, object]:
    """The object that the kubelet digests: defaults filled in, so that spelling one out changes nothing."""
    spec = {**SPEC_DEFAULTS, **_mapping(document.get("spec"))}
    containers = []
    for entry in _mappings(spec.get("containers")):
        container = {**CONTAINER_DEFAULTS, **entry}
        for probe in PROBES:
            if probe in container:
                container[probe] = {**PROBE_DEFAULTS, **_mapping(container[probe])}
        containers.append(container)
    return {**document, "spec": {**spec, "containers": containers}}


def _mounts(spec: Mapping[str, object], container: Mapping[str, object]) -> tuple[HostPathMount, ...]:
    volumes = {str(volume.get("name")): _mapping(volume.get("hostPath")) for volume in _mappings(spec.get("volumes"))}
    mounts = []
    for mount in _mappings(container.get("volumeMounts")):
        name = str(mount.get("name"))
        source = volumes.get(name)
        if not source:
            continue
        mounts.append(
            HostPathMount(
                volume=name,
                host_path=str(source.get("path")),
                mount_path=str(mount.get("mountPath")),
                read_only=mount.get("readOnly") is True,
                check=str(source.get("type") or ""),
            )
        )
    return tuple(mounts)


def _mapping(value: object) -> dict[str, object]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[dict[str, object]]:
    return [_mapping(item) for item in _list(value)]
