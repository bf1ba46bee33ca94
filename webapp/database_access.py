"""Database queries from coroutines."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from jobs.database import Database
from webapp import threads

T = TypeVar("T")


async def read(database: Database, query: Callable[[sa.Connection], T]) -> T:
    """Run a query in a thread, so that the event loop stays free, and return what it returns. Raises what it raises,
    and ServerBusyError."""

    def run() -> T:
        with database.reading() as connection:
            return query(connection)

    return await threads.reads.run(run)


async def write(database: Database, change: Callable[[sa.Connection], T]) -> T:
    """Make a change in a thread and commit it. Raises what it raises, and ServerBusyError."""

    def run() -> T:
        with database.transaction() as connection:
            return change(connection)

    return await threads.writes.run(run)
