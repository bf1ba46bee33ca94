"""Databases of both kinds for tests. One of each kind is migrated; the others are copies of it."""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import row_excerpts
from jobs.database import migrate
from jobs.datasets import Dataset, Position, Row
from jobs.rows.sql_table import run
from jobs.settings import Settings
from tests.support.services import PostgresServer

#: For tests of what does not depend on the kind of database.
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
#: For tests of what does, in rooms whose other tests have one kind.
BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


class Databases:
    """Makes databases, PostgreSQL's on a server that starts with the first of them."""

    def __init__(self, folder: Path) -> None:
        """folder: for what is copied."""
        self._folder = folder
        self._postgres: PostgresServer | None = None

    def empty(self) -> str:
        """The URL of a PostgreSQL database without tables. For SQLite, name a file that does not exist."""
        if self._postgres is None:
            self._postgres = PostgresServer()
        return self._postgres.create()

    def migrated(self, kind: str, folder: Path) -> str:
        """The URL of a database of the newest schema. folder: where SQLite's file is."""
        if kind == "postgresql":
            template = self._postgres_template
            assert self._postgres is not None
            return self._postgres.create(template)
        folder.mkdir(parents=True, exist_ok=True)
        path = shutil.copy(self._sqlite_template, folder / "bulk_upload.db")
        return f"sqlite:///{path}"

    @cached_property
    def _sqlite_template(self) -> Path:
        path = self._folder / "template.db"
        migrate(Settings(data=self._folder, database_url=f"sqlite:///{path}"))
        return path

    @cached_property
    def _postgres_template(self) -> str:
        """The name of the database that others are copies of."""
        url = self.empty()
        migrate(Settings(data=self._folder, database_url=url))
        return url.rpartition("/")[2]

    def drop(self, url: str) -> None:
        """Drop a PostgreSQL database, whoever is still connected. SQLite's file goes with its folder."""
        if self._postgres is not None and url.startswith("postgresql"):
            self._postgres.drop(url)

    def remove(self) -> None:
        if self._postgres is not None:
            self._postgres.remove()


def insert_rows(connection: sa.Connection, dataset: Dataset, *rows: dict[str, Any], upload_id: int = 1) -> None:
    """Insert rows into a dataset's table, unvalidated, numbered from 1. rows: field → value; a missing one is null."""
    table = dataset.table(connection.dialect)
    for number, row in enumerate(rows, 1):
        values = {"_upload_id": upload_id, "_row_number": number, **row}
        run(connection, table.insertion(), *map(values.get, table.columns))


def rows_before(connection: sa.Connection, dataset: Dataset, position: Position, *, limit: int) -> list[Row]:
    """The last rows before a position, in order, as pages show them."""
    return list(row_excerpts.read(connection, dataset, dataset.schema.fields, position, limit=limit, backwards=True))[
        ::-1
    ]
