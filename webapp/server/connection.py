"""One client's connection: uvicorn's, bounded in what it holds for a client that does not read, and easy to cut."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes that wait in this process before writing pauses, and bytes that the kernel takes beyond what is on its way. A
#: client that stops reading costs about their sum; without the second one it cost megabytes.
WAITING_BYTES = 32 * 1024
UNSENT_BYTES = 32 * 1024


class Connection(HttpToolsProtocol):
    """A request finds `cut` in its state: it ends the connection at once, with all that waits to be read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "cut": self._cut}
        transport.set_write_buffer_limits(high=WAITING_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def _cut(self) -> None:
        self._option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # or the kernel would keep trying
        self.transport.abort()

    def _option(self, level: int, name: int, value: Any) -> None:
        connected = self.transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(level, name, value)
