"""Lines of text that SQLite makes of rows: a block of them in one step of one statement, or one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from sqlite3 import SQLITE_LIMIT_LENGTH
from typing import Any, Protocol

import sqlalchemy as sa

from jobs.export.blocks import BlockTooLargeError
from jobs.rows.selection import Selection
from jobs.rows.sql_table import SqlTable, Statement, run

#: Arguments that a function of SQLite may have, in every build.
MOST_ARGUMENTS = 100
#: Characters of names from which a statement, which names each column several times, uses short ones instead: SQLite
#: takes a million characters. Its code for short ones copies each value once more, which costs a third.
LONG_NAMES = 50_000


class Columns:
    """The columns of a statement. values: an expression for each."""

    def __init__(self, table: SqlTable, names: Sequence[str]) -> None:
        identifiers = [table.identifier(name) for name in names]
        self._table = table
        self._is_long = sum(map(len, identifiers)) > LONG_NAMES
        self.values = [f"c{number}" for number in range(len(names))] if self._is_long else identifiers
        self._renamed = ", ".join(f"{name} AS {value}" for name, value in zip(identifiers, self.values, strict=True))

    def lines(self, line: str, selection: Selection, place: Sequence[Any], rows: int | None) -> Statement:
        """A statement whose only column, `line`, is an expression of the values."""
        if not self._is_long:
            return self._table.page(f"{line} AS line", selection, place, limit=rows)
        statement, values = self._table.page(self._renamed, selection, place, limit=rows)
        return f"SELECT {line} AS line FROM ({statement})", values


class Source(Protocol):
    """Where lines are from."""

    def lines(self, line: str, selection: Selection, place: Sequence[Any], rows: int | None) -> Statement:
        """A statement whose only column, `line`, is an expression."""


@dataclass
class Lines:
    """A kind of line. functions: that its expression calls, by name."""

    source: Source
    expression: str
    functions: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)

    def block(
        self, connection: sa.Connection, selection: Selection, place: Sequence[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        """The lines of so many rows as one text, and how many there were. Raises BlockTooLargeError."""
        select, values = self.source.lines(self.expression, selection, place, rows)
        statement = f"SELECT CAST(group_concat(line, '') AS BLOB), count(*) FROM ({select})"
        with _prepared(connection, self.functions, largest):
            try:
                text, count = tuple(run(connection, statement, *values).one())
            except sa.exc.DataError as error:  # string or blob too big
                raise BlockTooLargeError from error
        return text or b"", count

    def each(self, connection: sa.Connection, selection: Selection) -> Iterator[bytes]:
        """The lines of all rows, one by one."""
        select, values = self.source.lines(self.expression, selection, (), None)
        with (
            _prepared(connection, self.functions, None),
            closing(run(connection, f"SELECT CAST(line AS BLOB) FROM ({select})", *values)) as found,
        ):
            yield from found.scalars()


@contextmanager
def _prepared(
    connection: sa.Connection, functions: Mapping[str, Callable[[Any], str]], largest: int | None
) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    usual = driver.getlimit(SQLITE_LIMIT_LENGTH)
    for name, function in functions.items():
        driver.create_function(name, 1, function, deterministic=True)
    driver.setlimit(SQLITE_LIMIT_LENGTH, min(usual, largest or usual))
    try:
        yield
    finally:
        driver.setlimit(SQLITE_LIMIT_LENGTH, usual)
        for name in functions:
            driver.create_function(name, 1, None)
