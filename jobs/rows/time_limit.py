"""A limit on how long the database may work on what a request asks for."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from jobs.errors import TookTooLongError

#: Instructions of SQLite's virtual machine between two looks at the clock: less than a millisecond.
INSTRUCTIONS = 20_000
#: PostgreSQL's error code of a statement that was cancelled
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
QUERY_CANCELED = "57014"


@contextmanager
def limited(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """Inside the block, which must also read the rows that it asks for, statements end after so many seconds. On
    PostgreSQL each statement has that time, on SQLite all have it together. The connection is of use afterwards.

    Raises TookTooLongError.
    """
    limit = _on_sqlite if connection.dialect.name == "sqlite" else _on_postgresql
    try:
        with limit(connection, seconds):
            yield
    except sa.exc.OperationalError as error:
        if _is_cancelled(error.orig):
            raise TookTooLongError(seconds) from error
        raise


@contextmanager
def _on_sqlite(connection: sa.Connection, seconds: float) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > deadline, INSTRUCTIONS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


@contextmanager
def _on_postgresql(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """In a savepoint: what fails in a transaction would end all of it."""
    with connection.begin_nested():
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1000)):d}")
        yield
        connection.exec_driver_sql("SET LOCAL statement_timeout TO DEFAULT")


def _is_cancelled(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    return getattr(error, "sqlstate", None) == QUERY_CANCELED
