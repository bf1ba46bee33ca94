"""Prefetching: a thread produces the next items while the caller uses the current one."""

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two checks whether the caller still wants items.
POLL_SECONDS = 0.1


def prefetch(source: Iterator[T], ahead: int = 1) -> Iterator[T]:
    """Yield the same items, each produced in another thread while the caller uses the previous one. ahead: how many may
    wait for the caller.

    This helps because Arrow and the database drivers release the GIL while they work. An exception of the source is
    raised here, after the items before it.
    """
    done = object()
    stopped = threading.Event()
    queue: Queue[T | BaseException | object] = Queue(maxsize=ahead)

    def put(item: T | BaseException | object) -> bool:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=POLL_SECONDS)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in source:
                if not put(item):
                    return
            put(done)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not done:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]  # neither an error nor the sentinel, so an item of the source
    finally:
        stopped.set()
        thread.join()
