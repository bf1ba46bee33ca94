import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.adbc_sqlite import CHECKPOINT_BYTES, AdbcConnection
from jobs.checkpointer import COMMITS_MISSED, Checkpointer
from jobs.database import LOG_PAGES_OF_IMPORTS
from tests.support.waiting import until

PAGE_BYTES = 16_384
#: Rows that fill half a page each, so that a batch of them is as long as many small ones, and quickly made.
ROWS, CELL = 600, "x" * 8_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


@pytest.fixture
def connection(path: Path) -> Iterator[AdbcConnection]:
    opened = AdbcConnection(str(path))
    opened.run("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT)")
    opened.commit()
    yield opened
    opened.close()


def insert(connection: AdbcConnection, rows: int = ROWS) -> None:
    """Insert rows and commit."""
    batch = pa.RecordBatch.from_arrays([pa.array([CELL] * rows)], ["0"])
    connection.insert("INSERT INTO things (text) VALUES (?)", batch)
    connection.commit()


def are_there(path: Path, rows: int) -> bool:
    """Whether so many rows are in the file of the database itself, whatever its log holds."""
    return path.stat().st_size >= rows * len(CELL)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "checkpointer"]


def test_what_is_committed_is_copied_into_the_file_long_before_the_log_is_full(
    connection: AdbcConnection, path: Path
) -> None:
    insert(connection)

    assert ROWS * len(CELL) > CHECKPOINT_BYTES
    until(lambda: are_there(path, ROWS), "the pages to be in the file")


def test_it_is_copied_while_the_next_transaction_goes_on(connection: AdbcConnection, path: Path) -> None:
    connection.run("INSERT INTO things (text) VALUES ('first')")
    connection.commit()
    insert(connection)
    connection.run("INSERT INTO things (text) VALUES ('next')")

    until(lambda: are_there(path, ROWS), "the pages to be in the file")
    connection.commit()

    assert connection.run("SELECT count(*) FROM things")[0] == [(ROWS + 2,)]


def test_a_small_file_needs_no_thread(connection: AdbcConnection) -> None:
    for _ in range(5):
        insert(connection, 100)

    assert 5 * 100 * len(CELL) < CHECKPOINT_BYTES
    assert threads() == []


def test_the_thread_ends_with_the_connection(path: Path) -> None:
    opened = AdbcConnection(str(path))
    opened.run("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT)")
    opened.commit()
    insert(opened)
    while_open = threads()
    opened.close()

    assert (while_open, threads()) == (["checkpointer"], [])


def test_the_log_begins_anew_however_much_is_written(connection: AdbcConnection, path: Path) -> None:
    written, rows = 0, 4 * ROWS
    while written < 3 * LOG_PAGES_OF_IMPORTS * PAGE_BYTES:
        insert(connection, rows)
        written += rows * len(CELL)

    log_bytes = os.path.getsize(f"{path}-wal")
    assert log_bytes < 2 * LOG_PAGES_OF_IMPORTS * PAGE_BYTES < written


@pytest.mark.parametrize(
    ("pages", "missed", "waits"),
    [
        (LOG_PAGES_OF_IMPORTS - 1, COMMITS_MISSED - 1, False),
        (LOG_PAGES_OF_IMPORTS, 0, True),
        (1, COMMITS_MISSED, True),
    ],
)
def test_a_commit_waits_for_a_checkpoint_on_a_slow_disk_if_the_log_becomes_long(
    path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, missed: int, waits: bool
) -> None:
    """A commit runs no checkpoint beside another one, and the log would grow without end."""
    went_on = threading.Event()
    was_overtaken: list[bool] = []

    def copy(_checkpointer: Checkpointer) -> int:
        was_overtaken.append(went_on.wait(0.2 if was_overtaken else 0))
        return pages

    monkeypatch.setattr(Checkpointer, "_copy", copy)
    checkpointer = Checkpointer(str(path))
    checkpointer.begin()
    until(lambda: not checkpointer._is_running, "the first checkpoint to end")
    for _ in range(1 + missed):
        checkpointer.begin()
    checkpointer.make_way()
    went_on.set()
    checkpointer.close()

    assert was_overtaken == [False, not waits]


def test_what_one_checkpoint_missed_does_not_count_for_the_next_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = threading.Event()
    was_overtaken: list[bool] = []

    def copy(_checkpointer: Checkpointer) -> int:
        was_overtaken.append(went_on.wait(5 if was_overtaken else 0.2))
        return 1

    monkeypatch.setattr(Checkpointer, "_copy", copy)
    checkpointer = Checkpointer(str(path))
    for _ in range(1 + COMMITS_MISSED):
        checkpointer.begin()
    checkpointer.make_way()
    checkpointer.begin()
    checkpointer.make_way()
    went_on.set()
    checkpointer.close()

    assert was_overtaken == [False, True]


def test_an_error_is_logged_and_ends_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"This is not a database. " * 1_000)
    checkpointer = Checkpointer(str(path))
    with caplog.at_level(logging.WARNING):
        checkpointer.begin()
        until(lambda: "was not copied" in caplog.text, "the warning")
        checkpointer.begin()
        checkpointer.make_way()
    checkpointer.close()

    assert "not a database" in caplog.text
