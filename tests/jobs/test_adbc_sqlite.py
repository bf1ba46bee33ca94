"""SQLAlchemy over the ADBC driver, as the records and the rows of a chunk use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs.adbc_sqlite import AdbcSqliteDialect
from jobs.database import Database

metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, unique=True),
    sa.Column("size", sa.BigInteger),
    sa.Column("weight", sa.Double),
    sa.Column("notes", sa.JSON),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'things.db'}", bulk=True)
    with database.transaction() as connection:
        metadata.create_all(connection)
    yield database
    database.close()


def test_values_are_read_back_with_the_types_they_were_written_with(database: Database) -> None:
    values: list[dict[str, Any]] = [
        {"name": "é 😀 'quoted' \"twice\"", "size": 2**62, "weight": 0.1, "notes": ["a", {"b": None}]},
        {"name": "", "size": -1, "weight": -1e300, "notes": []},
        {"name": None, "size": None, "weight": None, "notes": None},
    ]
    with database.transaction() as connection:
        for each in values:
            connection.execute(sa.insert(things).values(each))
    with database.reading() as connection:
        rows = connection.execute(sa.select(things).order_by(things.c.id)).mappings().all()

    assert [{"id": number, **each} for number, each in enumerate(values, start=1)] == [dict(row) for row in rows]


def test_a_change_returns_the_rows_it_made(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(things).values(name="a", size=1))
        grown = sa.update(things).where(things.c.name == "a").values(size=things.c.size + 1).returning(things.c.size)
        found = connection.execute(grown).scalar_one()
        missed = connection.execute(grown.where(things.c.size > 9)).one_or_none()

    assert (found, missed) == (2, None)


def test_executemany_inserts_many_rows(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(things), [{"name": f"n{n}", "size": n} for n in range(5000)])
        total = connection.execute(sa.select(sa.func.count(), sa.func.sum(things.c.size))).one()

    assert (5000, sum(range(5000))) == tuple(total)


def test_arrow_columns_are_bound_as_they_are(database: Database) -> None:
    batch = pa.RecordBatch.from_pydict({"0": [1, 2], "1": ["é", None], "2": [None, 2**62], "3": [0.5, None]})
    with database.transaction() as connection:
        driver: Any = connection.connection.driver_connection
        driver.insert("INSERT INTO things (id, name, size, weight) VALUES (?, ?, ?, ?)", batch)
    with database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT id, name, size, weight FROM things ORDER BY id").all()

    assert [tuple(row) for row in rows] == [(1, "é", None, 0.5), (2, None, 2**62, None)]


def test_a_rollback_removes_rows_bound_from_arrow(database: Database) -> None:
    def interrupted() -> None:
        with database.transaction() as connection:
            driver: Any = connection.connection.driver_connection
            driver.insert("INSERT INTO things (id) VALUES (?)", pa.RecordBatch.from_pydict({"0": [1, 2]}))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    with database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(things)).scalar_one() == 0


def test_a_result_may_be_read_in_any_portions(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(things), [{"name": f"n{n}", "size": n} for n in range(5)])
        result = connection.execute(sa.select(things.c.size).order_by(things.c.id))
        portions = [result.fetchone(), result.fetchmany(2), result.fetchall(), result.fetchall()]

    assert portions == [(0,), [(1,), (2,)], [(3,), (4,)], []]


def test_a_unique_violation_raises_a_database_error(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(things).values(name="a"))

    def again() -> None:
        with database.transaction() as connection:
            connection.execute(sa.insert(things).values(name="a"))

    with pytest.raises(sa.exc.DBAPIError, match="UNIQUE constraint failed"):
        again()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("page_size", 16384),
        ("journal_mode", "wal"),
        ("synchronous", 1),
        ("busy_timeout", 30000),
        ("foreign_keys", 1),
        ("wal_autocheckpoint", 4096),
    ],
)
def test_every_connection_is_set_up(database: Database, pragma: str, value: str | int) -> None:
    with database.reading() as first, database.reading() as second:
        found = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() for connection in (first, second)]

    assert [value, value] == found


def test_the_dialect_reads_the_version_of_the_bundled_sqlite(database: Database) -> None:
    with database.reading() as connection:
        version: str = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()

    assert tuple(int(part) for part in version.split(".")) == AdbcSqliteDialect.import_dbapi().sqlite_version_info
