"""Slow imports in threads of the test, through the state machine and the publisher that workers use."""

import queue
import random
import threading
from collections.abc import Callable
from typing import Self

from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.serving import Records
from tests.support.waiting import until

#: Seconds from one state of an upload to the next.
ROUND = 0.4, 1.2


class Import:
    """An upload in progress, changed as a worker or a user of its page changes it."""

    def __init__(self, records: Records, name: str, number: int) -> None:
        self.records = records
        self.upload = records.processing(f"{name} {number}.csv", rows=10_000)
        self._endings = iter(_endings(records, number))

    def advance(self) -> None:
        self.upload = self.records.advance(self.upload)

    def end(self) -> bool:
        """Take the next step to the end. Returns whether it was the last."""
        change = next(self._endings, None)
        if change is not None:
            self.upload = change(self.upload)
        return change is None


def _endings(records: Records, number: int) -> list[Callable[[Upload], Upload]]:
    if is_tried_again(number):
        return [records.fail, records.retry, records.claim, records.advance, records.complete]
    return [(records.complete, records.complete, records.fail, records.cancel)[number % 5]]


def is_tried_again(number: int) -> bool:
    """Whether the upload of this number fails, and completes at the second try."""
    return number % 5 == 4


class Imports:
    """Threads that import uploads, inside the block."""

    def __init__(self, settings: Settings, name: str, *, hands: int, seed: int) -> None:
        """name: of the files, before a number. hands: threads, each with one upload at a time."""
        self._settings = settings
        self._name = name
        self._seed = seed
        self._coming: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ending: set[int] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[hand]) for hand in range(hands)]
        self._errors: list[Exception] = []
        #: Number of each upload, by its id; and the ids of those at their end.
        self.numbers: dict[int, int] = {}
        self.ended: set[int] = set()

    def begin(self, count: int) -> None:
        """Start this many more imports."""
        wanted = len(self.numbers) + count
        for number in range(len(self.numbers), wanted):
            self._coming.put(number)
        until(lambda: self._goes_on() and len(self.numbers) == wanted, "uploads to be in process")

    def end(self, count: int) -> None:
        """End this many of the running imports soon, those with the lowest numbers first."""
        self._ending |= set(sorted(self.numbers.keys() - self._ending, key=self.numbers.__getitem__)[:count])

    def until_ended(self) -> None:
        until(lambda: self._goes_on() and self.ended >= self._ending, "uploads to end")

    def _goes_on(self) -> bool:
        if self._errors:
            raise self._errors[0]
        return True

    def _work(self, hand: int) -> None:
        try:
            with Records(self._settings, quick_bytes=0) as records:
                self._import(records, random.Random(f"{self._seed}-{hand}"))
        except Exception as error:
            self._errors.append(error)

    def _import(self, records: Records, chance: random.Random) -> None:
        current: Import | None = None
        while not self._over.wait(chance.uniform(*ROUND)):
            if current is None and (number := self._next()) is not None:
                current = Import(records, self._name, number)
                self.numbers[current.upload.id] = number
            elif current is not None and current.upload.id not in self._ending:
                current.advance()
            elif current is not None and current.end():
                self.ended.add(current.upload.id)
                current = None

    def _next(self) -> int | None:
        try:
            return self._coming.get_nowait()
        except queue.Empty:
            return None

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
