"""Working ahead in a thread: the next item is made while the one before it is in use."""

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks whether the items are still wanted.
POLL_SECONDS = 0.1


def prefetch(source: Iterator[T]) -> Iterator[T]:
    """The same items, each made in another thread while the one before it is in use: Arrow and the database drivers
    release the interpreter while they work. An error of the source is raised here, in its place."""
    done = object()
    over = threading.Event()
    waiting: Queue[T | BaseException | object] = Queue(maxsize=1)

    def hand_over(item: T | BaseException | object) -> bool:
        while not over.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in source:
                if not hand_over(item):
                    return
            hand_over(done)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not done:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]  # neither an error nor the end: one of the source's
    finally:
        over.set()
        thread.join()
