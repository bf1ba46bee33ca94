"""Keys by which a request that is sent again is known again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import tables
from jobs.database import Database
from jobs.errors import KeyReusedError
from jobs.idempotency import KEPT_SECONDS, Answer, once
from jobs.settings import Settings


class Work:
    """What a request asks for, counted. Each time it comes to something else."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Answer:
        self.times += 1
        return Answer(200 + self.times, {"time": self.times, "ß": [None, True]})


def test_what_is_asked_again_is_answered_again_and_not_done_again(connection: sa.Connection) -> None:
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
def test_a_key_with_another_body_is_refused(connection: sa.Connection, other: Any) -> None:
    work = Work()
    once(connection, "june-1", {"file_id": 7}, work)
    with pytest.raises(KeyReusedError, match="“june-1” was used before with a different request body"):
        once(connection, "june-1", other, work)

    assert work.times == 1


@pytest.mark.parametrize(("seconds", "times"), [(KEPT_SECONDS - 60, 1), (KEPT_SECONDS + 60, 2)])
def test_a_key_is_known_for_a_day_and_then_gone(connection: sa.Connection, seconds: float, times: int) -> None:
    work = Work()
    once(connection, "june-1", {}, work)
    long_ago = datetime.now(UTC) - timedelta(seconds=seconds)
    connection.execute(sa.update(tables.idempotency_keys).values(created_at=long_ago))
    once(connection, "june-2", {}, Work())
    kept = connection.execute(sa.select(tables.idempotency_keys.c.key)).scalars().all()
    once(connection, "june-1", {}, work)

    assert times == work.times
    assert ("june-1" in kept) == (times == 1)


def test_work_that_stumbles_leaves_its_key_free(settings: Settings) -> None:
    database = Database(settings.database)
    work = Work()

    def stumble() -> Answer:
        raise OSError("no such luck")

    with pytest.raises(OSError, match="no such luck"), database.transaction() as connection:
        once(connection, "june-1", {}, stumble)
    with database.transaction() as connection:
        once(connection, "june-1", {}, work)
    database.close()

    assert work.times == 1


def test_of_requests_that_come_at_once_one_is_done(settings: Settings) -> None:
    database = Database(settings.database)
    work = Work()
    at_once = threading.Barrier(8)

    def ask() -> Answer:
        at_once.wait(30)
        with database.transaction() as connection:
            return once(connection, "june-1", {"file_id": 7}, work)

    with ThreadPoolExecutor(8) as pool:
        answers = [asking.result(60) for asking in [pool.submit(ask) for _ in range(8)]]
    database.close()

    assert work.times == 1
    assert answers == [Answer(201, {"time": 1, "ß": [None, True]})] * 8
