"""The only module that opens the database: PostgreSQL, or SQLite through one of two drivers.

`Database(url)` is for the web process and the command line. `Database(url, bulk=True)` is for the work horse that
imports rows: on SQLite it uses ADBC, which binds Arrow columns without creating Python objects. ADBC bundles its own
SQLite library, and POSIX locks belong to a process: if a process also opened the file through Python's sqlite3, closing
one handle would release the other's lock. So a process uses one of the two drivers, and opening the other one raises.
"""

import fcntl
import logging
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.ext.compiler import compiles

from jobs.errors import DatabaseBusyError, MixedAccessError
from jobs.process import horse_state
from jobs.settings import Settings
from jobs.tables import metadata

log = logging.getLogger(__name__)

registry.register("sqlite.adbc", "jobs.adbc_sqlite", "AdbcSqliteDialect")

#: Seconds a writer waits for its turn before it raises DatabaseBusyError; a chunk takes well under one.
WRITE_TURN_SECONDS = 30.0
#: Seconds an import lets other writers go first, at most: there may always be another one.
IMPORT_YIELD_SECONDS = 0.5
#: Seconds between two attempts to take a lock: short compared to a transaction of a small import, which takes 5 ms.
TURN_POLL_SECONDS = 0.0005
#: Identifies the migration's lock among a PostgreSQL database's advisory locks.
MIGRATION_LOCK = 0x62756C6B

#: (process id, path) → how many times each driver has the file open.
_open_files: dict[tuple[int, str], Counter[str]] = {}


class utc_now(sa.sql.functions.FunctionElement[Any]):  # noqa: N801  # reads as the SQL function that it is
    """The database's time when the statement runs, not when its transaction began, plus `seconds`."""

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
    """The database of records and rows. Open it once per process; it is thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        bulk: bool = False,
        idle_timeout: float | None = None,
        lock_timeout: float | None = None,
    ) -> None:
        """url: SQLAlchemy's. bulk: this process imports rows. idle_timeout: seconds after which PostgreSQL ends an idle
        transaction, so that a client frozen inside a chunk does not block its successor. lock_timeout: seconds that a
        statement waits for a lock; by default WRITE_TURN_SECONDS on SQLite, and for ever on PostgreSQL."""
        parsed = sa.make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        #: The claim that this process writes under, as "upload-attempt"; "" for none.
        self.claim = ""
        self._turn: _WriteTurn | None = None
        self._file: tuple[int, str] | None = None
        if self.is_sqlite:
            path = os.path.realpath(parsed.database or "")
            self._driver = "adbc" if bulk else "sqlite3"
            self._file = _note_open(path, self._driver)
            patience = WRITE_TURN_SECONDS if lock_timeout is None else lock_timeout
            self._turn = _WriteTurn(path, imports=bulk, patience=patience)
            self.engine = _adbc_engine(path) if bulk else _sqlite_engine(path, patience)
        else:
            options = _postgresql_options(idle_timeout, lock_timeout, BULK_OPTIONS if bulk else "")
            self.engine = _take_rehearsed(_place(parsed, options)) or _postgresql_engine(parsed, options)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for reading, which sees one consistent snapshot."""
        with horse_state.state.waiting(), self.engine.connect() as connection:
            if not self.is_sqlite:  # where every transaction sees one snapshot
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose changes are committed together at the end, or rolled back.

        Raises DatabaseBusyError if other writers of a SQLite database keep the lock for too long.
        """
        with horse_state.state.waiting(), self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        if self._turn is None:
            with self.engine.begin() as connection:
                if self.claim:
                    connection.execute(sa.select(sa.func.set_config("application_name", _session_of(self.claim), True)))
                yield connection
            return
        with self._turn.taken(), self.engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    @contextmanager
    def session(self) -> Iterator[sa.Connection]:
        """A connection of its own, for temporary tables that outlive a transaction and end with the block. Whoever
        writes into other tables takes `transaction`."""
        with self.engine.connect() as connection:
            try:
                yield connection
            finally:
                connection.invalidate()  # it is not to return to the pool with its tables

    @contextmanager
    def right_of_way(self) -> Iterator[None]:
        """Inside the block, the transactions of this process go before those of imports that have no right of way.

        For a small import: it would otherwise wait for a chunk of a large one in each of its transactions. On SQLite
        only; PostgreSQL's writers wait for nobody."""
        if self._turn is None:
            yield
        else:
            with self._turn.before_imports():
                yield

    def is_awaited(self) -> bool:
        """Whether another writer that goes before imports waits for the transaction of this process to end; never on
        PostgreSQL."""
        return self._turn is not None and self._turn.is_awaited()

    def end_sessions(self, claim: str) -> None:
        """End the sessions of a claimant that is frozen inside a chunk, so that its locks block no other writer.

        PostgreSQL's timeout for idle transactions does not cover a client that is frozen inside COPY. SQLite has no
        equivalent.
        """
        if self.is_sqlite:
            return
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :session"
        with self.engine.begin() as connection:
            connection.execute(sa.text(query), {"session": _session_of(claim)})

    def close(self) -> None:
        """Close every connection, so that a fork inherits none."""
        self.engine.dispose()
        if self._file is not None:
            _open_files[self._file][self._driver] -= 1
            self._file = None


