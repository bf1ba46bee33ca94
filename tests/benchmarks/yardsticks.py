"""What we are measured against: each database's own tool, loading a file into the same typed table with its key."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from jobs.datasets import column_type
from jobs.schema import TableSchema
from tests.benchmarks import data
from tests.support.services import PostgresServer
from tests.support.waiting import until

TABLE = "plain"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"{name} is missing, against which this is measured.")
    return found


def _created(dialect: sa.Dialect, *, with_rowid: bool = False) -> str:
    """The table's statement: the dataset's columns and key, without the two that say where a row is from."""
    schema = TableSchema.parse(data.SCHEMA)
    columns = [sa.Column(each.name, column_type(each)) for each in schema.fields]
    key = sa.PrimaryKeyConstraint(*schema.primary_key)
    table = sa.Table(TABLE, sa.MetaData(), *columns, key, sqlite_with_rowid=with_rowid)
    return str(CreateTable(table).compile(dialect=dialect))


def sqlite_import(folder: Path, file: Path, *, with_rowid: bool) -> float:
    """Seconds that `sqlite3 .import` takes, as a process. The same journal and `synchronous` as ours."""
    database = folder / "plain.db"
    script = "\n".join(
        [
            "PRAGMA journal_mode=WAL;",
            "PRAGMA synchronous=NORMAL;",
            f"{_created(sqlite.dialect(), with_rowid=with_rowid)};",
            f".import --csv --skip 1 '{file}' {TABLE}",
        ]
    )
    started = time.perf_counter()
    subprocess.run(
        [program("sqlite3"), "-batch", database], input=script.encode(), stdout=subprocess.DEVNULL, check=True
    )
    seconds = time.perf_counter() - started
    for left in folder.glob("plain.db*"):
        left.unlink()
    return seconds


def postgresql_copy(url: str, file: Path) -> float:
    r"""Seconds that `psql \copy` takes, as a process."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_created(postgresql.dialect()).encode())  # type: ignore[no-untyped-call]  # SQLAlchemy's
    command = rf"\copy {TABLE} from '{file}' csv header"
    started = time.perf_counter()
    subprocess.run([program("psql"), "-qX", url, "-c", command], check=True)
    return time.perf_counter() - started


class DurablePostgres(PostgresServer):
    """A throwaway cluster with PostgreSQL's own settings: a commit waits for the disk, as it does in production."""

    def _begin(self) -> subprocess.Popen[bytes]:
        options = ["-h", "127.0.0.1", "-p", str(self._port), "-k", ""]
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data", *options], cwd=self._folder, user=self._user, stderr=log
            )
        until(self._answers, "PostgreSQL to answer")
        return process

    def drop(self, url: str) -> None:
        """Remove a database that was created here."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{url.rsplit("/", 1)[1]}"'.encode())

    @property
    def version(self) -> str:
        with psycopg.connect(self._url("postgres")) as connection:
            return f"PostgreSQL {connection.info.server_version // 10_000}"
