"""Opening the database: drivers, transactions, and the order of writers."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs import database as room
from jobs.database import Database, utc_now
from jobs.errors import DatabaseBusyError, MixedAccessError
from jobs.tables import UtcDateTime
from tests import ROOT
from tests.support.databases import Databases
from tests.support.waiting import until


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}"


def count(connection: sa.Connection, name: str = "clicks") -> int:
    return int(connection.exec_driver_sql(f"SELECT n FROM {name}").scalar_one())


def click(connection: sa.Connection, name: str = "clicks") -> None:
    connection.exec_driver_sql(f"UPDATE {name} SET n = n + 1")


@contextmanager
def opened(url: str, *names: str, bulk: bool = False) -> Iterator[Database]:
    """A database with a counter of each name, at 0."""
    database = Database(url, bulk=bulk)
    try:
        for name in names:
            with database.transaction() as connection:
                connection.exec_driver_sql(f"CREATE TABLE {name} (n INTEGER)")
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES (0)")
        yield database
    finally:
        database.close()


@pytest.fixture(scope="module", params=["sqlite3", "adbc", "postgresql"])
def _shared(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path_factory.mktemp('data') / 'bulk_upload.db'}"
    if request.param == "postgresql":
        url = databases.empty()
    with opened(url, "clicks", bulk=request.param == "adbc") as database:
        yield database


@pytest.fixture
def clicks(_shared: Database) -> Database:
    """A database with one counter at 0, opened through each of the drivers."""
    with _shared.transaction() as connection:
        connection.exec_driver_sql("UPDATE clicks SET n = 0")
    return _shared


@pytest.mark.parametrize("bulk", [False, True])
def test_a_process_cannot_open_a_sqlite_file_through_both_drivers(sqlite_url: str, bulk: bool) -> None:
    with opened(sqlite_url, bulk=bulk), pytest.raises(MixedAccessError) as refused:
        Database(sqlite_url, bulk=not bulk)

    driver = "sqlite3" if bulk else "adbc"
    path = sqlite_url.removeprefix("sqlite:///")
    assert f"This process cannot open {path} through {driver}: it is open through the other driver." == str(
        refused.value
    )


def test_another_path_to_the_same_file_is_recognised(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    folder.mkdir()
    monkeypatch.chdir(folder)

    with opened(sqlite_url), pytest.raises(MixedAccessError):
        Database("sqlite:///../data/bulk_upload.db", bulk=True)


def test_a_file_opens_through_the_other_driver_once_all_are_closed(
    sqlite_url: str,
) -> None:
    first, second = Database(sqlite_url), Database(sqlite_url)
    first.close()
    first.close()

    with pytest.raises(MixedAccessError):
        Database(sqlite_url, bulk=True)

    second.close()
    Database(sqlite_url, bulk=True).close()


def test_two_files_may_be_open_through_different_drivers(sqlite_url: str) -> None:
    with opened(sqlite_url, "clicks") as web, opened(f"{sqlite_url}-2", "clicks", bulk=True) as bulk:
        with bulk.transaction() as connection:
            click(connection)
        with web.reading() as connection:
            assert count(connection) == 0


def test_a_committed_transaction_is_visible_to_others(clicks: Database) -> None:
    with clicks.transaction() as connection:
        click(connection)
        click(connection)
    with clicks.reading() as connection:
        assert count(connection) == 2


def test_a_transaction_that_raises_is_rolled_back(clicks: Database) -> None:
    def interrupted() -> None:
        with clicks.transaction() as connection:
            click(connection)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    with clicks.transaction() as connection:
        click(connection)
    with clicks.reading() as connection:
        assert count(connection) == 1


def test_a_failing_statement_rolls_back_its_transaction(clicks: Database) -> None:
    def failing() -> None:
        with clicks.transaction() as connection:
            click(connection)
            connection.exec_driver_sql("SELECT * FROM nothing")

    with pytest.raises(sa.exc.DBAPIError):
        failing()
    with clicks.reading() as connection:
        assert count(connection) == 0


def test_a_reader_neither_waits_for_a_writer_nor_sees_its_changes(clicks: Database) -> None:
    with clicks.transaction() as writing, clicks.reading() as reading:
        click(writing)

        assert count(reading) == 0


def test_a_reader_sees_one_snapshot_while_others_write(clicks: Database) -> None:
    with clicks.reading() as reading:
        before = count(reading)
        with clicks.transaction() as writing:
            click(writing)

        assert before == count(reading)

    with clicks.reading() as later:
        assert before + 1 == count(later)


def test_threads_share_a_database(clicks: Database) -> None:
    def ten_times() -> None:
        for _ in range(10):
            with clicks.transaction() as connection:
                click(connection)

    threads = [threading.Thread(target=ten_times) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with clicks.reading() as connection:
        assert count(connection) == 40


def test_the_time_is_that_of_the_statement_and_not_of_its_transaction(clicks: Database) -> None:
    def now() -> str:
        return str(connection.execute(sa.select(sa.cast(utc_now(), sa.Text))).scalar_one())

    with clicks.transaction() as connection:
        begin = now()
        until(lambda: now() > begin, "the clock to go on within the transaction")


@pytest.mark.parametrize("seconds", [0, 15, -3600, 0.5])
def test_the_time_is_in_utc_and_can_be_shifted(clicks: Database, seconds: float) -> None:
    with clicks.reading() as connection:
        moment = connection.execute(sa.select(sa.type_coerce(utc_now(seconds), UtcDateTime))).scalar_one()

    assert abs(datetime.now(UTC) + timedelta(seconds=seconds) - moment) < timedelta(seconds=10)


#: Writes in a tight loop until it is killed, 25 ms each time, as a chunk does. Arguments: URL, driver, counter.
BUSY_WRITER = """
import sys
from jobs.database import Database
url, driver, counter = sys.argv[1:]
database = Database(url, bulk=driver == "adbc")
work = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT count(*) FROM c"
while True:
    with database.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE {counter} SET n = n + 1")
        connection.exec_driver_sql(work).all()
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a Python process with a script and arguments; all end with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(script: str, *words: str) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_writer_gets_its_turn_among_writers_that_never_pause(
    sqlite_url: str, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with opened(sqlite_url, "here", "there", "clicks") as database:

        def busy() -> tuple[int, int]:
            with database.reading() as connection:
                return count(connection, "here"), count(connection, "there")

        def went_on(before: tuple[int, int]) -> bool:
            return all(was < now for was, now in zip(before, busy(), strict=True))

        start(BUSY_WRITER, sqlite_url, "sqlite3", "here")
        start(BUSY_WRITER, sqlite_url, "adbc", "there")
        until(lambda: min(busy()) > 0, "both writers to be at it")
        overtaken = []
        for _ in range(5):
            before = sum(busy())
            with database.transaction() as connection:
                click(connection)
                overtaken.append(count(connection, "here") + count(connection, "there") - before)
            until(partial(went_on, busy()), "both to go on")

        # With fair locks about two each time, without them dozens.
        assert sum(overtaken) < 40


def test_an_import_lets_other_writers_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IMPORT_YIELD_SECONDS", 60.0)
    path = str(tmp_path / "bulk_upload.db")
    order: list[str] = []

    def write(who: str) -> None:
        with room._WriteTurn(path, imports=who == "import").taken():
            order.append(who)

    with ThreadPoolExecutor() as writers, room._WriteTurn(path, imports=False).taken():
        for _ in range(5):
            writers.submit(write, "form")
        until(lambda: _opened(f"{path}.waiting") == 5, "the forms to wait")
        writers.submit(write, "import")
        until(lambda: _opened(f"{path}.imports") == 1, "the import to wait")

    assert order == ["form"] * 5 + ["import"]


def test_of_the_threads_of_a_process_one_tries_to_take_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "bulk_upload.db")

    def write() -> None:
        with room._WriteTurn(path, imports=False).taken():
            pass

    with ThreadPoolExecutor() as writers, room._WriteTurn(path, imports=False).taken():
        waiting = [writers.submit(write) for _ in range(5)]
        until(lambda: _opened(f"{path}.waiting") == 5, "the threads to wait")
        until(lambda: _opened(f"{path}.turn") == 2, "the first of them to wait for its turn")
        trying = _opened(f"{path}.line")

    assert trying == 1
    assert [each.result() for each in waiting] == [None] * 5