def _session_of(claim: str) -> str:
    return f"bulk-upload {claim}"


#: Engines for imports that this process has rehearsed with, by what they are for; the next `Database` takes its engine
#: from here. An engine keeps what it learnt about the database and the statements that it compiled.
_rehearsed: dict[str, sa.Engine] = {}
#: What the one engine for imports into SQLite is for: any file.
_ANY_FILE = "sqlite"


@contextmanager
def rehearsal(url: str, *, idle_timeout: float | None = None) -> Iterator[Database]:
    """A database for imports with empty tables, of which nothing remains but its engine: the next
    `Database(url, bulk=True, idle_timeout=idle_timeout)` of this process, or of each of its forks, continues with it.

    On SQLite it is a temporary file; on PostgreSQL the temporary schema of a session, which nobody else sees. No
    connection stays open for a fork to inherit.
    """
    parsed = sa.make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    with tempfile.TemporaryDirectory(prefix="bulk-upload-") as folder:
        stage = f"sqlite:///{folder}/rehearsal.db" if is_sqlite else url
        database = Database(stage, bulk=True, idle_timeout=idle_timeout)
        if not is_sqlite:
            sa.event.listen(database.engine, "connect", _enter_temporary_schema)
        try:
            with database.transaction() as connection:
                metadata.create_all(connection)
            yield database
        finally:
            database.close()
            if not is_sqlite:
                sa.event.remove(database.engine, "connect", _enter_temporary_schema)
    place = _ANY_FILE if is_sqlite else _place(parsed, _postgresql_options(idle_timeout, None, BULK_OPTIONS))
    _rehearsed[place] = database.engine


def _take_rehearsed(place: str) -> sa.Engine | None:
    return _rehearsed.pop(place, None)  # one `Database` at a time: the next one opens another file


def _enter_temporary_schema(connection: Any, _record: object) -> None:
    connection.execute("SET search_path TO pg_temp")
    connection.commit()


def _place(url: sa.URL, options: str) -> str:
    return f"{url.render_as_string(hide_password=False)} {options}"


_BUSY = "The database is busy with another import. Try again in a moment."


