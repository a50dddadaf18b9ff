"""The simulated node's etcd, as far as anybody looks at it: a port that takes connections while etcd is up."""

import asyncio
from contextlib import suppress
from pathlib import Path

FAULT = "etcd-down"


class EtcdPort:
    """Listens on ``address``:``port`` unless the node's faults directory holds ``etcd-down``. Port 0: never."""

    def __init__(self, address: str, port: int, faults_dir: str) -> None:
        self._address = address
        self._port = port
        self._fault = Path(faults_dir, FAULT)
        self._server: asyncio.Server | None = None

    async def follow(self) -> None:
        """Open or close the port as the fault says."""
        wanted = self._port != 0 and not self._fault.exists()
        if wanted and self._server is None:
            with suppress(OSError):  # somebody else's etcd is there: that one takes connections too
                self._server = await asyncio.start_server(self._hang_up, self._address, self._port)
        elif not wanted:
            self.close()

    def close(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @staticmethod
    async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
