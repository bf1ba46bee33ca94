"""What PostgreSQL sends for a COPY, with bounded memory.

psycopg's own iteration takes a microsecond of the interpreter for each row, more than PostgreSQL takes to write it;
this asks libpq for the rows that have arrived.
"""

import select
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jobs.export.blocks import BlockTooLargeError

if TYPE_CHECKING:  # it is not installed where there is only SQLite
    from psycopg import Connection
    from psycopg.pq.abc import PGconn, PGresult

#: Bytes of a piece.
PIECE_BYTES = 1 << 18
#: Milliseconds after which a wait is repeated, so that an interrupt of the process is noticed.
_WAIT = 1_000


def text(
    connection: sa.Connection,
    statement: str,
    values: Sequence[Any],
    *,
    largest: int | None,
    finish: Callable[[bytearray, int], bytes] = lambda piece, _rows: bytes(piece),
) -> tuple[bytes, int]:
    """What a COPY sends, and the number of rows. finish: changes each piece, which has so many rows, while PostgreSQL
    goes on. Raises BlockTooLargeError if there is more than `largest`."""
    found: list[bytes] = []
    size = rows = 0
    with closing(pieces(connection, statement, values)) as received:
        for piece, count in received:
            found.append(finish(piece, count))
            size += len(piece)
            rows += count
            if largest is not None and size > largest:
                raise BlockTooLargeError
    return b"".join(found), rows


def pieces(
    connection: sa.Connection, statement: str, values: Sequence[Any]
) -> Generator[tuple[bytearray, int], None, None]:
    """What a COPY sends, in whole rows, with their number. If the caller stops, the statement is cancelled."""
    from psycopg import ClientCursor, errors, pq

    driver: Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # psycopg's
    with ClientCursor(driver) as cursor:
        query = cursor.mogrify(statement, values)
    with driver.lock:
        driver.pgconn.send_query(query.encode())
        driver.pgconn.flush()
        begun = _result(driver.pgconn)
        if begun.status != pq.ExecStatus.COPY_OUT:
            _finish(driver.pgconn)
            raise errors.error_from_result(begun)
        has_ended = False
        try:
            yield from _received(driver.pgconn)
            has_ended = True
        finally:
            if not has_ended:
                driver.cancel_safe(timeout=5)
                with suppress(errors.Error):  # all of it had come
                    _drop(driver.pgconn)
            ended = _finish(driver.pgconn)
        if ended is not None and ended.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(ended)


def _received(connection: "PGconn") -> Iterator[tuple[bytearray, int]]:
    receive = connection.get_copy_data
    found, rows = bytearray(), 0
    for _ in _arrivals(connection):
        count, line = receive(1)
        while count > 0:
            found += line
            rows += 1
            if len(found) > PIECE_BYTES:
                yield found, rows
                found, rows = bytearray(), 0
            count, line = receive(1)
        if count < 0:
            break
    yield found, rows


def _drop(connection: "PGconn") -> None:
    """Read what was sent before the statement was cancelled."""
    for _ in _arrivals(connection):
        while (count := connection.get_copy_data(1)[0]) > 0:
            pass
        if count < 0:
            return


def _arrivals(connection: "PGconn") -> Iterator[None]:
    """Each time that something may have arrived."""
    poll = select.poll()
    poll.register(connection.socket, select.POLLIN)
    while True:
        yield
        while not poll.poll(_WAIT):
            pass
        connection.consume_input()


def _result(connection: "PGconn") -> "PGresult":
    for _ in _arrivals(connection):
        if not connection.is_busy():
            found = connection.get_result()
            assert found is not None
            return found
    raise AssertionError("a statement has no result")


def _finish(connection: "PGconn") -> "PGresult | None":
    """The last result of a statement, after which the connection is ready for another."""
    last = None
    for _ in _arrivals(connection):
        while not connection.is_busy():
            found = connection.get_result()
            if found is None:
                return last
            last = found
    raise AssertionError("a statement has no end")
