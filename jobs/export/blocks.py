"""Exports a dataset's rows as text, block by block.

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
from jobs.datasets import Dataset
from jobs.row_selection import Selection
from jobs.sql_table import SqlTable, run

#: Bytes of a block, about, and at most; a row that is larger is a block.
BLOCK_BYTES, LARGEST_BLOCK = 1 << 18, 1 << 22
#: Rows of the first block, and by how much the next one may have more.
FIRST_ROWS, GROWTH = 200, 8

#: Seconds between two interrupts of a statement.
INTERRUPT_INTERVAL = 0.05


class BlockTooLargeError(Exception):
    """The rows have more than LARGEST_BLOCK bytes."""


class ExportStoppedError(Exception):
    """Nobody reads this export any more."""


class RowFormat(Protocol):
    """Makes text of rows."""

    def head(self) -> bytes:
        """What stands before the first row."""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        """The text of so many rows after a place, and how many there were.

        Raises BlockTooLargeError if they have more bytes than `largest`; the connection is then of no more use on
        PostgreSQL.
        """

    def every(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        """The text of all rows, piece by piece, from one statement."""


class Blocks:
    """The blocks of one export, for one thread at a time."""

    def __init__(self, database: Database, dataset: Dataset, selection: Selection, format_: RowFormat) -> None:
        self._database = database
        self._dataset = dataset
        self._selection = selection
        self._format = format_
        self._rows = FIRST_ROWS
        self._lock = threading.Lock()
        #: The driver's connection while a statement runs.
        self._running: Any = None
        self._is_stopped = False

    def __iter__(self) -> Iterator[bytes]:
        """Raises ExportStoppedError."""
        yield self._format.head()
        place: list[Any] | None = []
        while place is not None:
            block, place = self._next(place)
            yield block

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
        try:
            with self._database.reading() as connection, self._interruptible(connection):
                largest = LARGEST_BLOCK if wanted > 1 else None
                block, rows = self._format.block(connection, self._selection, place, wanted, largest=largest)
                following = self._place_after(connection, place, rows) if rows == wanted else None
        except BlockTooLargeError:
            self._rows = max(1, wanted // GROWTH)
            return b"", place
        if rows:
            fitting = BLOCK_BYTES * rows // (len(block) + 1)
            self._rows = max(1, min(fitting, wanted * GROWTH))
        return block, following

    def _place_after(self, connection: sa.Connection, place: list[Any], rows: int) -> list[Any]:
        table = self._dataset.table(connection.dialect)
        statement, values = table.next_place(self._selection, place, rows - 1)
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


def columns_of(table: SqlTable, names: list[str]) -> tuple[str, list[str]]:
    """Columns under short names, for statements that name them often: what to select, and the names."""
    aliases = [f"c{number}" for number in range(len(names))]
    pairs = zip(names, aliases, strict=True)
    return ", ".join(f"{table.identifier(name)} AS {alias}" for name, alias in pairs), aliases
