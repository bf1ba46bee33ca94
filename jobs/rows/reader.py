"""Reads rows of any size with bounded memory: a row may have a megabyte, and a caller may want thousands."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeVar

import sqlalchemy as sa

#: Bytes of rows that are fetched at once; a larger row is fetched alone.
FETCH_BYTES = 1 << 18
#: The name of a subquery. No column can have it: names of columns do not begin with a space.
_ROW = " row"

T = TypeVar("T")


def one_by_one(connection: sa.Connection, statement: sa.Select[Any] | str, *parameters: Any) -> Iterator[sa.Row[Any]]:
    """The rows of a statement, or of one that goes to the driver as it is. If the caller stops, the rest is not read.

    A cursor of SQLite reads one row at each step. PostgreSQL sends as many as it is asked for, so this asks for their
    sizes first.
    """
    if connection.dialect.name == "sqlite":
        with closing(_run(connection, statement, parameters)) as rows:
            yield from rows
        return
    with (
        closing(_run(connection, _sizes(statement), parameters, stream_results=True)) as sizes,
        closing(_run(connection, statement, parameters, stream_results=True)) as rows,
    ):
        for count in portions(sizes.scalars()):
            yield from rows.fetchmany(count)


def _run(
    connection: sa.Connection, statement: sa.Select[Any] | str, parameters: tuple[Any, ...], **options: Any
) -> sa.CursorResult[Any]:
    if isinstance(statement, str):
        return connection.exec_driver_sql(statement, parameters, execution_options=options)
    return connection.execute(statement, execution_options=options)


def _sizes(statement: sa.Select[Any] | str) -> sa.Select[Any] | str:
    """The bytes of each row of a statement, on PostgreSQL."""
    if isinstance(statement, str):
        return f'SELECT octet_length("{_ROW}"::text) FROM ({statement}) AS "{_ROW}"'
    row = statement.subquery(_ROW).table_valued()
    return sa.select(sa.func.octet_length(sa.cast(row, sa.Text)))


def portions(sizes: Iterable[int]) -> Iterator[int]:
    """How many rows to fetch each time. sizes: bytes of each row; this asks for no more of them than it needs."""
    count = total = 0
    for size in sizes:
        if count and total + size > FETCH_BYTES:
            yield count
            count = total = 0
        count, total = count + 1, total + size
        if total >= FETCH_BYTES:
            yield count
            count = total = 0
    if count:
        yield count


def until(rows: Iterable[T], length: Callable[[T], int], enough: int | None) -> list[T]:
    """The first rows, up to the one with which their lengths together reach `enough`; None: all."""
    found: list[T] = []
    total = 0
    for row in rows:
        found.append(row)
        total += length(row)
        if enough is not None and total >= enough:
            break
    return found
