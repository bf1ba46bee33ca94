"""One query for all callers that want the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """All callers with the same key share a read that begins after they asked; a caller that comes during a read gets
    the next one.

    A result is therefore never older than the call: a stream that subscribes first and then asks misses nothing.
    """

    def __init__(self, read: Callable[[K], Awaitable[V]], *, min_interval: float = 0) -> None:
        """min_interval: seconds between the beginnings of two reads of one key, at least. When many clients connect
        at once their requests arrive one after the other, and each would otherwise start a read of its own."""
        self._read = read
        self._min_interval = min_interval
        self._began: dict[K, float] = {}
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """Raises what the read raises."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="single flight")
        return await asyncio.shield(future)

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._waiting:
            self._began = {key: began for key, began in self._began.items() if clock() < began + self._min_interval}
            key = min(self._waiting, key=lambda key: self._began.get(key, 0))
            if key in self._began:
                await asyncio.sleep(self._began[key] + self._min_interval - clock())
            self._began[key] = clock()
            future = self._waiting.pop(key)
            try:
                future.set_result(await self._read(key))
            except Exception as error:
                future.set_exception(error)
                future.exception()  # marks it as retrieved: all callers may be gone, and asyncio would log it