def test_a_thread_does_not_wait_for_another_one_for_ever(tmp_path: Path) -> None:
    path = str(tmp_path / "bulk_upload.db")
    patient = room._WriteTurn(path, imports=False)
    hasty = room._WriteTurn(path, imports=False, patience=0.1)

    def write() -> None:
        with patient.taken():
            pass

    with ThreadPoolExecutor() as writers, room._WriteTurn(path, imports=False).taken():
        first = writers.submit(write)
        until(lambda: _opened(f"{path}.turn") == 2, "the first thread to wait for its turn")
        with pytest.raises(DatabaseBusyError), hasty.taken():
            pass

    assert first.result() is None


#: Forks while a thread waits for its turn; the child has to get its own.
FORKS_WHILE_A_THREAD_WAITS = """
import os, sys, threading
from jobs.database import _WriteTurn
def write():
    with _WriteTurn(sys.argv[1], imports=False, patience=20).taken():
        pass
with _WriteTurn(sys.argv[1], imports=False).taken():
    waiting = threading.Thread(target=write)
    waiting.start()
    while not any(line.locked() for line in _WriteTurn._lines.values()):
        pass
    child = os.fork()
if child == 0:
    os.closerange(3, 100)  # what it inherited keeps the turn of its parent
    write()
    os._exit(0)
waiting.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_waits_for_no_thread_of_its_parent(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS_WHILE_A_THREAD_WAITS, str(tmp_path / "bulk_upload.db")],
        cwd=ROOT,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0


def test_an_import_knows_whether_a_writer_waits_that_goes_before_it(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    large, other = room._WriteTurn(path, imports=True), room._WriteTurn(path, imports=True)

    def write(turn: room._WriteTurn) -> None:
        with turn.taken():
            pass

    with ThreadPoolExecutor() as writers:
        with large.taken():
            assert not large.is_awaited()
            behind = writers.submit(write, other)
            until(lambda: _opened(f"{path}.turn") == 2, "the other import to wait")
            assert not large.is_awaited()
            form = writers.submit(write, room._WriteTurn(path, imports=False))
            until(large.is_awaited, "the form to wait")
        form.result()
        behind.result()
    assert not large.is_awaited()


def test_an_import_with_the_right_of_way_goes_before_others_in_all_its_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "IMPORT_YIELD_SECONDS", 60.0)
    path = str(tmp_path / "bulk_upload.db")
    order: list[str] = []
    small, large = room._WriteTurn(path, imports=True), room._WriteTurn(path, imports=True)

    def write(turn: room._WriteTurn, who: str) -> None:
        with turn.taken():
            order.append(who)

    with ThreadPoolExecutor() as writers, small.before_imports():
        write(small, "small")
        writers.submit(write, large, "large")
        until(lambda: _opened(f"{path}.imports") == 1, "the large one to wait")
        for _ in range(3):
            write(small, "small")

    assert order == ["small"] * 4 + ["large"]


def test_an_import_waits_for_other_writers_for_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IMPORT_YIELD_SECONDS", 0.01)
    path = str(tmp_path / "bulk_upload.db")
    descriptor = os.open(f"{path}.waiting", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        with room._WriteTurn(path, imports=True).taken():
            pass
    finally:
        os.close(descriptor)


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short timeout for writers."""
    monkeypatch.setattr(room, "WRITE_TURN_SECONDS", 0.05)


