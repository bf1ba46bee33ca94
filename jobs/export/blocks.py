"""Exports rows as text, block by block.

Each block is a transaction of its own that ends before a client reads the block: a client that stalls, even for hours,
holds back neither SQLite's write-ahead log nor what PostgreSQL removes. So rows that change during an export may be
exported as they were before or after; none is exported twice or left out for it.

The database makes the text, in one statement for a block, so that the interpreter's lock is free meanwhile.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import sqlalchemy as sa

from jobs.database import Database
from jobs.row_selection import Selection
from jobs.sql_table import SqlTable, run

#: Bytes of a block, about: each costs PostgreSQL as much as 100 kB of rows. A client that reads slowly holds two of
#: them in memory, so only a few exports at once have large ones.
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

#: The largest number from which keys are counted up.
_LARGEST_COUNT = 1 << 62
#: Seconds between two interrupts of a statement.
INTERRUPT_INTERVAL = 0.05


class BlockTooLargeError(Exception):
    """The rows have more than LARGEST_BLOCK bytes."""


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
        #: Whether the last block had most of the rows that it could have.
        self._is_dense = False
        self._lock = threading.Lock()
        #: The driver's connection while a statement runs.
        self._running: Any = None
        self._is_stopped = False

    def __iter__(self) -> Iterator[bytes]:
        """Raises ExportStoppedError."""
        is_large = _LARGE.acquire(blocking=False)
        self._most = BLOCK_BYTES if is_large else SMALL_BLOCK_BYTES
        self._bytes = min(self._most, SMALL_BLOCK_BYTES)
        try:
            yield self._format.head()
            place: list[Any] | None = []
            while place is not None:
                block, place = self._next(place)
                yield block
        finally:
            if is_large:
                _LARGE.release()

    def stop(self) -> None:
        """End the export, and the statement that runs, and wait for that. For any thread.

        An interrupt has no effect on a statement that is about to begin, so there may have to be several.
        """
        with self._lock:
            self._is_stopped = True
        while True:
            with self._lock:
                if self._running is None:
                    return
                self._interrupt()
            time.sleep(INTERRUPT_INTERVAL)

    def _interrupt(self) -> None:
        if self._database.is_sqlite:
            self._running.interrupt()
        else:
            self._running.cancel_safe(timeout=1)

    def _next(self, place: list[Any]) -> tuple[bytes, list[Any] | None]:
        """A block, and the place of its last row; None: it is the last."""
        wanted = self._rows
        bound = self._bound(place, wanted)
        selection = self._selection if bound is None else Selection(until=tuple(bound))
        largest = TOLERANCE * self._bytes if wanted > 1 else None
        try:
            with self._database.reading() as connection, self._interruptible(connection):
                block, rows = self._format.block(connection, selection, place, wanted, largest=largest)
                following = bound
                if bound is None and rows == wanted:
                    following = self._place_after(connection, place, rows)
        except BlockTooLargeError:
            self._rows = max(1, wanted // GROWTH)
            return b"", place
        if rows:
            self._bytes = self._most if len(block) < rows * WIDE_ROW else min(self._most, SMALL_BLOCK_BYTES)
            fitting = self._bytes * rows // (len(block) + 1)
            self._rows = max(1, min(fitting, wanted * GROWTH))
        self._is_dense = rows > wanted // 2 and not self._selection.is_filtered
        return block, following

    def _bound(self, place: list[Any], rows: int) -> list[Any] | None:
        """A place which so many rows, or a few less, do not exceed: keys that end with a whole number usually count up.

        To look for the last of so many rows takes PostgreSQL a tenth of the time that it takes to read them.
        """
        last = place[-1] if place else None
        if not self._is_dense or type(last) is not int or last > _LARGEST_COUNT:
            return None
        return [*place[:-1], last + rows]

    def _place_after(self, connection: sa.Connection, place: list[Any], rows: int) -> list[Any]:
        statement, values = self._table.next_place(self._selection, place, rows - 1)
        return list(run(connection, statement, *values).one())

    @contextmanager
    def _interruptible(self, connection: sa.Connection) -> Iterator[None]:
        """Inside the block, `stop` ends the statement that runs. Raises ExportStoppedError."""
        with self._lock:
            if self._is_stopped:
                raise ExportStoppedError
            self._running = connection.connection.driver_connection
        try:
            yield
        except Exception as error:
            if self._is_stopped:  # whatever the driver says of it
                raise ExportStoppedError from error
            raise
        finally:
            with self._lock:
                self._running = None
