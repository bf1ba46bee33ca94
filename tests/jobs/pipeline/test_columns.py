"""Writing columns with each driver."""

from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.pipeline import columns
from jobs.rows.sql_table import SqlTable
from tests.support.databases import Databases

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("name", sa.Text),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("paid", sa.Boolean),
    sa.Column("weight", sa.Double),
    sa.Column("day", sa.Date().with_variant(sa.Text(), "sqlite")),
    sa.Column("moment", sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")),
    sa.Column("local", sa.DateTime().with_variant(sa.Text(), "sqlite")),
    sa.Column("clock", sa.Time().with_variant(sa.Text(), "sqlite")),
)
MOMENTS: list[tuple[str | None, ...]] = [
    ("2024-02-29", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00", "10:00:00"),
    ("0001-01-01", "0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999", "23:59:59.999999"),
    (None, None, None, None),
]
ROWS: list[tuple[Any, ...]] = [
    ('a "quoted", é\n', 1, True, 0.1, *MOMENTS[0]),
    ("", 2, False, -1e300, *MOMENTS[1]),
    (None, 2**62, None, None, *MOMENTS[2]),
]


@pytest.fixture(params=["sqlite3", "adbc", "postgresql", "postgresql without pgpq"])
def database(
    request: pytest.FixtureRequest, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'things.db'}"
    if request.param.startswith("postgresql"):
        if "without" in request.param:
            monkeypatch.setattr(columns, "pgpq", None)
        url = databases.empty()
    database = Database(url, bulk=request.param == "adbc")
    with database.transaction() as connection:
        things.create(connection)
    yield database
    database.close()


def packed(database: Database, rows: list[tuple[Any, ...]]) -> columns.Packed:
    kinds = [pa.string(), pa.int64(), pa.bool_(), pa.float64(), *[pa.string()] * 4]
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return columns.pack(table(database), pa.RecordBatch.from_arrays(arrays, things.columns.keys()))


def table(database: Database) -> SqlTable:
    return SqlTable(database.engine.dialect, "things", {column.name: column.type for column in things.columns})


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        rows = connection.execute(sa.select(things).order_by(things.c.size))
        return [tuple(_as_text(value) for value in row) for row in rows]


def _as_text(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, date | time) else value


def test_values_survive_a_round_trip(database: Database) -> None:
    rows = packed(database, ROWS)
    with database.transaction() as connection:
        columns.add(connection, table(database), rows)

    assert stored(database) == ROWS
    assert len(ROWS) == len(rows)


def test_a_failed_transaction_writes_nothing(database: Database) -> None:
    def add_and_fail() -> None:
        with database.transaction() as connection:
            columns.add(connection, table(database), packed(database, ROWS))
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        add_and_fail()

    assert stored(database) == []


def test_a_row_that_violates_a_constraint_raises_an_error(database: Database) -> None:
    def add_twice() -> None:
        with database.transaction() as connection:
            columns.add(connection, table(database), packed(database, ROWS + ROWS[:1]))

    with pytest.raises(Exception, match=r"(?i)unique"):
        add_twice()

    assert stored(database) == []


ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql", "postgresql without pgpq"], indirect=True)


@ON_POSTGRESQL
@pytest.mark.parametrize("size", [1, 3_000])
def test_several_batches_are_inserted_together(database: Database, size: int) -> None:
    """However large they are: the encoder gives large ones out in several pieces."""
    rows = [("word" * 20, n, None, -1.0, *MOMENTS[0]) for n in range(4 * size)]
    with database.transaction() as connection, columns.Copy(connection, table(database)) as copy:
        copy.end()  # there is nothing to insert yet
        for start in range(0, len(rows), size):
            copy.add(copied(packed(database, rows[start : start + size])))
            if start == size:
                copy.end()

    assert stored(database) == rows


@ON_POSTGRESQL
def test_what_raises_among_batches_is_not_hidden_by_what_becomes_of_the_rows(database: Database) -> None:
    rows = [("word", n, None, -1.0, *MOMENTS[0]) for n in range(3_000)]  # so many that the server inserts some at once

    def add_twice_and_fail() -> None:
        with database.transaction() as connection, columns.Copy(connection, table(database)) as copy:
            for _ in range(2):
                copy.add(copied(packed(database, rows)))
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        add_twice_and_fail()

    assert stored(database) == []


def copied(found: columns.Packed) -> columns.Copied:
    assert found.copied is not None
    return found.copied


@pytest.mark.parametrize("database", ["sqlite3", "adbc"], indirect=True)
def test_numbers_are_found_for_each_of_many_rows_and_of_none(database: Database) -> None:
    sizes = range(0, 100_000, 2)
    rows = pa.RecordBatch.from_pydict({"number": list(range(100_000)), "weight": [0.5 * n for n in range(100_000)]})
    statement = "SELECT ?1 AS number, weight IS ?2 AS same FROM things WHERE size = ?1"
    with database.transaction() as connection:
        connection.execute(things.insert(), [{"size": n, "weight": 0.5 * n if n % 3 else None} for n in sizes])
        numbers, same = columns.whole_numbers_of_each(connection, statement, rows, ["number", "same"])
        none = columns.whole_numbers_of_each(connection, statement, rows.slice(0, 0), ["number", "same"])
        missing = columns.whole_numbers_of_each(connection, statement, rows.slice(1, 1), ["number", "same"])

    assert numbers.tolist() == list(sizes)
    assert same.tolist() == [int(n % 3 > 0) for n in sizes]
    assert [len(each) for each in (*none, *missing)] == [0, 0, 0, 0]
