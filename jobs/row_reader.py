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


def one_by_one(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    """The rows of a statement. If the caller stops, the rest is not read.

    A cursor of SQLite reads one row at each step. PostgreSQL sends as many as it is asked for, so this asks for their
    sizes first.
    """
    if connection.dialect.name == "sqlite":
        with closing(connection.execute(statement)) as rows:
            yield from rows
        return
    row = statement.subquery(_ROW).table_valued()
    sizes_only = sa.select(sa.func.octet_length(sa.cast(row, sa.Text)))
    streamed = {"stream_results": True}
    with (
        closing(connection.execute(sizes_only, execution_options=streamed)) as sizes,
        closing(connection.execute(statement, execution_options=streamed)) as rows,
    ):
        for count in portions(sizes.scalars()):
            yield from rows.fetchmany(count)


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
