"""The kubelet's log of the last minutes, where journald keeps it. Asked only after a failure, for its evidence.

The kubelet logs into the journal on every kubeadm node; elsewhere (no systemd, another unit's name, a volatile journal
that is closed to us) there is nothing to be read, which is no failure.
"""

import asyncio
import os
from contextlib import suppress

from kauditd.core.kubeletwords import KubeletWords, find_kubelet_words
from kauditd.core.layout import Layout

_MOST_LINES = 200
_LIMIT_BYTES = 512 << 10
_DRAIN_S = 1.0


async def read_kubelet_words(
    layout: Layout,
    *,
    since_unix_s: float,
    manifest: str,
    pod_name: str,
    pod_uid: str = "",
    unit: str = "kubelet",
    timeout_s: float = 3.0,
    program: str = "journalctl",
) -> tuple[KubeletWords, ...] | None:
    """What the kubelet said about ``manifest`` and its pod since ``since_unix_s``, as ``find_kubelet_words`` tells it.

    The last 200 lines count, of half a MiB at most. None where there is no journal to be read: no ``program``, an
    error or no end within ``timeout_s``; and under a root, which has no journal of its own. Never raises but when
    cancelled; the child never outlives the call.
    """
    if layout.root:
        return None
    try:
        child = await asyncio.create_subprocess_exec(
            program,
            *("--unit", unit, "--output", "cat", "--since", f"@{int(since_unix_s)}", "--lines", str(_MOST_LINES)),
            *("--no-pager", "--quiet"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except OSError:
        return None
    content = b""
    try:
        async with asyncio.timeout(timeout_s):
            content = await _collect(child)
            if await child.wait() != 0:
                return None
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            await _end(child)
    lines = content.decode("utf-8", "replace").splitlines()
    return find_kubelet_words(lines, manifest=manifest, pod_name=pod_name, pod_uid=pod_uid)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill the child and empty its pipe, which asyncio closes at its end only."""
    with suppress(ProcessLookupError):
        child.kill()
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            await _collect(child)
    await child.wait()


async def _collect(child: asyncio.subprocess.Process) -> bytes:
    """The end of the child's output; all of it is read, so that the child does not wait for us."""
    content = bytearray()
    while child.stdout is not None and (chunk := await child.stdout.read(1 << 16)):
        content += chunk
        del content[:-_LIMIT_BYTES]
    return bytes(content)