@pytest.mark.usefixtures("_hurried")
def test_a_writer_that_waits_too_long_raises_database_busy(sqlite_url: str) -> None:
    with opened(sqlite_url, "clicks") as database:

        def write() -> None:
            with database.transaction() as connection:
                click(connection)

        with (
            database.transaction(),
            pytest.raises(DatabaseBusyError, match=r"The database is busy with another import\."),
        ):
            write()
        write()

        with database.reading() as connection:
            assert count(connection) == 1


#: Takes the turn, prints a line, and keeps the turn.
HOLDER = """
import sys, time
from jobs.database import Database
with Database(sys.argv[1], bulk=True).transaction() as connection:
    connection.exec_driver_sql("UPDATE clicks SET n = 1000")
    print("mine", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_releases_its_turn_and_is_rolled_back(
    sqlite_url: str, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with opened(sqlite_url, "clicks") as database:
        holder = start(HOLDER, sqlite_url)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        holder.kill()
        holder.wait()
        with database.transaction() as connection:
            click(connection)

            assert count(connection) == 1


def test_a_child_process_may_open_the_file_through_the_other_driver(
    sqlite_url: str, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with opened(sqlite_url, "clicks") as database:
        other = start(HOLDER.replace("time.sleep(600)", ""), sqlite_url)
        assert other.wait(60) == 0

        with database.reading() as connection:
            assert count(connection) == 1000


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_transaction_whose_client_is_frozen_does_not_block_its_successor(database_url: str) -> None:
    frozen = Database(database_url, bulk=True, idle_timeout=0.2)
    with opened(database_url, "clicks") as database:

        def freeze_in_the_middle() -> None:
            with frozen.transaction() as connection:
                click(connection)
                with database.transaction() as successor:
                    click(successor)
                click(connection)

        with pytest.raises(sa.exc.DBAPIError):
            freeze_in_the_middle()
        with database.reading() as connection:
            assert count(connection) == 1
    frozen.close()


def test_child_processes_do_not_inherit_the_lock_files(sqlite_url: str) -> None:
    with opened(sqlite_url, "clicks") as database, database.transaction():
        turns = [
            descriptor
            for descriptor in map(int, os.listdir("/proc/self/fd"))
            if _leads_to(descriptor).endswith((".turn", ".line", ".imports", ".waiting"))
        ]

        assert [_leads_to(each).rpartition(".")[2] for each in turns] == ["turn"]
        assert [os.get_inheritable(each) for each in turns] == [False]


def _opened(path: str) -> int:
    """How many descriptors of this process lead to a file."""
    return sum(_leads_to(each) == path for each in map(int, os.listdir("/proc/self/fd")))


def _leads_to(descriptor: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    return ""


def test_a_form_leaves_checkpoints_to_the_imports(sqlite_url: str) -> None:
    def log_pages(bulk: bool) -> int:
        with opened(sqlite_url, bulk=bulk) as database, database.reading() as connection:
            return int(connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one())

    assert log_pages(bulk=True) < log_pages(bulk=False)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_import_may_sort_a_chunk_in_memory(database_url: str) -> None:
    with opened(database_url, bulk=True) as database, database.reading() as connection:
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("work_mem", "temp_buffers")]

    assert found == ["64MB", "64MB"]


def test_one_connection_after_the_other_is_the_same_one_with_a_small_cache(sqlite_url: str) -> None:
    with opened(sqlite_url) as database:
        with database.reading() as one, database.reading() as other, database.reading() as third:
            assert len({id(each.connection.dbapi_connection) for each in (one, other, third)}) == 3
            assert one.exec_driver_sql("PRAGMA cache_size").scalar_one() == -1024
        used = set()
        for _ in range(9):
            with database.reading() as connection:
                used.add(id(connection.connection.dbapi_connection))

    assert len(used) == 1