class _WriteTurn:
    """A fair write lock among all processes: one writer at a time, in the order of arrival.

    SQLite's own lock is not fair: an import that commits and begins again at once starves a form. A writer first takes
    the queue lock, holds it while it waits for the turn, and releases it once it has the turn; a writer that returns
    finds the queue lock taken and waits behind. Imports, whose chunks take long, have a queue lock of their own, and
    the first import lets other writers go first: they share the lock `waiting` while they wait. All are locks on files
    beside the database, which the kernel releases when a process dies. A small import has the right of way: it waits
    with the other writers, and shares the lock `waiting` from its first transaction to its last.

    Whoever waits for such a lock tries again and again. So of the threads of one process only one does so; the others
    wait for it, which costs nothing.
    """

    #: The locks of this process for which its threads wait, by the path of the queue lock.
    _lines: ClassVar[dict[str, threading.Lock]] = {}

    def __init__(self, database: str, *, imports: bool, patience: float = WRITE_TURN_SECONDS) -> None:
        self._yields = imports
        self._patience = patience
        self._imports = f"{database}.imports"
        self._line = f"{database}.line"
        self._waiting = f"{database}.waiting"
        self._turn = f"{database}.turn"

    @contextmanager
    def taken(self) -> Iterator[None]:
        deadline = time.monotonic() + self._patience
        descriptor = self._after_others(deadline) if self._yields else self._before_imports(deadline)
        try:
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def before_imports(self) -> Iterator[None]:
        yields, self._yields = self._yields, False
        try:
            with _locked(self._waiting, time.monotonic() + self._patience, fcntl.LOCK_SH):
                yield
        finally:
            self._yields = yields

    def is_awaited(self) -> bool:
        if not self._yields:  # whoever has the right of way
            return False
        descriptor = _opened(self._waiting)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _before_imports(self, deadline: float) -> int:
        with _locked(self._waiting, deadline, fcntl.LOCK_SH), self._alone(deadline), _locked(self._line, deadline):
            return _lock(self._turn, deadline)

    @contextmanager
    def _alone(self, deadline: float) -> Iterator[None]:
        """Inside the block, no other thread of this process is in it."""
        line = self._lines.setdefault(self._line, threading.Lock())
        if not line.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DatabaseBusyError(_BUSY)
        try:
            yield
        finally:
            line.release()

    def _after_others(self, deadline: float) -> int:
        with _locked(self._imports, deadline):
            with suppress(DatabaseBusyError), _locked(self._waiting, time.monotonic() + IMPORT_YIELD_SECONDS):
                pass  # no other writer waits
            return _lock(self._turn, deadline)


os.register_at_fork(after_in_child=_WriteTurn._lines.clear)  # no thread that held one is in the child


@contextmanager
def _locked(path: str, deadline: float, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    descriptor = _lock(path, deadline, how)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: str, deadline: float, how: int = fcntl.LOCK_EX) -> int:
    """The descriptor of the locked file; the caller closes it. Raises DatabaseBusyError."""
    descriptor = _opened(path)
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise DatabaseBusyError(_BUSY) from None
            time.sleep(TURN_POLL_SECONDS)


