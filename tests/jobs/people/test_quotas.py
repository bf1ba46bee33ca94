"""Quotas: what is left of each, and what refuses one more upload."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from jobs import tables, uploads
from jobs.errors import QuotaExceededError, QuotaTooSmallError
from jobs.files import StoredFile
from jobs.people.quotas import Quotas
from jobs.uploads import Owner, Upload
from tests.support.team import add_account

Send = Callable[..., Upload]


@pytest.fixture
def ana(connection: sa.Connection) -> int:
    return add_account(connection, "ana").id


@pytest.fixture
def send(connection: sa.Connection, ana: int) -> Send:
    """Records an upload of an account, or of somebody without one."""

    def send(size: int = 1, account_id: int | None = ana, stored_as: str = "a file", days_ago: int = 0) -> Upload:
        file = StoredFile("june.csv", stored_as=stored_as, size=size, sha256="")
        upload = uploads.create(connection, file, quick_bytes=0, owner=Owner(account_id, None, None))
        earlier = upload.created_at - timedelta(days=days_ago)
        here = tables.uploads.c.id == upload.id
        connection.execute(sa.update(tables.uploads).where(here).values(created_at=earlier))
        return upload

    return send


def test_without_a_quota_there_is_room_for_everything(connection: sa.Connection, ana: int, send: Send) -> None:
    send(10**15)

    assert Quotas().require(connection, ana, 10**15) is None


def test_the_bytes_of_a_day_are_counted_for_each_account_alone(connection: sa.Connection, ana: int, send: Send) -> None:
    quotas = Quotas(bytes_per_day=100)
    send(60)
    send(1_000, account_id=None)
    send(1_000, days_ago=1)

    assert quotas.require(connection, ana) == 40
    assert quotas.require(connection, ana, 40) == 40
    with pytest.raises(QuotaTooSmallError, match="100 bytes a day, and 40 of them are left") as refused:
        quotas.require(connection, ana, 41)
    assert 0 < (refused.value.retry_after or 0) <= 24 * 3600


def test_an_empty_quota_of_bytes_asks_to_come_back_tomorrow(connection: sa.Connection, ana: int, send: Send) -> None:
    send(100)

    with pytest.raises(QuotaExceededError, match="0 of them are left") as refused:
        Quotas(bytes_per_day=100).require(connection, ana)
    assert not isinstance(refused.value, QuotaTooSmallError)
    assert refused.value.retry_after


def test_the_uploads_of_a_day_are_counted(connection: sa.Connection, ana: int, send: Send) -> None:
    quotas = Quotas(uploads_per_day=2)
    send(days_ago=1)
    send()
    assert quotas.require(connection, ana) is None
    send()

    with pytest.raises(QuotaExceededError, match="2 files a day, and none of them is left") as refused:
        quotas.require(connection, ana)
    assert refused.value.retry_after


def test_uploads_that_wait_or_run_are_counted_until_they_end(connection: sa.Connection, ana: int, send: Send) -> None:
    quotas, waiting = Quotas(active_uploads=1), send(days_ago=1)

    with pytest.raises(QuotaExceededError, match="1 of your uploads wait or run, and 1 may at once") as refused:
        quotas.require(connection, ana)
    assert refused.value.retry_after is None
    uploads.cancel(connection, waiting.id)
    assert quotas.require(connection, ana) is None


def test_the_files_of_everybody_count_for_all_bytes_but_not_those_elsewhere(
    connection: sa.Connection, ana: int, send: Send
) -> None:
    quotas = Quotas(total_bytes=100)
    send(50, account_id=None, days_ago=9)
    send(20)
    send(1_000, stored_as="")

    assert quotas.require(connection, ana) == 30
    with pytest.raises(QuotaTooSmallError, match="may take 100 bytes, and 30 of them are left"):
        quotas.require(connection, ana, 31)


def test_the_smallest_rest_counts(connection: sa.Connection, ana: int, send: Send) -> None:
    send(10)

    assert Quotas(bytes_per_day=100, total_bytes=50).require(connection, ana) == 40
    assert Quotas(bytes_per_day=30, total_bytes=50).require(connection, ana) == 20
