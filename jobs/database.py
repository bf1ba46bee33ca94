"""The only room that opens the database: SQLite through two drivers, never both in one process, or PostgreSQL.

`Database(url)` is for the web and the command line. `Database(url, bulk=True)` is for the work horse that imports
rows: on SQLite it goes through ADBC, which binds Arrow columns without making Python objects of them. ADBC carries a
SQLite library of its own, and POSIX locks belong to the process: were the same file open through Python's sqlite3
too, closing one handle would drop the other's lock. So each process uses one of the two, and is refused the other.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import registry
from sqlalchemy.ext.compiler import compiles

from jobs.errors import DatabaseBusyError, MixedAccessError
from jobs.settings import Settings

registry.register("sqlite.adbc", "jobs.adbc_sqlite", "AdbcSqliteDialect")

#: Seconds a writer waits for its turn before it says that the database is busy; a chunk takes well under one.
WRITE_TURN_SECONDS = 30.0
#: Seconds for which an import lets others go before, who could come without end.
IMPORT_PATIENCE = 0.5
#: Seconds between two tries for the turn: short against a chunk of some 100 ms.
TURN_POLL_SECONDS = 0.002
#: Identifies the migration's lock among a PostgreSQL database's advisory locks.
MIGRATION_LOCK = 0x62756C6B

#: (process id, file) → how often each driver has it open.
_open_files: dict[tuple[int, str], Counter[str]] = {}


class utc_now(sa.sql.functions.FunctionElement[Any]):  # noqa: N801  # reads as the SQL function that it is
    """The database's clock when the statement runs, not when its transaction began, plus `seconds`."""

    inherit_cache = True
    name = "utc_now"

    def __init__(self, seconds: float | sa.ColumnElement[float] = 0) -> None:
        super().__init__(sa.literal(seconds, sa.Float) if isinstance(seconds, int | float) else seconds)
        self.type = sa.DateTime(timezone=True)


