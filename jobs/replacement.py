"""Replacement: an upload whose rows take the place of all rows of its dataset.

The rows go chunk by chunk into a staging table beside that of the dataset, as in any import. One transaction then gives
the dataset's table another name, under which it is kept for some days (before_images.py), gives its name to the staging
table and completes the upload. So readers see the old rows until then, and whatever ends the upload before leaves them
as they were. The staging table of an upload that is over is removed by whoever ended it, or by the sweeper.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.errors import DatasetTakenError
from jobs.rows.sql_table import SqlTable, quoted, run
from jobs.traces import before_images, write_order
from jobs.traces.before_images import Lost

#: Seconds that the exchange waits for whoever reads the old table, on PostgreSQL, while everybody who comes later waits
#: behind it; and seconds until it tries again.
LOCK_SECONDS, PAUSE = 2, 1.0
#: Seconds that the exchange waits at most for transactions that began before the last rows were written, on PostgreSQL:
#: one that looks at the table only afterwards would miss these.
PATIENCE = 5.0
#: What PostgreSQL reports if a statement waited for a lock for too long.
_LOCK_NOT_AVAILABLE = "55P03"
#: No table of a dataset has such a name.
_STAGING = re.compile(r"staging_(\d+)")


@dataclass(frozen=True)
class Replacement:
    """Of the rows of one dataset by those of one upload."""

    dataset: Dataset
    upload_id: int

    def table(self, dialect: sa.Dialect) -> SqlTable:
        """The staging table."""
        return self.dataset.table(dialect, f"staging_{self.upload_id}")

    def begin(self, connection: sa.Connection) -> None:
        """Create an empty staging table, in place of that of an earlier run."""
        table = self.table(connection.dialect)
        run(connection, table.dropping(if_exists=True))
        run(connection, table.creation())

    def end(self, connection: sa.Connection, rows: int, *, keeps_former: bool) -> int:
        """Put the staging table in the place of the dataset's. rows: that it has. keeps_former: the table that it
        replaces. Returns how many rows are gone.

        Raises DatasetTakenError while another upload is imported into the dataset, or somebody reads it.
        """
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        name = self.dataset.name
        try:
            found = datasets.lock(connection, name)
            if uploads.imported_meanwhile(connection, name, self.upload_id):
                raise DatasetTakenError(name)
            gone = datasets.row_count(connection, found)
            former = found.table(connection.dialect)
            if keeps_former and gone:
                run(connection, former.renaming(before_images.replaced_name(self.upload_id)))
            else:
                run(connection, former.dropping())
            run(connection, self.table(connection.dialect).renaming(found.table_name))
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise DatasetTakenError(name) from error
            raise
        if gone:
            lost = None if keeps_former else Lost.OFF
            before_images.record(
                connection, self.upload_id, name, replaced=gone, images=None, is_table=keeps_former, lost=lost
            )
        stamp = datasets.count_replaced(connection, name, rows, by=self.upload_id)
        write_order.record(connection, self.upload_id, 1, stamp)
        return gone


def wait_for_readers(database: Database, tick: Callable[[], None]) -> None:
    """Wait a while for transactions that began before this moment. tick: called meanwhile."""
    if database.is_sqlite:
        return
    others = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL"
        " AND xact_start < :begun AND pid <> pg_backend_pid()"
    )
    with database.engine.connect() as connection:
        begun = connection.scalar(sa.text("SELECT clock_timestamp()"))
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with database.engine.connect() as connection:
            if not connection.scalar(others, {"begun": begun}):
                return
        tick()
        time.sleep(0.05)


def discard(connection: sa.Connection, upload_id: int) -> bool:
    """Remove the staging table of an upload, unless that is waiting or running, or a person decides what becomes of its
    rows. Returns whether there was one."""
    upload = uploads.lock(connection, [upload_id]).get(upload_id)
    if (upload is not None and (upload.is_active or upload.holds_totals)) or upload_id not in staged(
        connection, upload_id
    ):
        return False
    run(connection, f"DROP TABLE IF EXISTS {quoted(f'staging_{upload_id}')}")
    return True


def staged(connection: sa.Connection, upload_id: int | None = None) -> list[int]:
    """The uploads that have a staging table, or only this one."""
    pattern = "staging\\_%" if upload_id is None else f"staging\\_{upload_id:d}"
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE :pattern ESCAPE '\\'"
    else:
        query = (
            "SELECT tablename FROM pg_tables WHERE schemaname = ANY(current_schemas(false)) AND tablename LIKE :pattern"
        )
    names = connection.execute(sa.text(query), {"pattern": pattern}).scalars()
    return [int(found[1]) for name in names if (found := _STAGING.fullmatch(name))]
