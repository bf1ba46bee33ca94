"""Idempotency keys, which identify repeated requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import tables
from jobs.database import Database
from jobs.errors import KeyReusedError
from jobs.idempotency import Answer, delete_old, once
from jobs.settings import Settings


class Work:
    """Counts its calls, and returns a different answer each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Answer:
        self.times += 1
        return Answer(200 + self.times, {"time": self.times, "ß": [None, True]})


def test_a_repeated_request_gets_the_stored_answer_and_is_not_executed_again(connection: sa.Connection) -> None:
    work = Work()
    first, second = (once(connection, "june-1", {"file_id": 7, "event": "x"}, work) for _ in range(2))
    respelt = once(connection, "june-1", {"event": "x", "file_id": 7}, work)

    assert (first, work.times) == (Answer(201, {"time": 1, "ß": [None, True]}), 1)
    assert first == second == respelt


def test_another_key_is_another_request(connection: sa.Connection) -> None:
    work = Work()
    for key in ("june-1", "june-2", "JUNE-1"):
        once(connection, key, {}, work)

    assert work.times == 3


@pytest.mark.parametrize("other", [{}, {"file_id": 8}, [{"file_id": 7}], {"file_id": "7"}, None])
def test_a_key_with_another_body_is_rejected(connection: sa.Connection, other: Any) -> None:
    work = Work()
    once(connection, "june-1", {"file_id": 7}, work)
    with pytest.raises(KeyReusedError, match="“june-1” was used before with a different request body"):
        once(connection, "june-1", other, work)

    assert work.times == 1


@pytest.mark.parametrize(("seconds", "times"), [(86_400 - 60, 1), (86_400 + 60, 2)])
def test_a_key_can_be_deleted_after_a_day(connection: sa.Connection, seconds: float, times: int) -> None:
    work = Work()
    once(connection, "june-1", {}, work)
    long_ago = datetime.now(UTC) - timedelta(seconds=seconds)
    connection.execute(sa.update(tables.idempotency_keys).values(created_at=long_ago))
    deleted = delete_old(connection, 1.0, 10)
    kept = connection.execute(sa.select(tables.idempotency_keys.c.key)).scalars().all()
    once(connection, "june-1", {}, work)

    assert times == work.times
    assert ("june-1" in kept) == (times == 1) == (deleted == 0)


def test_a_request_that_raises_does_not_use_up_its_key(settings: Settings) -> None:
    database = Database(settings.database)
    work = Work()

    def failing() -> Answer:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), database.transaction() as connection:
        once(connection, "june-1", {}, failing)
    with database.transaction() as connection:
        once(connection, "june-1", {}, work)
    database.close()

    assert work.times == 1


def test_only_one_of_several_concurrent_requests_is_executed(settings: Settings) -> None:
    database = Database(settings.database)
    work = Work()
    at_once = threading.Barrier(8)

    def ask() -> Answer:
        at_once.wait(60)
        with database.transaction() as connection:
            return once(connection, "june-1", {"file_id": 7}, work)

    with ThreadPoolExecutor(8) as pool:
        answers = [asking.result(60) for asking in [pool.submit(ask) for _ in range(8)]]
    database.close()

    assert work.times == 1
    assert answers == [Answer(201, {"time": 1, "ß": [None, True]})] * 8
