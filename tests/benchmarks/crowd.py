"""A thousand clients of an event stream in one process: `python -m tests.benchmarks.crowd HOST PORT PATH CLIENTS KIND`.
API tokens may follow, which the clients take by turns.

It reads commands, a line each, on stdin and answers with a line of JSON each. To cost little it looks at most of the
bytes only to count events; the times of a few clients' events are read, and everything after `keep` is.
"""

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
from calendar import timegm
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvloop

from tests import ROOT

#: One client in so many has the times of its events read.
SAMPLED = 40
#: What is counted as an event, the moment it was published, and what it says of which upload, by kind of stream.
KINDS = {
    "json": (
        b'"file_id":',
        re.compile(rb'"timestamp":"([^"]+)"'),
        re.compile(rb'"file_id":(\d+),"seq":(\d+).*?"status":"(\w+)"'),
    ),
    "html": (
        b'<tr id="upload-',
        re.compile(rb"^id: (\S+)", re.MULTILINE),
        re.compile(rb'<tr id="upload-(\d+)"[^>]*? data-seq="(\d+)" data-status="(\w+)"'),
    ),
}


def seconds(moment: bytes) -> float:
    """Since the epoch, of 2026-01-31T09:00:00.000000Z."""
    text = moment.decode()
    return timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(text[19:-1])


class Client(asyncio.Protocol):
    def __init__(self, crowd: "Crowd", number: int) -> None:
        self._crowd = crowd
        self._number = number
        self._sampled = number % SAMPLED == 0
        self._tail = b""
        self.kept: list[bytes] = []
        self.has_begun = False
        self.is_lost = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvloop's is none by type
        self.transport = transport
        transport.write(self._crowd.request(self._number))

    def data_received(self, data: bytes) -> None:
        now = time.time()
        crowd = self._crowd
        crowd.bytes += len(data)
        if crowd.keeps:
            self.kept.append(data)
        data = self._tail + data
        count = data.count(crowd.mark)
        self._tail = data[-(len(crowd.mark) - 1) :]
        crowd.events += count
        if count and not self.has_begun:
            self.has_begun = True
            crowd.one_begins()
        if self._sampled and crowd.measures:
            crowd.times += [now - seconds(moment) for moment in crowd.moment.findall(data)]

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._crowd.lost += 1


class Crowd:
    def __init__(self, host: str, port: str, path: str, clients: str, kind: str, *tokens: str) -> None:
        self._address = host, int(port)
        self._count = int(clients)
        self.mark, self.moment, self._states = KINDS[kind]
        start = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
        self._requests = [f"{start}Authorization: Bearer {token}\r\n\r\n".encode() for token in tokens]
        self._requests = self._requests or [f"{start}\r\n".encode()]
        self._clients: list[Client] = []
        self.events = self.bytes = self.begun = self.lost = 0
        self.keeps = self.measures = False
        self.times: list[float] = []
        self._cpu = 0.0
        self.all_begun = asyncio.Event()

    def request(self, number: int) -> bytes:
        return self._requests[number % len(self._requests)]

    def one_begins(self) -> None:
        self.begun += 1
        if self.begun == self._count:
            self.all_begun.set()

    async def connect(self) -> dict[str, Any]:
        """All at once, until each has its answer's first event, or for 60 s."""
        self.begun = 0
        self.all_begun.clear()
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        async def one(number: int) -> Client:
            _, client = await loop.create_connection(lambda: Client(self, number), *self._address)
            return client

        self._clients = list(await asyncio.gather(*(one(number) for number in range(self._count))))
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await self.all_begun.wait()
        return {"begun": self.begun, "seconds": time.monotonic() - began}

    async def open(self) -> dict[str, Any]:
        """All, without waiting for an event: an idle stream may have none."""
        loop = asyncio.get_running_loop()
        for number in range(self._count):
            _, client = await loop.create_connection(lambda number=number: Client(self, number), *self._address)  # type: ignore[misc]  # as mypy sees the default
            self._clients.append(client)
        return {"open": len(self._clients)}

    async def leave(self) -> dict[str, Any]:
        for client in self._clients:
            if client.transport:
                client.transport.abort()
        await asyncio.sleep(0.1)
        self._clients.clear()
        return {}

    async def measure(self) -> dict[str, Any]:
        self.events = self.bytes = self.lost = 0
        self.times, self.measures, self._cpu = [], True, time.process_time()
        return {}

    async def stop(self) -> dict[str, Any]:
        self.measures = False
        times = sorted(self.times) or [0.0]
        return {
            "events": self.events,
            "bytes": self.bytes,
            "lost": self.lost,
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
            "sampled": len(self.times),
            "cpu": time.process_time() - self._cpu,
        }

    async def keep(self) -> dict[str, Any]:
        self.keeps = True
        return {}

    async def states(self) -> dict[str, Any]:
        """The last states that clients were told since `keep`: how many clients say which."""
        said: Counter[str] = Counter()
        for client in self._clients:
            last: dict[int, tuple[int, str]] = {}
            for upload_id, seq, status in self._states.findall(b"".join(client.kept)):
                last[int(upload_id)] = int(seq), status.decode()
            said[json.dumps(sorted(last.items()))] += not client.is_lost
        return {"said": dict(said)}

    async def serve(self) -> None:
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := (await lines.readline()).decode().strip():
            print(json.dumps(await getattr(self, line)()), flush=True)


class Crowded:
    """The crowd as a child process, which ends with the block."""

    def __init__(self, port: int, path: str, clients: int, kind: str = "json", tokens: Sequence[str] = ()) -> None:
        words = ["127.0.0.1", str(port), path, str(clients), kind, *tokens]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.crowd", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def heard(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, command: str) -> Any:
        self.tell(command)
        return self.heard()

    def __enter__(self) -> "Crowded":
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(Crowd(*sys.argv[1:]).serve())


if __name__ == "__main__":
    main()
