"""Columns that become rows, by each driver."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs import columns
from jobs.database import Database
from tests.services import PostgresServer

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("name", sa.Text),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("paid", sa.Boolean),
    sa.Column("weight", sa.Double),
)
ROWS: list[tuple[Any, ...]] = [
    ('a "quoted", é\n', 1, True, 0.1),
    ("", 2, False, -1e300),
    (None, 2**62, None, None),
]


@pytest.fixture(params=["sqlite3", "adbc", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'things.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("_postgres_of_session")
        url = server.create()
    database = Database(url, bulk=request.param == "adbc")
    with database.transaction() as connection:
        things.create(connection)
    yield database
    database.close()


def packed(database: Database, rows: list[tuple[Any, ...]]) -> columns.Packed:
    kinds = [pa.string(), pa.int64(), pa.bool_(), pa.float64()]
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return columns.pack(database.engine.dialect, pa.RecordBatch.from_arrays(arrays, things.columns.keys()))


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(things).order_by(things.c.size))]


def test_each_value_is_what_it_was(database: Database) -> None:
    rows = packed(database, ROWS)
    with database.transaction() as connection:
        columns.add(connection, things, rows)

    assert stored(database) == ROWS
    assert len(ROWS) == len(rows)


def test_columns_are_gone_with_a_transaction_that_fails(database: Database) -> None:
    def add_and_fail() -> None:
        with database.transaction() as connection:
            columns.add(connection, things, packed(database, ROWS))
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        add_and_fail()

    assert stored(database) == []


def test_a_row_that_breaks_a_rule_of_the_table_is_an_error(database: Database) -> None:
    def add_twice() -> None:
        with database.transaction() as connection:
            columns.add(connection, things, packed(database, ROWS + ROWS[:1]))

    with pytest.raises(Exception, match=r"(?i)unique"):
        add_twice()

    assert stored(database) == []
