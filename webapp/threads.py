"""Blocking work off the event loop: each kind in threads of its own, so that it waits only for its own kind."""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from webapp.errors import ServerBusyError

T = TypeVar("T")

#: Threads for what has no `ThreadLimit`: large pages, which need a CPU each, and work in the background.
OTHER_THREADS = 16


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread and return its result. A cancelled caller still waits for the thread to end, because what
    the thread uses may be closed next.

    For work that waits for nothing that many requests wait for. It waits for one of OTHER_THREADS, as long as it takes.
    """
    return await _in_thread(work, _others.current())


async def _in_thread(work: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
    task = asyncio.ensure_future(anyio.to_thread.run_sync(work, limiter=limiter))
    with anyio.CancelScope(shield=True):  # or anyio would cancel the caller again and again until the thread ends
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            raise
    return task.result()


class _LimiterOfLoop:
    """A CapacityLimiter for each event loop."""

    def __init__(self, name: str, total: float) -> None:
        self._total = total
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar(name)

    def current(self) -> anyio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._total)
            self._limiter.set(limiter)
            return limiter


_others = _LimiterOfLoop("others", OTHER_THREADS)
#: For work that has a thread already.
_unlimited = _LimiterOfLoop("unlimited", math.inf)


class ThreadLimit:
    """How many threads one kind of work may use at once, and for how long it waits for one of them."""

    def __init__(self, kind: str, threads: int, *, patience: float) -> None:
        """patience: seconds."""
        self._limiter = _LimiterOfLoop(kind, threads)
        self._patience = patience

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return its result. Raises what it raises, and ServerBusyError if no thread was
        free in time."""
        limiter, borrower = self._limiter.current(), object()
        try:
            limiter.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            await self._wait(limiter, borrower)
        try:
            return await _in_thread(work, _unlimited.current())
        finally:
            limiter.release_on_behalf_of(borrower)

    async def iterate(self, items: Iterator[T]) -> AsyncIterator[T]:
        """The items, each produced in a thread. No thread is taken between two items, however long the reader of the
        first takes. Raises as `run` does."""
        end = object()
        while (item := await self.run(lambda: next(items, end))) is not end:
            yield item  # type: ignore[misc]  # it is not the end

    async def iterate_ahead(self, items: Iterator[T], stop: Callable[[], None]) -> AsyncGenerator[T, None]:
        """As `iterate`, but the next item is produced while the reader has the last. stop: ends the production of
        items, from any thread; called if the reader leaves before the end."""
        end, has_ended = object(), False

        def produce() -> asyncio.Task[object]:
            return asyncio.create_task(self.run(lambda: next(items, end)))

        task = produce()
        try:
            while True:
                await asyncio.wait({task})
                if (item := task.result()) is end:
                    has_ended = True
                    return
                task = produce()
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            if not has_ended:
                task.add_done_callback(_forget)
                threading.Thread(target=stop, daemon=True).start()  # it may wait for a database

    async def _wait(self, limiter: anyio.CapacityLimiter, borrower: object) -> None:
        """Raises ServerBusyError."""
        try:
            with anyio.fail_after(self._patience):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise ServerBusyError("The server is too busy at the moment. Please try again shortly.") from None


def _forget(task: "asyncio.Task[object]") -> None:
    """Nobody waits for the outcome of a task."""
    if not task.cancelled():
        task.exception()


# Threads that wait for the database hold up to one connection each: together they must fit into its smaller pool, which
# has 40. Four exports may hold two more each (jobs/export/blocks.py).

#: Queries. Most take milliseconds; a few that wait for a slow disk leave room for the others.
reads = ThreadLimit("reads", 12, patience=10.0)
#: Changes. While one waits for the write lock, all do: more threads would only wait too.
writes = ThreadLimit("writes", 8, patience=10.0)
#: Questions that workers answer. They hold no connection to the database while they wait.
questions = ThreadLimit("questions", 8, patience=10.0)
#: Hashes of passwords. Each needs a CPU for tens of milliseconds, and 19 MiB.
hashes = ThreadLimit("hashes", 2, patience=10.0)
#: Parts of downloads. A part that is late comes all the same: the response has begun, and cannot become an error.
downloads = ThreadLimit("downloads", 6, patience=60.0)
#: Files that processes make for downloads. Each needs a CPU, and up to 250 MB.
exports = ThreadLimit("exports", 2, patience=60.0)
#: Files that are being received: hashing, writing, and syncing to a disk that may be slow.
files = ThreadLimit("files", 8, patience=30.0)
