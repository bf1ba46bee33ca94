"""A full disk is recognised, whoever notices it."""

import errno
import os
import sqlite3
from pathlib import Path

import adbc_driver_manager
import psycopg
import pytest
import redis
import sqlalchemy as sa
from adbc_driver_manager import AdbcStatusCode

from jobs.database import Database, migrate
from jobs.process.disk import LEAST_FREE_BYTES, has_room, is_full, is_full_for_redis
from jobs.settings import Settings
from tests.support.disks import SmallDisk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_operating_system_says_so(number: int) -> None:
    assert is_full(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("disk full"), sa.exc.ArgumentError()])
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert not is_full(error)


def test_postgresql_says_so() -> None:
    full, busy = psycopg.errors.DiskFull("could not extend file"), psycopg.errors.LockNotAvailable("locked")

    assert is_full(sa.exc.OperationalError("INSERT", {}, full))
    assert not is_full(sa.exc.OperationalError("INSERT", {}, busy))


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.DiskFull("could not extend file"),
        sqlite3.OperationalError("database or disk is full"),
        adbc_driver_manager.OperationalError("database or disk is full", status_code=AdbcStatusCode.IO),
    ],
)
def test_drivers_say_so_that_are_used_without_sqlalchemy(error: Exception) -> None:
    assert is_full(error)


@pytest.mark.parametrize("bulk", [False, True], ids=["sqlite3", "adbc"])
def test_sqlite_says_so_and_goes_on_when_there_is_room(
    tmp_path: Path, disk: SmallDisk, bulk: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data=tmp_path, database_url=f"sqlite:///{disk.path / 'bulk_upload.db'}")
    migrate(settings)
    database = Database(settings.database, bulk=bulk)
    with database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE wide (value TEXT)"))
    disk.fill()
    with pytest.raises(sa.exc.DBAPIError) as full:
        insert(database, 9_000_000)
    disk.empty()
    insert(database, 9)
    with database.reading() as connection:
        lengths = connection.execute(sa.text("SELECT length(value) FROM wide")).scalars().all()
    database.close()

    assert is_full(full.value)
    assert lengths == [9]
    assert caplog.messages == []


def insert(database: Database, length: int) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("INSERT INTO wide VALUES (:value)"), {"value": "x" * length})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", True),
        ("Command # 1 (DEL a) of pipeline caused error: MISCONF Errors … AOF file: No space left on device", True),
        ("MISCONF Errors writing to the AOF file: Permission denied", False),
        ("Error 2 connecting to redis.sock. No such file or directory.", False),
    ],
)
def test_redis_says_so(words: str, expected: bool) -> None:
    assert is_full_for_redis(redis.ResponseError(words)) == expected


def test_a_folder_has_room_until_its_disk_is_almost_full(disk: SmallDisk) -> None:
    before = has_room(disk.path)
    disk.fill(leave=LEAST_FREE_BYTES // 2)

    assert before
    assert not has_room(disk.path)


def test_a_folder_that_does_not_exist_yet_has_room(tmp_path: Path) -> None:
    assert has_room(tmp_path / "data")
