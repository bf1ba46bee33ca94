"""SQLAlchemy's SQLite dialect over the ADBC driver, so that one transaction writes the record and the rows of a chunk.

The driver begins a transaction when it connects and another after every commit, runs a statement only when its result
is read, and cannot change pragmas inside a transaction. The classes here adapt this to what SQLAlchemy expects.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from jobs import disk
from jobs.database import LOG_PAGES_OF_IMPORTS, SQLITE_PRAGMAS, WRITE_TURN_SECONDS, busy_timeout, log_pages

#: Rows of a result that become Arrow columns together. A column of 512 KB or more would get memory of its own from the
#: system each time, which takes a tenth longer.
ROWS_AT_ONCE = 60_000


class AdbcCursor:
    """Runs a statement to its end and buffers the rows, so that no statement stays half run. Records are few."""

    arraysize = 1
    #: The driver does not report it: use RETURNING.
    rowcount = -1
    lastrowid = None

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.description: Sequence[Any] | None = None

    def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(operation, list(parameters) or None)
            self._rows = cursor.fetchall()
            self.description = cursor.description or None

    def executemany(self, operation: str, parameters: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(operation, list(parameters))
        self._rows, self.description = [], None

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows[: size or self.arraysize], self._rows[size or self.arraysize :]
        return taken

    def fetchall(self) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows, []
        return taken

    def close(self) -> None:
        self._rows = []


class AdbcConnection:
    """The DBAPI connection that SQLAlchemy pools: in a transaction from its first statement to its commit."""

    def __init__(self, path: str) -> None:
        self._connection = adbc.connect(path, autocommit=True)
        for pragma in (*SQLITE_PRAGMAS, log_pages(LOG_PAGES_OF_IMPORTS), busy_timeout(WRITE_TURN_SECONDS)):
            self.cursor().execute(pragma)
        self._connection.adbc_connection.set_autocommit(False)

    def cursor(self) -> AdbcCursor:
        return AdbcCursor(self._connection)

    def insert(self, statement: str, rows: pa.RecordBatch) -> None:
        """Run an INSERT for each row, with parameters bound from the Arrow columns in order."""
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def query(self, statement: str, parameters: Sequence[Any] | pa.RecordBatch = ()) -> pa.Table:
        """The result of a SELECT as Arrow columns. The first rows decide their types. parameters: or rows, for each of
        which it is run, with its cells in order; the results follow each other."""
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": ROWS_AT_ONCE})
            bound = parameters if isinstance(parameters, pa.RecordBatch) else list(parameters) or None
            cursor.execute(statement, bound)
            return cursor.fetch_arrow_table()

    def commit(self) -> None:
        self._connection.adbc_connection.commit()

    def rollback(self) -> None:
        self._connection.adbc_connection.rollback()

    def close(self) -> None:
        self._connection.close()


class AdbcSqliteDialect(SQLiteDialect):
    """`sqlite+adbc:///path`."""

    driver = "adbc"
    default_paramstyle = "qmark"
    supports_statement_cache = True
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False

    @classmethod
    def import_dbapi(cls) -> Any:
        """The ADBC module, plus the version of its bundled SQLite, which the base dialect reads."""
        module = ModuleType("adbc_driver_sqlite.dbapi")
        vars(module).update(vars(adbc))
        with adbc.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT sqlite_version()")
            ((version,),) = cursor.fetchall()
        vars(module)["sqlite_version_info"] = tuple(int(part) for part in version.split("."))
        return module

    def create_connect_args(self, url: sa.URL) -> tuple[Sequence[str], dict[str, Any]]:
        return [url.database or ""], {}

    def connect(self, *arguments: Any, **_options: Any) -> Any:
        return AdbcConnection(*arguments)

    def is_disconnect(self, error: Exception, *_arguments: Any) -> bool:
        """SQLite rolls back by itself when the disk is full. ADBC cannot begin again after that."""
        return disk.SQLITE_IS_FULL in str(error)
