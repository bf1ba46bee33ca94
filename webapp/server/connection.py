"""One client's HTTP connection: uvicorn's, with bounded buffers and a way to abort it."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes that this process buffers before writing pauses, and unsent bytes that the kernel buffers. A client that stops
#: reading costs about their sum; without the second limit it cost megabytes.
WRITE_BUFFER_BYTES = 32 * 1024
UNSENT_BYTES = 32 * 1024


class Connection(HttpToolsProtocol):
    """Adds `disconnect` to the state of requests: it aborts the connection at once and drops all unread data."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the signature is uvicorn's
        super().connection_made(transport)
        self.app_state = {**self.app_state, "disconnect": self._disconnect}
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def _disconnect(self) -> None:
        self._option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # or the kernel keeps sending
        self.transport.abort()

    def _option(self, level: int, name: int, value: Any) -> None:
        connected = self.transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(level, name, value)
