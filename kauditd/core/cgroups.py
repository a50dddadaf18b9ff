"""The pod a process belongs to, read from the text of ``/proc/PID/cgroup``.

The kubelet names pod cgroups (pkg/kubelet/cm): ``pod<UID>`` below ``kubepods`` and the QoS class with the cgroupfs
driver; ``kubepods-<qos>-pod<uid>.slice``, dashes of the UID as underscores, with the systemd driver. A runtime that
does not share the kubelet's driver leaves that as one part, ``...pod<uid>.slice:cri-containerd:<id>``. All may sit
below a prefix (``--cgroup-root``, a nested runtime). A UID is an RFC 4122 text, or 32 hexadecimal digits where the
pod came from a file (pkg/kubelet/config/common.go).
"""

import re

_UID = r"[0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12}"
_POD_PART = re.compile(rf"(?:^|.*-)pod({_UID})(?:\.slice)?(?::.*)?$", re.IGNORECASE)


def pod_uid(cgroup_text: str) -> str | None:
    """The pod UID (lower case, dashes where the kubelet has dashes), None for a process outside any pod.

    With several hierarchies (cgroup v1) the first that names a pod counts. Of pods within pods (a node that is
    itself a container of some cluster) the innermost is meant: that one the node's own kubelet made.
    """
    for line in cgroup_text.splitlines():
        # hierarchy-ID:controllers:path (cgroups(7)); the path itself may hold colons (cri-o's scopes do)
        fields = line.split(":", 2)
        for part in reversed(fields[2].split("/") if len(fields) == 3 else []):
            found = _POD_PART.match(part)
            if found:
                return found.group(1).lower().replace("_", "-")
    return None
