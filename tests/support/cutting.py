"""A proxy that cuts connections, at places that a seed decides."""

import random
import socket
import struct
import threading
from contextlib import suppress
from typing import Self

import httpx

#: Bytes that are passed on at once.
STEP = 1 << 16


class Cutting:
    """Inside the block it passes connections to `url` on to a server, and cuts some of them while a client sends.

    Each cut comes when a connection has brought so many bytes from the client. The client's end is reset, and so is the
    server's every other time: the kernel then drops what the server has not read.
    """

    def __init__(
        self,
        upstream: str,
        *,
        cuts: int = 0,
        seed: int = 0,
        between: tuple[int, int] = (1, 2),
        pause_after: int | None = None,
    ) -> None:
        """cuts: how many. between: the least and the most bytes of a client before each. pause_after: bytes of
        all clients after which nothing is passed on until `go_on`."""
        parsed = httpx.URL(upstream)
        self._server = (parsed.host, parsed.port or 0)
        self._random = random.Random(seed)
        self._between = between
        self._lock = threading.Lock()
        self._left = cuts
        self._pause_after = pause_after
        self._may_go_on = threading.Event()
        self._passed = 0
        self.is_paused = False
        #: How many there were.
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def go_on(self) -> None:
        self._pause_after = None
        self._may_go_on.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            self._start(self._pass_on, client, server, self._limit())
            self._start(self._pass_on, server, client, None)

    def _start(self, target: object, *given: object) -> None:
        thread = threading.Thread(target=target, args=given, daemon=True)  # type: ignore[arg-type]  # a method
        self._threads.append(thread)
        thread.start()

    def _limit(self) -> int:
        """Bytes after which a connection is cut."""
        with self._lock:
            return self._random.randint(*self._between)

    def _pass_on(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(STEP):
                target.sendall(data)
                passed += len(data)
                if limit is not None:
                    self._pause(len(data))
                if limit is not None and passed >= limit and self._may_cut():
                    for each in (source, target) if self.cuts % 2 else (source,):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _pause(self, size: int) -> None:
        with self._lock:
            self._passed += size
        if self._pause_after is not None and self._passed >= self._pause_after:
            self.is_paused = True
            self._may_go_on.wait(60)

    def _may_cut(self) -> bool:
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            self.cuts += 1
            return True

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(60)
