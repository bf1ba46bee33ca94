"""Blocks of text that SQLite makes, in one step of one statement each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from sqlite3 import SQLITE_LIMIT_LENGTH
from typing import Any

import sqlalchemy as sa

from jobs.export.blocks import BlockTooLargeError
from jobs.sql_table import Statement, run

#: Arguments that a function of SQLite may have, in every build.
MOST_ARGUMENTS = 100


def joined(
    connection: sa.Connection,
    line: str,
    rows: Statement,
    *,
    functions: Mapping[str, Callable[[Any], str]],
    largest: int | None,
) -> tuple[bytes, int]:
    """The lines of some rows as one text, and the number of rows. line: an expression of the columns of `rows`.

    functions: that it calls, by name. Raises BlockTooLargeError if there is more text than `largest`.
    """
    select, values = rows
    statement = f"SELECT CAST(group_concat({line}, '') AS BLOB), count(*) FROM ({select})"
    with _prepared(connection, functions, largest):
        try:
            block, count = tuple(run(connection, statement, *values).one())
        except sa.exc.DataError as error:  # string or blob too big
            raise BlockTooLargeError from error
    return block or b"", count


def each(
    connection: sa.Connection, line: str, rows: Statement, *, functions: Mapping[str, Callable[[Any], str]]
) -> Iterator[bytes]:
    """The lines of some rows, one by one."""
    select, values = rows
    with (
        _prepared(connection, functions, None),
        closing(run(connection, f"SELECT CAST({line} AS BLOB) FROM ({select})", *values)) as found,
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
