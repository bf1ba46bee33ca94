"""SQLAlchemy over the ADBC driver, as the records and the rows of a chunk use it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs.adbc_sqlite import KEPT_CHARACTERS, KEPT_STATEMENTS, AdbcSqliteDialect
from jobs.database import Database
from jobs.uploads import Status

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
        ("wal_autocheckpoint", 8192),
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


def test_a_statement_that_failed_runs_again(database: Database) -> None:
    insertion = sa.insert(things).values(name="a").returning(things.c.id)
    with database.transaction() as connection:
        connection.execute(insertion)
        with pytest.raises(sa.exc.DBAPIError, match="UNIQUE constraint failed"):
            connection.execute(insertion)
        connection.execute(sa.delete(things))
        again = connection.execute(insertion).scalar_one()

    assert again == 1


def test_a_statement_runs_again_with_values_of_other_types(database: Database) -> None:
    values: list[dict[str, Any]] = [{"size": 1}, {"size": None}, {"size": 2**62}]
    with database.transaction() as connection:
        for each in values:
            connection.execute(sa.insert(things).values(each))
        selection = sa.select(things.c.size).where(things.c.id == sa.bindparam("id"))
        found = [connection.execute(selection, {"id": number}).scalar_one() for number in (1, 2, 3)]

    assert found == [1, None, 2**62]


def test_a_statement_runs_again_after_its_table_was_made_anew(database: Database) -> None:
    found = []
    with database.transaction() as connection:
        for type_, value in [("TEXT", "5"), ("BIGINT", 5)]:
            connection.exec_driver_sql(f"CREATE TEMP TABLE staged (number {type_})")
            connection.exec_driver_sql("INSERT INTO staged VALUES (?)", ("5",))
            found.append((connection.exec_driver_sql("SELECT number FROM staged").scalar_one(), value))
            connection.exec_driver_sql("DROP TABLE staged")

    assert [read for read, _ in found] == [value for _, value in found]


def test_more_statements_than_are_kept_run_twice_each(database: Database) -> None:
    with database.transaction() as connection:
        driver: Any = connection.connection.driver_connection
        statements = [f"SELECT {number} + ?" for number in range(KEPT_STATEMENTS + 5)]
        found = [connection.exec_driver_sql(each, (1,)).scalar_one() for each in 2 * statements]
        kept = len(driver._kept)
        connection.exec_driver_sql(f"SELECT '{'x' * KEPT_CHARACTERS}'")

    assert found == 2 * list(range(1, KEPT_STATEMENTS + 6))
    assert kept == KEPT_STATEMENTS == len(driver._kept)


def test_a_kept_statement_holds_no_lock(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute(sa.insert(things), [{"name": f"n{n}"} for n in range(3)])
    with database.reading() as connection, closing(sqlite3.connect(tmp_path / "things.db")) as other:
        connection.execute(sa.select(things.c.name)).first()
        connection.commit()
        other.execute("INSERT INTO things (name) VALUES ('a')")
        other.commit()
        [(busy, *_)] = other.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    assert busy == 0


def test_rows_that_an_insertion_left_out_or_left_alone_are_not_counted(database: Database) -> None:
    batch = pa.RecordBatch.from_pydict({"0": [1, 2, 3], "1": [1, 2, 3]})
    ignoring = "INSERT INTO things (id, size) VALUES (?, ?) ON CONFLICT DO NOTHING"
    changing = (
        "INSERT INTO things (id, size) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET size = excluded.size WHERE size <> excluded.size"
    )
    with database.transaction() as connection:
        driver: Any = connection.connection.driver_connection
        connection.execute(sa.insert(things).values(id=1, size=9))
        counts = [driver.insert(statement, batch) for statement in (ignoring, ignoring, changing, changing)]

    assert counts == [2, 0, 1, 0]


def test_parameters_of_any_type_are_bound(database: Database) -> None:
    values = [True, Status.FAILED, np.int64(3), 0.5, b"\0\xff", None, "é"]
    with database.reading() as connection:
        found = connection.exec_driver_sql(f"SELECT {', '.join('?' * len(values))}", tuple(values)).one()

    assert tuple(found) == (1, "failed", 3, 0.5, b"\0\xff", None, "é")
