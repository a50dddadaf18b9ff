"""One look at the node: everything a decision needs, read once and put into one immutable ``Observed``."""

from kauditd.core.layout import parent
from kauditd.core.manifest import defines_api_server
from kauditd.core.matching import match_processes
from kauditd.core.model import Desired, Edited, FileId, ManifestFile, ManifestView
from kauditd.core.observed import Observed, PolicyFile, Refusal, Shadow
from kauditd.engine.editing import Editing
from kauditd.engine.ports import Node
from kauditd.engine.wishes import Wishes
from kauditd.engine.workspace import Surroundings
from kauditd.errors import FileFault, ManifestRefused

_SHADOW_LIMIT_BYTES = 10 << 20  # the kubelet refuses larger files


class Observer:
    """Reads the node. Caches by file identity what does not change from look to look."""

    def __init__(self, node: Node, editing: Editing) -> None:
        self._node = node
        self._editing = editing
        self._shadow_cache: dict[str, tuple[FileId | None, str | None]] = {}

    def observe(self, wishes: Wishes, manifest: ManifestFile, surroundings: Surroundings) -> Observed:
        """Everything about ``manifest`` and around it, against the desired state of ``wishes``."""
        desired = wishes.desired()
        view, edited, refusal = self._read(manifest, desired)
        policy, table = wishes.policy, surroundings.table
        log_directory = parent(wishes.settings.log.path)
        return Observed(
            at_unix_s=self._node.now_unix_s(),
            manifest=manifest,
            view=view,
            edited=edited,
            asked=self._editing.asked(edited.text, desired) if edited is not None and desired is not None else desired,
            refusal=refusal,
            shadows=self._find_shadows(manifest.path),
            processes=match_processes(view, () if table is None else table.api_servers),
            kubelet_started_unix_s=None if table is None else table.kubelet_started_unix_s,
            kubeadm_pid=None if table is None else table.kubeadm_pid,
            health=surroundings.health,
            trail=surroundings.trail,
            pod_logs=surroundings.pod_logs,
            ended=surroundings.pod_logs.ended if surroundings.pod_logs is not None else None,
            etcd=surroundings.etcd,
            policy_file=None
            if policy is None
            else PolicyFile(
                path=policy.path,
                digest=policy.digest,
                state=self._node.policy_state(policy.path, policy.digest),
            ),
            log_directory=self._node.log_directory(log_directory) if wishes.known else None,
        )

    def _read(
        self, manifest: ManifestFile, desired: Desired | None
    ) -> tuple[ManifestView | None, Edited | None, Refusal | None]:
        if manifest.content is None:
            return None, None, None
        try:
            view = self._editing.view(manifest.content)
            edited = None if desired is None else self._editing.edited(manifest.content, desired)
        except ManifestRefused as exc:
            return None, None, Refusal(code=exc.code, text=exc.message, line=exc.line, hint=exc.hint)
        return view, edited, None

    def _find_shadows(self, manifest_path: str) -> tuple[Shadow, ...]:
        """Other visible files of the directory that define an API server; each is parsed once per identity."""
        directory = parent(manifest_path)
        cache: dict[str, tuple[FileId | None, str | None]] = {}
        for name in self._node.visible_files(directory):
            path = f"{directory}/{name}"
            if path == manifest_path:
                continue
            identity = self._node.identify(path)
            known = self._shadow_cache.get(name)
            cache[name] = known if known is not None and known[0] == identity else (identity, self._pod_of(path))
        self._shadow_cache = cache
        return tuple(Shadow(name=n, pod=pod) for n, (_, pod) in cache.items() if pod is not None)

    def _pod_of(self, path: str) -> str | None:
        try:
            content = self._node.read_file(path, limit_bytes=_SHADOW_LIMIT_BYTES)
        except FileFault:
            return None
        return None if content is None else defines_api_server(content)
