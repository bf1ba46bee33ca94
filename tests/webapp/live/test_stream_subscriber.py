"""A stream's messages reach the connection of its client."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from sqlalchemy.exc import OperationalError

from jobs.events import Event
from jobs.people.policy import SINGLE_USER, Policy
from tests.support.hubs import EVENT, PATIENCE, Waiting
from webapp.live import stream_subscriber
from webapp.live.delivery import feed as feeds
from webapp.live.delivery.batch import Batch
from webapp.live.delivery.feed import Feed
from webapp.live.stream_subscriber import StreamSubscriber
from webapp.live.streams.stream import Stream

T = TypeVar("T")

SNAPSHOT = b"snapshot"
FINAL = replace(EVENT, event="bulk_upload_error", status="failed", seq=99)


class Wire:
    """A connection whose client reads or not."""

    def __init__(self) -> None:
        self.is_writable = True
        self.is_disconnected = asyncio.Event()
        self.written: list[bytes] = []
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._changed.set()

    def disconnect(self) -> None:
        self.is_disconnected.set()

    @property
    def news(self) -> list[bytes]:
        """What was written after the snapshot."""
        assert self.written[:1] == [SNAPSHOT]
        return self.written[1:]

    async def receives(self, count: int) -> None:
        """Wait until there are so many news."""
        while len(self.written) < 1 + count:
            self._changed.clear()
            await self._changed.wait()


class Told(Stream):
    """Tells the seqs of each batch; a final state is its end. shared: they come from a task, after `may_go_on`."""

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self.may_go_on = asyncio.Event()
        self.failures: list[Exception] = []

    async def begin(self) -> bytes:
        return SNAPSHOT

    def tell(self, batch: Batch) -> bytes:
        data = batch.shared("key", lambda: self._make(batch)) if self._shared else self._encode(batch)
        self.is_over = any(event.is_terminal for event in batch.events)
        return data

    async def _make(self, batch: Batch) -> bytes:
        await self.may_go_on.wait()
        return self._encode(batch)

    def _encode(self, batch: Batch) -> bytes:
        if self.failures:
            raise self.failures.pop()
        return " ".join(str(event.seq) for event in batch.events).encode()


@dataclass
class Scene:
    """A feed whose only subscriber writes what a stream tells to a wire."""

    told: Told = field(default_factory=Told)
    feed: Feed = field(default_factory=lambda: Feed(0.001))
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self.subscriber = StreamSubscriber(self.told, self.wire, Policy(SINGLE_USER))
        self.witness = Waiting()

    async def put(self, *events: Event) -> None:
        """Events of one revision, which is delivered at the end."""
        for event in events:
            self.feed.put(event)
        batch = self.witness.batch()
        while not batch.events:  # a broadcast has none
            await self.witness.wait()
            batch = self.witness.batch()
            self.witness.acknowledge(batch)


def played(script: Callable[[Scene], Coroutine[Any, Any, T]], *, shared: bool = False) -> T:
    async def play() -> T:
        scene = Scene(Told(shared=shared))
        with scene.feed.subscribe(scene.subscriber), scene.feed.subscribe(scene.witness):
            async with asyncio.timeout(PATIENCE):
                await scene.subscriber.begin()
                found = await script(scene)
        scene.feed.close()
        return found

    return asyncio.run(play())


def at(seq: int, file_id: int = 1) -> Event:
    return replace(EVENT, seq=seq, file_id=file_id)


def test_nothing_is_written_before_the_snapshot_and_everything_since_then_after_it() -> None:
    async def script(scene: Scene) -> list[list[bytes]]:
        await scene.put(at(1))
        await scene.put(at(2, file_id=2))
        before = list(scene.wire.written)
        running = asyncio.create_task(scene.subscriber.run())
        await scene.wire.receives(1)
        await scene.put(at(3))
        scene.subscriber.end()
        await running
        return [before, scene.wire.written]

    assert played(script) == [[], [SNAPSHOT, b"1 2", b"3"]]


def test_a_client_that_does_not_read_receives_everything_at_once_when_it_reads_again() -> None:
    async def script(scene: Scene) -> list[Any]:
        running = asyncio.create_task(scene.subscriber.run())
        await scene.put(at(1))
        await scene.wire.receives(1)
        scene.wire.is_writable = False
        for seq in (2, 3):
            await scene.put(at(seq))
            await scene.put(at(seq, file_id=seq))
        blocked_since, written = scene.subscriber.blocked_since, list(scene.wire.news)
        scene.wire.is_writable = True
        scene.subscriber.deliver()
        running.cancel()
        return [written, blocked_since is not None, scene.wire.news, scene.subscriber.blocked_since]

    assert played(script) == [[b"1"], True, [b"1", b"3 2 3"], None]


def test_a_client_is_blocked_since_the_first_thing_that_could_not_be_sent() -> None:
    async def script(scene: Scene) -> bool:
        running = asyncio.create_task(scene.subscriber.run())
        scene.wire.is_writable = False
        await scene.put(at(1))
        await asyncio.sleep(0)
        since = scene.subscriber.blocked_since
        await scene.put(at(2))
        running.cancel()
        return since is not None and scene.subscriber.blocked_since == since

    assert played(script)


def test_a_client_that_receives_nothing_new_is_not_blocked() -> None:
    async def script(scene: Scene) -> float | None:
        scene.wire.is_writable = False
        running = asyncio.create_task(scene.subscriber.run())
        await asyncio.sleep(0)
        running.cancel()
        return scene.subscriber.blocked_since

    assert played(script) is None


def test_a_broadcast_is_written_when_there_is_no_batch() -> None:
    async def script(scene: Scene) -> list[bytes]:
        running = asyncio.create_task(scene.subscriber.run())
        await asyncio.sleep(0)
        scene.feed.broadcast(b"ping")
        await scene.put(at(1))
        running.cancel()
        return scene.wire.news

    assert played(script) == [b"ping", b"1"]


def test_a_batch_waits_for_what_it_needs_and_newer_ones_for_it() -> None:
    async def script(scene: Scene) -> list[list[bytes]]:
        running = asyncio.create_task(scene.subscriber.run())
        await scene.put(at(1))
        await scene.put(at(2))
        before = list(scene.wire.news)
        scene.told.may_go_on.set()
        await scene.wire.receives(2)
        running.cancel()
        return [before, scene.wire.news]

    assert played(script, shared=True) == [[], [b"1", b"2"]]


@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_is_sent_later_when_the_database_does_not_respond(
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.setattr(stream_subscriber, "RETRY_DELAY", 0.001)

    async def script(scene: Scene) -> list[bytes]:
        scene.told.may_go_on.set()
        scene.told.failures = [OperationalError("SELECT", {}, Exception("no response")) for _ in range(3)]
        running = asyncio.create_task(scene.subscriber.run())
        await scene.put(at(1))
        await scene.wire.receives(1)
        running.cancel()
        return scene.wire.news

    assert played(script, shared=shared) == [b"1"]


@pytest.mark.parametrize("shared", [False, True])
def test_an_error_of_the_stream_ends_it(shared: bool) -> None:
    async def script(scene: Scene) -> list[bytes]:
        scene.told.may_go_on.set()
        scene.told.failures = [ZeroDivisionError("a defect")]
        running = asyncio.create_task(scene.subscriber.run())
        await scene.put(at(1))
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await running
        await scene.put(at(2))
        return scene.wire.news

    assert played(script, shared=shared) == []


def test_a_stream_ends_after_its_last_message() -> None:
    async def script(scene: Scene) -> list[bytes]:
        running = asyncio.create_task(scene.subscriber.run())
        await scene.put(FINAL)
        await running
        await scene.put(at(100))
        return scene.wire.news

    assert played(script) == [b"99"]


def test_a_client_that_missed_more_than_is_kept_is_sent_nothing_and_its_stream_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "MAX_STATES", 2)

    async def script(scene: Scene) -> list[bytes]:
        running = asyncio.create_task(scene.subscriber.run())
        await asyncio.sleep(0)
        scene.wire.is_writable = False
        for file_id in range(1, 5):
            await scene.put(at(1, file_id))
        scene.wire.is_writable = True
        scene.subscriber.deliver()
        await running
        return scene.wire.news

    assert played(script) == []


def test_a_stream_that_ends_does_not_say_that_the_process_ends() -> None:
    async def script(scene: Scene) -> bool:
        scene.subscriber.end()
        scene.subscriber.end()
        await scene.subscriber.run()
        return scene.subscriber.is_shutting_down

    assert played(script) is False


def test_when_the_process_ends_the_client_is_given_a_while_to_read_and_then_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_subscriber, "SHUTDOWN_GRACE", 0.001)

    async def script(scene: Scene) -> bool:
        scene.subscriber.shut_down()
        await scene.subscriber.run()
        await scene.wire.is_disconnected.wait()
        return scene.subscriber.is_shutting_down

    assert played(script)
