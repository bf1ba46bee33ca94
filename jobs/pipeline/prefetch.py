"""Prefetching: a thread produces the next items while the caller uses the current one."""

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

#: Seconds between two checks whether the caller still wants items.
POLL_SECONDS = 0.1

_DONE = object()


def prefetch(source: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each produced in another thread while the caller uses the previous one."""
    with Prefetch(source) as items:
        yield from items


class Prefetch(Generic[T]):
    """The items of an iterator, each produced in another thread while the caller uses the previous one.

    This helps because Arrow and the database drivers release the GIL while they work. An exception of the source is
    raised after the items before it. The thread ends with the block.
    """

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._stopped = threading.Event()
        self._queue: Queue[T | BaseException | object] = Queue(maxsize=1)
        #: What came out of the queue and was not handed out yet.
        self._found: list[T | BaseException | object] = []
        self._thread = threading.Thread(target=self._produce, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._found.pop() if self._found else self._queue.get()
        if item is _DONE:
            self._found.append(item)
            raise StopIteration
        if isinstance(item, BaseException):
            self._found.append(_DONE)
            raise item
        return item  # type: ignore[return-value]  # neither an error nor the end, so an item of the source

    def soon(self, seconds: float) -> T | None:
        """The next item, if there is one within so many seconds. None: not yet, or no more, or an exception, which is
        raised by whoever asks for the next item."""
        try:
            item = self._found.pop() if self._found else self._queue.get(timeout=seconds)
        except Empty:
            return None
        if item is _DONE or isinstance(item, BaseException):
            self._found.append(item)
            return None
        return item  # type: ignore[return-value]  # as above

    def _produce(self) -> None:
        try:
            for item in self._source:
                if not self._put(item):
                    return
            self._put(_DONE)
        except BaseException as error:
            self._put(error)

    def _put(self, item: T | BaseException | object) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=POLL_SECONDS)
            except Full:
                continue
            return True
        return False
