"""SQLAlchemy's SQLite dialect over the ADBC driver, so that one transaction writes the record and the rows of a chunk.

The driver begins a transaction when it connects and another after every commit, runs a statement only when its result
is read, and cannot change pragmas inside a transaction. The classes here adapt this to what SQLAlchemy expects.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from jobs.checkpointer import Checkpointer
from jobs.database import LOG_PAGES_OF_IMPORTS, SQLITE_PRAGMAS, WRITE_TURN_SECONDS, busy_timeout, log_pages
from jobs.process import disk

#: Rows of a result that become Arrow columns together. A column of 512 KB or more would get memory of its own from the
#: system each time, which takes a tenth longer.
ROWS_AT_ONCE = 60_000
#: Statements that a connection keeps prepared, and characters of one at most: those of records are shorter, and one on
#: a table of 684 columns has 0.3 MB. To prepare the two dozen of a small file takes 4 ms.
KEPT_STATEMENTS, KEPT_CHARACTERS = 48, 4_096
#: Bytes of inserted rows after which the log is copied beside the next transaction: more than a small file has.
CHECKPOINT_BYTES = 1 << 22

#: Of parameters. Arrow finds those of any others.
_TYPES = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    type(None): pa.null(),
}


class AdbcCursor:
    """Runs a statement to its end and buffers the rows, so that no statement stays half run. Records are few."""

    arraysize = 1
    #: The driver does not report it of a statement whose rows are read: use RETURNING.
    rowcount = -1
    lastrowid = None

    def __init__(self, connection: "AdbcConnection") -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.description: Sequence[Any] | None = None

    def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        self._rows, self.description = self._connection.run(operation, parameters)

    def executemany(self, operation: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._connection.run_each(operation, parameters)
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
        self._path = path
        self._connection = adbc.connect(path, autocommit=True)
        #: Prepared statements, by their text.
        self._kept: OrderedDict[str, _Prepared] = OrderedDict()
        #: Bytes of inserted rows since the last checkpoint began, and what runs checkpoints once there are many.
        self._inserted = 0
        self._checkpointer: Checkpointer | None = None
        for pragma in (*SQLITE_PRAGMAS, log_pages(LOG_PAGES_OF_IMPORTS), busy_timeout(WRITE_TURN_SECONDS)):
            self.cursor().execute(pragma)
        self._connection.adbc_connection.set_autocommit(False)

    def cursor(self) -> AdbcCursor:
        return AdbcCursor(self)

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> tuple[list[tuple[Any, ...]], Sequence[Any] | None]:
        """The rows that a statement finds, and how DBAPI describes their columns; None: there are none."""
        prepared = self._kept.pop(statement, None) or _Prepared(self._connection.cursor())
        try:
            found = prepared.run(statement, parameters)
        except BaseException:
            prepared.cursor.close()
            raise
        self._keep(statement, prepared)
        return found, prepared.description

    def run_each(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement that finds nothing with several rows of parameters."""
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, list(parameters))

    def _keep(self, statement: str, prepared: "_Prepared") -> None:
        """Keep a statement prepared, in the place of the one that was not run for longest."""
        if len(statement) > KEPT_CHARACTERS:
            prepared.cursor.close()
            return
        self._kept[statement] = prepared
        if len(self._kept) > KEPT_STATEMENTS:
            self._kept.popitem(last=False)[1].cursor.close()

    def insert(self, statement: str, rows: pa.RecordBatch) -> int:
        """Run an INSERT for each row, with parameters bound from the Arrow columns in order. Returns how many rows of
        the table it inserted or changed."""
        self._inserted += rows.nbytes
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, rows)
            return int(cursor.rowcount)

    def query(self, statement: str, parameters: Sequence[Any] | pa.RecordBatch = ()) -> pa.Table:
        """The result of a SELECT as Arrow columns. The first rows decide their types. parameters: or rows, for each of
        which it is run, with its cells in order; the results follow each other."""
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": ROWS_AT_ONCE})
            bound = parameters if isinstance(parameters, pa.RecordBatch) else list(parameters) or None
            cursor.execute(statement, bound)
            return cursor.fetch_arrow_table()

    def commit(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.make_way()
        self._connection.adbc_connection.commit()
        if self._inserted >= CHECKPOINT_BYTES:
            self._inserted = 0
            self._checkpointer = self._checkpointer or Checkpointer(self._path)
            self._checkpointer.begin()

    def rollback(self) -> None:
        self._connection.adbc_connection.rollback()

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].cursor.close()
        if self._checkpointer is not None:
            self._checkpointer.close()
        self._connection.close()


class _Prepared:
    """A cursor of the driver, which has the statement prepared that it ran last."""

    def __init__(self, cursor: adbc.Cursor) -> None:
        self.cursor = cursor
        self.description: Sequence[Any] | None = None

    def run(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows, to the end: no statement stays half run."""
        self.cursor.execute(statement, _row(parameters) if parameters else None)
        rows: list[tuple[Any, ...]] = []
        with self.cursor.fetch_record_batch() as found:
            if self.description is None and len(found.schema):
                self.description = [(name, *[None] * 6) for name in found.schema.names]
            for batch in found:
                rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        return rows


def _row(parameters: Sequence[Any]) -> pa.RecordBatch:
    """Parameters as the driver binds them. To make an array of each takes four times as long."""
    struct = _struct(tuple(map(type, parameters)))
    if struct is not None:
        return pa.RecordBatch.from_struct_array(pa.array([tuple(parameters)], struct))
    names = [str(place) for place in range(len(parameters))]
    return pa.RecordBatch.from_arrays([pa.array([value]) for value in parameters], names)


@lru_cache(1_000)
def _struct(kinds: tuple[type, ...]) -> pa.StructType | None:
    """The type of a row of parameters of these types; None: Arrow must find it. A name of an enumeration is a text."""
    types = [next((_TYPES[each] for each in kind.__mro__ if each in _TYPES), None) for kind in kinds]
    return None if None in types else pa.struct([(str(place), each) for place, each in enumerate(types)])


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
