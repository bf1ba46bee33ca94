"""Queries that leave the event loop free."""

import asyncio
import threading

import pytest
import sqlalchemy as sa

from jobs.database import Database
from webapp.database_access import read


def test_a_query_runs_in_a_thread_and_its_result_is_returned(database: Database) -> None:
    threads: list[threading.Thread] = []

    def query(connection: sa.Connection) -> int:
        threads.append(threading.current_thread())
        return int(connection.execute(sa.text("SELECT 7")).scalar_one())

    assert asyncio.run(read(database, query)) == 7
    assert threads[0] is not threading.current_thread()


def test_the_error_of_a_query_reaches_the_caller(database: Database) -> None:
    with pytest.raises(sa.exc.DatabaseError):
        asyncio.run(read(database, lambda connection: connection.execute(sa.text("SELECT nothing FROM nowhere"))))
