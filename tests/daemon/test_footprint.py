"""What the daemon does not load stays out, and what it serves with still works."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.process import daemon, environment, has_flags, wait_until
from tests.tree import ROOT

RESIDENT_LIMIT_KB = 42 * 1024

PROGRAM = """
import sys
from kauditd.daemon.footprint import trim
trim()
import kauditd.daemon.app
loaded = {name for name, module in sys.modules.items() if module is not None}
print("ssl" in loaded, "_ssl" in loaded, "aiohttp.client" in loaded)

import asyncio
import aiohttp
from aiohttp import web

async def main():
    async def answer(request):
        return web.json_response({"path": request.path, "version": aiohttp.__version__})
    application = web.Application()
    application.router.add_get("/v1/status", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    answered = await reader.read()
    print(answered.split(b"\\r\\n")[0].decode(), b'"/v1/status"' in answered)
    writer.close()
    await runner.cleanup()

asyncio.run(main())
"""

TWICE = """
import ssl
from kauditd.daemon.footprint import trim
trim()
trim()
import ssl as again
import aiohttp.client
print(again is ssl, aiohttp.client.ClientSession.__name__)
"""


def _output(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_neither_tls_nor_the_http_client_is_loaded_and_the_server_works() -> None:
    assert _output(PROGRAM) == ["False False False", "HTTP/1.1 200 OK True"]


def test_process_that_has_tls_already_keeps_it() -> None:
    assert _output(TWICE) == ["True ClientSession"]


@pytest.mark.serial
def test_idle_daemon_stays_small(image: Path) -> None:
    """The figure of the design is 40 MB for the installed form; an interpreter that writes no bytecode needs more."""
    with daemon(image) as running:
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the edit")
        running.wait_answering()
    with daemon(image) as running:
        running.wait_answering()
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        assert resident_kb < RESIDENT_LIMIT_KB
