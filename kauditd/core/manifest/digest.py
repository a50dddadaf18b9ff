"""When two manifests are the same Pod: what kubeadm compares before it replaces one.

kubeadm cmd/kubeadm/app/util/staticpod/utils.go, ``ManifestFilesAreEqual``, decodes both files without defaulting and
hashes the objects. So layout, comments, key order, unknown fields and explicit zero values do not count; the order of
lists, annotations and explicit defaults do.
"""

import json

from kauditd.core.manifest.locate import check_kinds
from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.scalars import Value, decode
from kauditd.core.manifest.splice import digest
from kauditd.core.manifest.tree import Mapping, child
from kauditd.core.model import Digest

_METADATA = frozenset(
    [
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ]
)
_SPEC = frozenset(
    [
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "ephemeralContainers",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostUsers",
        "hostname",
        "hostnameOverride",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "resources",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
        "workloadRef",
    ]
)
_CONTAINER = frozenset(
    [
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]
)
_FIELDS = {
    "": frozenset({"apiVersion", "kind", "metadata", "spec", "status"}),
    "metadata": _METADATA,
    "spec": _SPEC,
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
}
"""The fields a Pod has, by the key above them; others are dropped when the object is decoded."""

_STRING_MAPS = frozenset({"annotations", "labels", "nodeSelector"})
_ZERO_FALSE = frozenset({"hostIPC", "hostNetwork", "hostPID", "readOnly", "stdin", "stdinOnce", "tty"})
_ZERO_EMPTY = frozenset({"creationTimestamp", "resources", "status"})
_ZERO_NUMBER = frozenset(
    ["failureThreshold", "hostPort", "initialDelaySeconds", "periodSeconds", "successThreshold", "timeoutSeconds"]
)
_KEEPS_EMPTY_TEXT = frozenset({"type", "storageClassName", "runtimeClassName"})


def pod_digest(text: bytes) -> Digest:
    """The digest of the decoded Pod; equal digests mean that kubeadm sees equal manifests. Raises ManifestRefused."""
    document = parse(text, strict=False)
    root = document.root
    kind = child(root, "kind")
    if kind is None or decode(kind) != "Pod":
        raise document.refuse(root, "it is not a Pod", code="not-a-pod", hint="the file must hold one Pod object")
    check_kinds(document, root)
    return object_digest(root)


def object_digest(root: Mapping) -> Digest:
    """The digest of a Pod that is already parsed."""
    value = _normal(decode(root), "")
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _normal(value: Value, key: str) -> Value:
    if isinstance(value, list):
        return [_normal(item, key) for item in value]
    if not isinstance(value, dict) or key in _STRING_MAPS:
        return value
    fields = _FIELDS.get(key)
    pairs = ((name, _normal(item, name)) for name, item in value.items() if fields is None or name in fields)
    return {name: item for name, item in pairs if not _is_zero(name, item)}


def _is_zero(key: str, value: Value) -> bool:
    """Whether a field has the value that it has when it is absent."""
    match value:
        case None:
            return True
        case bool():
            return not value and key in _ZERO_FALSE
        case int() | float():
            return not value and key in _ZERO_NUMBER
        case str():
            return not value and key not in _KEEPS_EMPTY_TEXT
        case dict():
            return not value and key in _ZERO_EMPTY
        case _:
            return False
