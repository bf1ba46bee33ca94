"""Exports rows as text, block by block.

Each block is a transaction of its own that ends before a client reads the block: a client that stalls, even for hours,
holds back neither SQLite's write-ahead log nor what PostgreSQL removes. So rows that change during an export may be
exported as they were before or after; none is exported twice or left out for it.

The database makes the text, in one statement for a block, so that the interpreter's lock is free meanwhile: two threads
make two blocks in little more than the time of one.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from jobs.database import Database
from jobs.rows.selection import Selection
from jobs.rows.sql_table import SqlTable, run

#: Bytes of a block, about: each costs PostgreSQL as much as 100 kB of rows. A client that reads slowly holds two of
#: them in memory, and AHEAD - 1 more large ones, so only a few exports at once have these.
BLOCK_BYTES, SMALL_BLOCK_BYTES = 1 << 22, 1 << 18
#: Bytes of a row from which blocks are small: to make a row takes several times its size, but costs little more in a
#: block of its own.
WIDE_ROW = 1 << 16
#: Exports that have large blocks at once.
_LARGE = threading.BoundedSemaphore(4)
#: By how much a block may be larger, before it is made again with fewer rows. A row that is larger is a block.
TOLERANCE = 2
#: Rows of the first block, and by how much the next one may have more: a client that reads nothing costs little.
FIRST_ROWS, GROWTH = 200, 8

#: Threads that make large blocks of one export, and blocks that they are given before the first of these is finished.
THREADS, AHEAD = 2, 3
#: The largest number from which keys are counted up.
_LARGEST_COUNT = 1 << 62
#: Seconds between two interrupts of a statement.
INTERRUPT_INTERVAL = 0.05


class BlockTooLargeError(Exception):
    """The rows have more bytes than a block may have, or there are more of them than were counted."""


class ExportStoppedError(Exception):
    """Nobody reads this export any more."""


class BlockFormat(Protocol):
    """Makes text of rows, some of them at a time."""

    def head(self) -> bytes:
        """What stands before the first row."""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        """The text of so many rows after a place, and how many there were.

        Raises BlockTooLargeError if they have more bytes than `largest`; the connection is then of no more use on
        PostgreSQL.
        """


class RowFormat(BlockFormat, Protocol):
    """Makes text of rows, also of all of them at once."""

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        """The text of all rows, piece by piece, from one statement."""


@dataclass(frozen=True)
class _Stretch:
    """The rows of one block: those after a place, and not after another one if there is one.

    wanted: how many there should be. most: how many there can be. is_last: others cannot follow, unless they are new.
    """

    place: list[Any]
    until: list[Any] | None
    wanted: int
    most: int
    is_last: bool = False


class _Made(NamedTuple):
    """A block. until: the place of its last row; None: there are no more rows."""

    text: bytes
    rows: int
    until: list[Any] | None


class Blocks:
    """The blocks of one export, for one thread at a time."""

    def __init__(self, database: Database, table: SqlTable, selection: Selection, format_: BlockFormat) -> None:
        self._database = database
        self._table = table
        self._selection = selection
        self._format = format_
        self._rows = FIRST_ROWS
        #: Bytes of blocks of narrow rows, and of the next block.
        self._most = self._bytes = SMALL_BLOCK_BYTES
        #: How far the key of a row is from that of the row before, on average; None: unknown, or not a whole number.
        self._spread: float | None = None
        #: Whether blocks are as large as they are to become, and of narrow rows, so that several are made at once.
        self._is_steady = False
        self._lock = threading.Lock()
        #: The driver's connections whose statements run.
        self._running: list[Any] = []
        self._is_stopped = False

    def __iter__(self) -> Iterator[bytes]:
        """Raises ExportStoppedError."""
        is_large = _LARGE.acquire(blocking=False)
        self._most = BLOCK_BYTES if is_large else SMALL_BLOCK_BYTES
        self._bytes = min(self._most, SMALL_BLOCK_BYTES)
        threads = ThreadPoolExecutor(THREADS, "export") if is_large else None
        try:
            yield self._format.head()
            yield from self._each(threads)
        finally:
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)
                _LARGE.release()

    def _each(self, threads: Executor | None) -> Iterator[bytes]:
        """threads: that make blocks while the caller waits for the first of them."""
        place: list[Any] | None = []
        coming = deque[tuple[_Stretch, Future[_Made] | None]]()
        while place is not None or coming:
            is_ahead = threads is not None and self._is_steady
            while place is not None and len(coming) < (AHEAD if is_ahead else 1):
                stretch = self._after(place)
                coming.append((stretch, threads.submit(self._make, stretch) if threads and is_ahead else None))
                place = stretch.until
            stretch, making = coming.popleft()
            try:
                made = making.result() if making else self._make(stretch)
            except BlockTooLargeError:
                wait([each for _, each in coming if each])
                coming.clear()
                self._rows, self._spread, self._is_steady = max(1, stretch.wanted // GROWTH), None, False
                place = stretch.place
                continue
            self._learn(stretch, made)
            yield made.text
            if stretch.until is None:
                place = made.until

    def stop(self) -> None:
        """End the export, and the statements that run, and wait for that. For any thread.

        An interrupt has no effect on a statement that is about to begin, so there may have to be several.
        """
        with self._lock:
            self._is_stopped = True
        while True:
            with self._lock:
                if not self._running:
                    return
                for connection in self._running:
                    self._interrupt(connection)
            time.sleep(INTERRUPT_INTERVAL)

    def _interrupt(self, connection: Any) -> None:
        if self._database.is_sqlite:
            connection.interrupt()
        else:
            connection.cancel_safe(timeout=1)

    def _after(self, place: list[Any]) -> _Stretch:
        """The next block. Where several are made at once, its end is known before it is made."""
        wanted = self._rows
        if (predicted := self._predicted(place, wanted)) is not None:
            return predicted
        if not self._is_steady or self._selection.is_filtered:  # to look for it may take as long as to read the rows
            return _Stretch(place, None, wanted, wanted)
        with self._database.reading() as connection, self._interruptible(connection):
            until = self._place_after(connection, place, wanted)
        return _Stretch(place, until, wanted, wanted, is_last=until is None)

    def _predicted(self, place: list[Any], wanted: int) -> _Stretch | None:
        """Where the last of so many rows should be, if keys end with a whole number, which usually counts up.

        To look for it takes PostgreSQL a tenth of the time that it takes to read them.
        """
        last = place[-1] if place else None
        if self._spread is None or type(last) is not int:
            return None
        keys = int(wanted * self._spread)
        if max(abs(last), keys) >= _LARGEST_COUNT or (wanted == 1 and keys > 1):
            return None
        return _Stretch(place, [*place[:-1], last + keys], wanted, keys)

    def _make(self, stretch: _Stretch) -> _Made:
        """For any thread. Raises BlockTooLargeError."""
        until = stretch.until
        is_open = until is None and not stretch.is_last
        selection = self._selection if until is None else replace(self._selection, until=tuple(until))
        largest = TOLERANCE * self._bytes if stretch.wanted > 1 else None
        limit = stretch.most if is_open else stretch.most + 1
        with self._database.reading() as connection, self._interruptible(connection):
            text, rows = self._format.block(connection, selection, stretch.place, limit, largest=largest)
            if is_open and rows == limit:
                until = self._place_after(connection, stretch.place, rows)
        if rows > stretch.most:  # some came after they were counted
            raise BlockTooLargeError
        return _Made(text, rows, until)

    def _learn(self, stretch: _Stretch, made: _Made) -> None:
        """Choose the size of the blocks that follow."""
        if made.rows:
            is_narrow = len(made.text) < made.rows * WIDE_ROW
            self._bytes = self._most if is_narrow else min(self._most, SMALL_BLOCK_BYTES)
            fitting = self._bytes * made.rows // (len(made.text) + 1)
            self._rows = max(1, min(fitting, stretch.wanted * GROWTH))
            self._is_steady = is_narrow and fitting < stretch.wanted * GROWTH
        self._spread = None
        place, until = stretch.place, made.until
        if made.rows > stretch.wanted // 2 and place and until and place[:-1] == until[:-1] and type(until[-1]) is int:
            self._spread = (until[-1] - place[-1]) / made.rows

    def _place_after(self, connection: sa.Connection, place: list[Any], rows: int) -> list[Any] | None:
        """The place of the last of so many rows; None: there are fewer."""
        statement, values = self._table.next_place(self._selection, place, rows - 1)
        found = run(connection, statement, *values).one_or_none()
        return None if found is None else list(found)

    @contextmanager
    def _interruptible(self, connection: sa.Connection) -> Iterator[None]:
        """Inside the block, `stop` ends the statement that runs. Raises ExportStoppedError."""
        with self._lock:
            if self._is_stopped:
                raise ExportStoppedError
            driver = connection.connection.driver_connection
            self._running.append(driver)
        try:
            yield
        except Exception as error:
            if self._is_stopped:  # whatever the driver says of it
                raise ExportStoppedError from error
            raise
        finally:
            with self._lock:
                self._running.remove(driver)
