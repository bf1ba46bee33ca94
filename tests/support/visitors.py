"""Clients of the event streams that behave like browsers: they disconnect, stall, and reconnect with Last-Event-ID.

They run in one thread with its own event loop. Each client checks every message that it receives.
"""

import asyncio
import json
import random
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, TypeVar

import httptools

from jobs.events import Event
from jobs.uploads import TERMINAL, Upload
from webapp.history import PAGE_SIZE

#: Seconds until a client reconnects that has not received a `retry`.
RETRY = 0.5
#: Bytes that a client's kernel and its reader buffer before the server notices that the client does not read.
RECEIVED, READ_AHEAD = 8 * 1024, 4 * 1024
#: Bytes per read: rarely a whole message.
AT_ONCE = 1_000

#: Shares of the connections on which a client disconnects, and on which it stalls.
VANISH, STALL = 0.35, 0.3
#: Seconds that it stalls: in the first range the server waits, in the second it may disconnect the client.
STALLS = (1.0, 5.0), (10.0, 20.0)

ROW = re.compile(r'<tr id="upload-(\d+)"[^>]*? data-seq="(\d+)" data-status="(\w+)"')
SECTION = re.compile(r'<section id="upload"[^>]*? data-seq="(\d+)" data-status="(\w+)"')
TOAST = re.compile(r'id="toast-(\d+-\d+)"')
ENDS = frozenset(status.value for status in TERMINAL)

T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """One message of a stream. id: None if it has none. data: "" if a browser would not dispatch it."""

    event: str
    id: str | None
    data: str
    retry: int | None


@lru_cache(maxsize=10_000)
def parse(block: bytes) -> Message:
    fields: dict[str, list[str]] = {}
    for line in block.decode().split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    retry = fields["retry"][-1] if "retry" in fields else None
    return Message(
        event=fields.get("event", ["message"])[-1],
        id=fields["id"][-1] if "id" in fields else None,
        data="\n".join(fields.get("data", [])),
        retry=int(retry) if retry else None,
    )


@lru_cache(maxsize=10_000)
def state_in(data: str) -> dict[str, Any]:
    """The state in a message of a JSON stream. Callers share it and must not change it."""
    state: dict[str, Any] = json.loads(data)
    return state


class Answer:
    """The response on one connection, parsed as it arrives."""

    def __init__(self, hear: Callable[[Message], None]) -> None:
        self._hear = hear
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self.status = 0

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        *blocks, self._rest = (self._rest + body).split(b"\n\n")
        if self.status == 200:
            for block in blocks:
                self._hear(parse(block))