@compiles(utc_now, "sqlite")
def _sqlite_utc_now(element: utc_now, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"


@compiles(utc_now, "postgresql")
def _postgresql_utc_now(element: utc_now, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"


class Database:
    """A way to the records and the rows. Open it once a process; it is safe to use from several threads."""

    def __init__(self, url: str, *, bulk: bool = False, idle_timeout: float | None = None) -> None:
        """url: SQLAlchemy's. bulk: this process imports rows. idle_timeout: seconds after which PostgreSQL ends a
        transaction whose client has fallen silent (one frozen inside a chunk must not block its successor)."""
        parsed = sa.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        #: For whom this process writes, if it does for one: "upload-attempt".
        self.claim = ""
        self._turn: _WriteTurn | None = None
        self._file: tuple[int, str] | None = None
        if self.is_sqlite:
            path = os.path.realpath(parsed.database or "")
            self._driver = "adbc" if bulk else "sqlite3"
            self._file = _note_open(path, self._driver)
            self._turn = _WriteTurn(path, imports=bulk)
            self.engine = _sqlite_engine(path, self._driver)
        else:
            self.engine = _postgresql_engine(parsed, idle_timeout, BULK_MEMORY if bulk else "")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with: one consistent view."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:  # where a transaction is one view anyway
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose changes are committed at the end, all or none.

        Raises DatabaseBusyError when SQLite's other writers do not let this one in.
        """
        if self._turn is None:
            with self.engine.begin() as connection:
                if self.claim:
                    connection.execute(sa.select(sa.func.set_config("application_name", _session_of(self.claim), True)))
                yield connection
            return
        with self._turn.taken(), self.engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    def end_sessions(self, claim: str) -> None:
        """End what a claimant has open that is frozen in the middle of a chunk, so that its locks block nobody.

        PostgreSQL's own timeout for idle transactions does not see one that is frozen inside COPY. SQLite has nothing
        like it.
        """
        if self.is_sqlite:
            return
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :session"
        with self.engine.begin() as connection:
            connection.execute(sa.text(query), {"session": _session_of(claim)})

    def close(self) -> None:
        """Let go of every connection, so that a fork inherits none."""
        self.engine.dispose()
        if self._file is not None:
            _open_files[self._file][self._driver] -= 1
            self._file = None


def _session_of(claim: str) -> str:
    return f"bulk-upload {claim}"


class _WriteTurn:
    """One writer at a time among all processes, and the next one in line is the next to write.

    SQLite's own lock is not fair: an importer that commits and begins again at once starves a form. A writer first
    takes the *line*, waits in it for the *turn*, and gives up its place in the line only when it has the turn; one that
    comes back finds the line taken and queues behind. Imports, each chunk of which takes a while, have a line of their
    own, and the first in it lets everybody else go before, whom it knows by the lock *waiting* that they share. The
    kernel drops them all when a process dies.
    """

    def __init__(self, database: str, *, imports: bool) -> None:
        self._imports = imports
        self._line = f"{database}.imports" if imports else f"{database}.line"
        self._waiting = f"{database}.waiting"
        self._turn = f"{database}.turn"

    @contextmanager
    def taken(self) -> Iterator[None]:
        deadline = time.monotonic() + WRITE_TURN_SECONDS
        descriptor = self._after_others(deadline) if self._imports else self._before_imports(deadline)
        try:
            yield
        finally:
            os.close(descriptor)

    def _before_imports(self, deadline: float) -> int:
        with _locked(self._waiting, deadline, fcntl.LOCK_SH), _locked(self._line, deadline):
            return _lock(self._turn, deadline)

    def _after_others(self, deadline: float) -> int:
        with _locked(self._line, deadline):
            with suppress(DatabaseBusyError), _locked(self._waiting, time.monotonic() + IMPORT_PATIENCE):
                pass  # nobody waits
            return _lock(self._turn, deadline)


@contextmanager
def _locked(path: str, deadline: float, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    descriptor = _lock(path, deadline, how)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: str, deadline: float, how: int = fcntl.LOCK_EX) -> int:
    """The descriptor of a locked file, for the caller to close. Raises DatabaseBusyError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise DatabaseBusyError(
                    "The database has been busy with another import for too long. Please try again in a moment."
                ) from None
            time.sleep(TURN_POLL_SECONDS)


def _note_open(path: str, driver: str) -> tuple[int, str]:
    key = (os.getpid(), path)
    drivers = _open_files.setdefault(key, Counter())
    if any(count for other, count in drivers.items() if other != driver):
        raise MixedAccessError(f"{path} is open in this process through another driver than {driver}.")
    drivers[driver] += 1
    return key


def _sqlite_engine(path: str, driver: str) -> sa.Engine:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if driver == "adbc":
        return sa.create_engine(f"sqlite+adbc:///{path}", poolclass=sa.pool.QueuePool, pool_size=1, max_overflow=4)
    engine = sa.create_engine(
        f"sqlite:///{path}", pool_size=20, connect_args={"isolation_level": None, "timeout": WRITE_TURN_SECONDS}
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        for pragma in (*SQLITE_PRAGMAS, log_pages(LOG_PAGES_OF_OTHERS)):
            connection.execute(pragma)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


#: A reader never waits for a writer (WAL); a commit survives the process, and the machine up to the last checkpoint.
#: Pages of 16 KiB, four times SQLite's own size: the tables of rows have no rowid, and keep whole rows in every node of
#: their tree, of which each should hold many (https://www.sqlite.org/withoutrowid.html). Has to come before the file.
SQLITE_PRAGMAS = (
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 30000",
    "PRAGMA foreign_keys = ON",
)


#: Pages of the write-ahead log at which whoever commits next copies them into the file, and waits for the disk: 64 MB,
#: and twice that. At SQLite's own 1,000 it would be in every second chunk; and a form does not wait for what imports
#: have written, unless none goes on that would do it.
LOG_PAGES_OF_IMPORTS, LOG_PAGES_OF_OTHERS = 4_096, 8_192
#: What an import's session may use of the server's memory: with PostgreSQL's own 4 and 8 MB, staged chunks go to disk.
BULK_MEMORY = " -c work_mem=64MB -c temp_buffers=64MB"


def log_pages(pages: int) -> str:
    return f"PRAGMA wal_autocheckpoint = {pages}"


def _postgresql_engine(url: sa.URL, idle_timeout: float | None, more_options: str) -> sa.Engine:
    options = f"-c timezone=UTC{more_options}"
    if idle_timeout is not None:
        options += f" -c idle_in_transaction_session_timeout={int(idle_timeout * 1000)}"
    return sa.create_engine(
        url, pool_size=10, max_overflow=30, pool_pre_ping=True, connect_args={"options": options, "connect_timeout": 5}
    )


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema. May run in several processes at once: one migrates, the rest wait."""
    database = Database(settings.database)
    try:
        with database.transaction() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