def _opened(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _note_open(path: str, driver: str) -> tuple[int, str]:
    key = (os.getpid(), path)
    drivers = _open_files.setdefault(key, Counter())
    if any(count for other, count in drivers.items() if other != driver):
        raise MixedAccessError(
            f"This process cannot open {path} through {driver}: it is open through the other driver."
        )
    drivers[driver] += 1
    return key


def _adbc_engine(path: str) -> sa.Engine:
    _make_folder(path)
    engine = _take_rehearsed(_ANY_FILE)
    if engine is None:
        return sa.create_engine(f"sqlite+adbc:///{path}", poolclass=sa.pool.QueuePool, pool_size=1, max_overflow=4)

    @sa.event.listens_for(engine, "do_connect")
    def _open_this_file(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
        arguments[:] = [path]

    return engine


def _sqlite_engine(path: str, patience: float) -> sa.Engine:
    _make_folder(path)
    options = {"isolation_level": None, "timeout": patience, "cached_statements": CACHED_STATEMENTS}
    # The connection that was used last is used first, so that few have a full cache.
    engine = sa.create_engine(
        f"sqlite:///{path}", pool_size=20, max_overflow=20, pool_use_lifo=True, connect_args=options
    )
    engine.dialect.statement_compiler = _HintingCompiler

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        for pragma in (*SQLITE_PRAGMAS, log_pages(LOG_PAGES_OF_OTHERS), busy_timeout(patience), CACHE):
            connection.execute(pragma)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


class _HintingCompiler(SQLiteCompiler):
    """Writes hints, such as INDEXED BY, which SQLAlchemy does for other databases only."""

    def get_from_hint_text(self, _table: object, text: str | None) -> str | None:
        return text


def _make_folder(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)


#: Readers never wait for a writer (WAL). A commit survives the death of the process; of a crash of the machine, commits
#: up to the last checkpoint do. Pages have 16 KiB, four times SQLite's default: the tables of rows have no rowid and
#: keep whole rows in every node of their B-tree, and a node should hold many of them
#: (https://www.sqlite.org/withoutrowid.html). `page_size` must be set before the file is created.
SQLITE_PRAGMAS = (
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
)


#: Prepared statements that each connection of the sqlite3 module keeps. By default they are 128, and one on a table of
#: 684 columns has 0.3 MB: the pages of 40 such datasets filled 350 MB. To prepare one anew takes microseconds.
CACHED_STATEMENTS = 0

#: Pages of the write-ahead log at which the next commit runs a checkpoint, which copies them into the file and waits
#: for the disk: 128 MB for imports, half as much again for other writers. An import copies most of them while it writes
#: on (jobs/checkpointer.py), and needs a commit that copies the rest for the log to begin anew: of four or so, as it
#: writes 40 MB in each transaction. With the higher limit, a form does not wait for the checkpoint of an import that
#: still runs.
LOG_PAGES_OF_IMPORTS, LOG_PAGES_OF_OTHERS = 8_192, 12_288
#: Options of the PostgreSQL session of an import: memory, because with the defaults of 4 and 8 MB staged chunks go to
#: disk.
BULK_OPTIONS = " -c work_mem=64MB -c temp_buffers=64MB"


#: Of a connection to PostgreSQL: seconds to make it, and how soon one counts as lost if its host was cut off. What was
#: sent counts as lost after 20 s; with the system's default, who waits for an answer waits for a quarter of an hour.
CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

#: What a connection of a web process keeps of the file: 1 MiB. With SQLite's default of 2, thirty of them grow to
#: 60 MB; the cache of the system is as good.
CACHE = "PRAGMA cache_size = -1024"


def busy_timeout(seconds: float) -> str:
    """How long a statement waits for a lock."""
    return f"PRAGMA busy_timeout = {int(seconds * 1000)}"


def log_pages(pages: int) -> str:
    return f"PRAGMA wal_autocheckpoint = {pages}"


def _postgresql_options(idle_timeout: float | None, lock_timeout: float | None, more: str) -> str:
    """Of a session. No statement is compiled, which takes longer than to run it for a chunk, a page or a block."""
    options = f"-c timezone=UTC -c datestyle=ISO -c jit=off{more}"
    if idle_timeout is not None:
        options += f" -c idle_in_transaction_session_timeout={int(idle_timeout * 1000)}"
    if lock_timeout is not None:
        options += f" -c lock_timeout={int(lock_timeout * 1000)}"
    return options


def _postgresql_engine(url: sa.URL, options: str) -> sa.Engine:
    return sa.create_engine(
        url, pool_size=10, max_overflow=30, pool_pre_ping=True, connect_args={"options": options, **CONNECTION}
    )


def migrate(settings: Settings) -> None:
    """Migrate the database to the latest schema. Several processes may run it at once: one migrates, the rest wait.

    A schema that a newer release made stays as it is: this one works with it, so that its processes can be restarted
    until they are replaced.
    """
    database = Database(settings.database)
    try:
        with database.transaction() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
            found = MigrationContext.configure(connection).get_current_revision()
            if found is None or found in known:
                command.upgrade(config, "head")
            else:
                log.warning("The database has the schema %s of a newer release, with which this one works too.", found)
    finally:
        database.close()