class Visitor:
    """A client of one address. `violations` are sentences."""

    def __init__(self, crowd: "Visitors", number: int, path: str) -> None:
        self._crowd = crowd
        self._path = path
        self._random = random.Random(f"{crowd.seed}-{number}")
        self._last_event_id = ""
        self._retry = RETRY
        self._reading = asyncio.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self.name = f"visitor {number} of {path}"
        self.connections = 0
        #: The newest seq of each upload received on this connection.
        self.seqs: dict[int, int] = {}
        self.is_connected = self.is_finished = self.has_left = False
        self.violations: list[str] = []

    @property
    def is_listening(self) -> bool:
        return self.is_connected and self._reading.is_set()

    def hear(self, message: Message) -> None:
        """Handle a message that has data and is not a heartbeat."""
        raise NotImplementedError

    def lacks(self, uploads: Mapping[int, Upload]) -> bool:
        """Whether it has an older state than one of these."""
        raise NotImplementedError

    def differs(self, uploads: Mapping[int, Upload]) -> str:
        """A sentence about the first difference between these final states and what it has, "" if there is none."""
        raise NotImplementedError

    def check_order(self, upload_id: int, seq: int, *, again: bool = False) -> None:
        """Check a state against earlier ones on this connection. again: the same one may arrive twice."""
        before = self.seqs.get(upload_id, 0)
        if seq < before or (seq == before and not again):
            self.violates(f"received seq {seq} of upload {upload_id} after {before}")
        self.seqs[upload_id] = seq

    def violates(self, what: str) -> None:
        self.violations.append(f"{self.name} {what} on connection {self.connections}")

    async def live(self) -> None:
        """Connect and reconnect until the stream has ended or the client leaves."""
        while not (self.is_finished or self.has_left):
            with suppress(OSError):
                await self._visit()
            self.is_connected, self._transport = False, None
            self._forget_plan()
            await asyncio.sleep(self._retry * self._random.uniform(0.5, 1.0))

    async def _visit(self) -> None:
        reader, writer = await asyncio.open_connection(sock=await self._connect(), limit=READ_AHEAD)
        self._transport = writer.transport
        self.connections += 1
        self.seqs = {}
        self._begin()
        answer = Answer(self._dispatch)
        self.make_plan()
        try:
            writer.write(self._request())
            while not self.is_finished and (data := await reader.read(AT_ONCE)):
                answer.feed(data)
                self.is_connected = answer.status == 200
                self.is_finished |= answer.status == 204
                await self._reading.wait()
        finally:
            writer.transport.abort()

    async def _connect(self) -> socket.socket:
        connected = socket.socket()
        try:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
            connected.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connected, self._crowd.address)
        except BaseException:
            connected.close()
            raise
        return connected

    def _begin(self) -> None:
        """Reset what belongs to one connection."""

    def _request(self) -> bytes:
        host, port = self._crowd.address
        lines = [f"GET {self._path} HTTP/1.1", f"Host: {host}:{port}", "Accept: text/event-stream"]
        if self._last_event_id:
            lines.append(f"Last-Event-ID: {self._last_event_id}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _dispatch(self, message: Message) -> None:
        if message.id is not None:
            self._last_event_id = message.id
        if message.retry is not None:
            self._retry = message.retry / 1000
        if message.data and message.event not in ("ping", "bye"):
            self.hear(message)

    def make_plan(self) -> None:
        """Plan this connection: only read, disconnect between any two bytes, or stall for a while."""
        self._reading.set()
        if self._crowd.is_calm:
            return
        chance, at = self._random.random(), self._random.uniform(0.3, 8.0)
        if chance < VANISH:
            self._after(at, self.vanish)
        elif chance < VANISH + STALL:
            self._after(at, self._stall)
            self._after(at + self._random.uniform(*self._random.choice(STALLS)), self._reading.set)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))

    def _forget_plan(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _stall(self) -> None:
        self._crowd.stalls += 1
        self._reading.clear()

    def vanish(self) -> None:
        if self._transport is not None:
            self._crowd.vanishings += 1
            self._transport.abort()
        self._reading.set()

    def leave(self) -> None:
        """Disconnect and do not reconnect."""
        self.has_left = True
        self.vanish()

    def calm_down(self) -> None:
        """Only read from now on."""
        self._forget_plan()
        self._reading.set()


class Script(Visitor):
    """A client of a JSON stream: the general one, or one upload's. It keeps the newest state of each upload."""

    def __init__(self, crowd: "Visitors", number: int, path: str, upload_id: int | None = None) -> None:
        """upload_id: the only upload whose states it may receive; None: any."""
        super().__init__(crowd, number, path)
        self._upload_id = upload_id
        self.known: dict[int, dict[str, Any]] = {}

    def hear(self, message: Message) -> None:
        state = state_in(message.data)
        upload_id, seq = state["file_id"], state["seq"]
        self.check_order(upload_id, seq)
        if self._upload_id not in (None, upload_id):
            self.violates(f"received upload {upload_id}")
        if upload_id not in self.known or self.known[upload_id]["seq"] < seq:
            self.known[upload_id] = state

    def _concerned(self, uploads: Mapping[int, Upload]) -> list[Upload]:
        return [each for each in uploads.values() if self._upload_id in (None, each.id)]

    def lacks(self, uploads: Mapping[int, Upload]) -> bool:
        return any(self.known.get(each.id, {"seq": 0})["seq"] < each.seq for each in self._concerned(uploads))

    def differs(self, uploads: Mapping[int, Upload]) -> str:
        for upload in self._concerned(uploads):
            expected, actual = vars(Event.from_upload(upload)), self.known.get(upload.id)
            if actual != expected:
                return f"{self.name} has {actual}, not {expected}"
            if self.seqs.get(upload.id, upload.seq) != upload.seq:
                return f"{self.name} received seq {self.seqs[upload.id]} last on its last connection, not {upload.seq}"
        if self._upload_id is not None and not self.is_finished:
            return f"{self.name} did not receive the end of the stream"
        return ""


class Page(Visitor):
    """A client of an HTML stream. It shows what the page would show, and counts the toasts of each connection."""

    #: A state in the markup: upload, seq, status.
    MARK: re.Pattern[str]

    def __init__(self, crowd: "Visitors", number: int, path: str) -> None:
        super().__init__(crowd, number, path)
        self.shown: dict[int, tuple[int, str]] = {}
        self._toasts: set[str] = set()

    def _begin(self) -> None:
        self._toasts = set()

    def hear(self, message: Message) -> None:
        for toast in TOAST.findall(message.data):
            if toast in self._toasts:
                self.violates(f"received the toast {toast} twice")
            self._toasts.add(toast)

    def show(self, upload_id: int, seq: int, status: str) -> None:
        self.check_order(upload_id, seq, again=True)  # its position in the queue may change
        self.shown[upload_id] = seq, status

    def _expected(self, uploads: Mapping[int, Upload]) -> list[Upload]:
        """The uploads that it must show."""
        raise NotImplementedError

    def lacks(self, uploads: Mapping[int, Upload]) -> bool:
        return any(self.shown.get(each.id, (0, ""))[0] < each.seq for each in self._expected(uploads))

    def differs(self, uploads: Mapping[int, Upload]) -> str:
        for upload_id in {*self.shown, *(each.id for each in self._expected(uploads))}:
            expected = uploads[upload_id].seq, uploads[upload_id].status.value
            if self.shown.get(upload_id) != expected:
                return f"{self.name} shows upload {upload_id} as {self.shown.get(upload_id)}, not {expected}"
        return ""


class History(Page):
    """A client of the first page of the history."""

    def __init__(self, crowd: "Visitors", number: int, path: str) -> None:
        super().__init__(crowd, number, path)
        #: Uploads that ended during this connection.
        self._ended: set[int] = set()

    def _begin(self) -> None:
        super()._begin()
        self._ended.clear()

    def hear(self, message: Message) -> None:
        super().hear(message)
        is_table = 'id="uploads"' in message.data
        if is_table:
            self.shown.clear()
        for upload_id, seq, status in ROW.findall(message.data):
            if status in ENDS and not is_table and self.seqs.get(int(upload_id), 0) < int(seq):
                self._ended.add(int(upload_id))
            self.show(int(upload_id), int(seq), status)

    def _expected(self, uploads: Mapping[int, Upload]) -> list[Upload]:
        return sorted(uploads.values(), key=lambda each: -each.id)[:PAGE_SIZE]

    def differs(self, uploads: Mapping[int, Upload]) -> str:
        for upload_id in self._ended:
            if f"{upload_id}-{uploads[upload_id].attempt}" not in self._toasts:
                return f"{self.name} saw upload {upload_id} end without a toast"
        return super().differs(uploads)


class Detail(Page):
    """A client of an upload's page."""

    def __init__(self, crowd: "Visitors", number: int, path: str, upload_id: int) -> None:
        super().__init__(crowd, number, path)
        self._upload_id = upload_id

    def hear(self, message: Message) -> None:
        super().hear(message)
        for seq, status in SECTION.findall(message.data):
            self.show(self._upload_id, int(seq), status)
        if 'hx-target="#live" hx-swap="delete"' in message.data:
            self.is_finished = True

    def _expected(self, uploads: Mapping[int, Upload]) -> list[Upload]:
        return [uploads[self._upload_id]]

    def differs(self, uploads: Mapping[int, Upload]) -> str:
        is_settled = uploads[self._upload_id].is_settled
        if self.is_finished != is_settled:
            return f"{self.name} {'stays' if is_settled else 'does not stay'} connected"
        return super().differs(uploads)


class Visitors:
    """All clients. They run in a thread inside the block."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.address = host, port
        self.seed = seed
        self.is_calm = True
        self.stalls = self.vanishings = 0
        self._all: list[Visitor] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="visitors")

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def connections(self) -> int:
        return sum(each.connections for each in self._all)

    @property
    def staying(self) -> list[Visitor]:
        return [each for each in self._all if not each.has_left]

    @property
    def violations(self) -> list[str]:
        return [violation for each in self._all for violation in each.violations]

    def come(self, make: Callable[["Visitors", int], Visitor], count: int = 1) -> None:
        """Start some clients of one kind. make: creates one, from this object and a number."""

        async def begin() -> None:
            for _ in range(count):
                visitor = make(self, len(self._all))
                self._all.append(visitor)
                self._tasks.append(asyncio.create_task(visitor.live(), name=visitor.name))

        self._run(begin())

    def leave(self, count: int) -> None:
        """Disconnect a random selection for good."""

        async def go() -> None:
            for each in random.Random(self.seed).sample(self.staying, count):
                each.leave()

        self._run(go())

    def stir(self) -> None:
        """From now on they disconnect and stall at random."""

        async def stir() -> None:
            self.is_calm = False
            for each in self._all:
                each.make_plan()

        self._run(stir())

    def calm_down(self) -> None:
        """From now on they stay connected and read."""

        async def calm() -> None:
            self.is_calm = True
            for each in self._all:
                each.calm_down()

        self._run(calm())

    def ignorant(self, uploads: Mapping[int, Upload], among: Iterable[Visitor]) -> list[Visitor]:
        """The clients that do not have these states yet and may still receive them."""

        async def look() -> list[Visitor]:
            self._raise_failure()
            return [each for each in among if not each.is_finished and not each.has_left and each.lacks(uploads)]

        return self._run(look())

    def differences(self, uploads: Mapping[int, Upload]) -> list[str]:
        """A sentence for each connected client that does not have exactly these states."""

        async def look() -> list[str]:
            self._raise_failure()
            return [sentence for each in self.staying if (sentence := each.differs(uploads))]

        return self._run(look())

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # for the transports to close

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
