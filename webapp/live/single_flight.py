"""Reads that many clients want at once, made once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Everybody who asks for a key before its read begins shares that read; who comes later gets the next one.

    So an answer is never older than the question: a stream that registers and then asks misses nothing between.
    """

    def __init__(self, read: Callable[[K], Awaitable[V]], *, apart: float = 0) -> None:
        """apart: seconds between the beginnings of two reads of one key, at least: those who come in a storm come one
        after the other, and would each find the read before theirs just begun."""
        self._read = read
        self._apart = apart
        self._begun: dict[K, float] = {}
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """Raises what the read raised."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="shared reads")
        return await asyncio.shield(future)

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._waiting:
            self._begun = {key: begun for key, begun in self._begun.items() if clock() < begun + self._apart}
            key = min(self._waiting, key=lambda key: self._begun.get(key, 0))
            if key in self._begun:
                await asyncio.sleep(self._begun[key] + self._apart - clock())
            self._begun[key] = clock()
            future = self._waiting.pop(key)
            try:
                future.set_result(await self._read(key))
            except Exception as error:
                future.set_exception(error)
                future.exception()  # whoever asked may be gone: then nobody needs to be told
