"""Rows that go into their table, on both databases."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs import datasets, uploads, writer
from jobs.database import Database
from jobs.datasets import Dataset, Field, Schema
from jobs.errors import UnreadableFileError
from jobs.settings import Settings
from tests.conftest import store

TRUE_OR_FALSE = {"trueValues": ["yes"], "falseValues": ["no"]}

#: A column of each kind of value that the validator hands over.
FIELDS = [
    Field("text", "string"),
    Field("whole", "integer"),
    Field("decimal", "number"),
    Field("flag", "boolean", TRUE_OR_FALSE),
    Field("day", "date"),
    Field("moment", "datetime", {"format": "%Y-%m-%dT%H:%M:%SZ"}),
]
KINDS = [pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.string()]


def made(settings: Settings, database: Database, fields: list[Field]) -> Dataset:
    """A dataset of these fields, with nothing in it."""
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, "x"))
        return datasets.create(connection, "june", Schema(fields), upload.id)


def rows(*values: tuple[Any, ...], first: int = 1) -> pd.DataFrame:
    columns = list(zip(*values, strict=True)) or [()] * len(FIELDS)
    data = {
        field.name: pd.Series(list(column), dtype=pd.ArrowDtype(kind))
        for field, column, kind in zip(FIELDS, columns, KINDS, strict=True)
    }
    frame = pd.DataFrame(data)
    frame.index = pd.RangeIndex(first, first + len(frame))
    return frame


def stored(database: Database, dataset: Dataset) -> list[tuple[Any, ...]]:
    """The rows as the dataset's pages read them."""
    with database.reading() as connection:
        found = datasets.rows_after(connection, dataset, None, limit=100)
        return [(*position, *cells) for position, cells in found]


def test_each_kind_of_value_is_written_and_read_again(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS)
    with database.transaction() as connection:
        writer.write(
            connection, dataset, 7, rows(("Zoë", 1, 0.1, True, "2024-02-29", "2024-02-29T10:00:00Z"), first=41)
        )

    assert stored(database, dataset) == [(7, 41, "Zoë", "1", "0.1", "yes", "2024-02-29", "2024-02-29T10:00:00Z")]


def test_missing_values_are_missing_in_every_kind_of_column(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS)
    with database.transaction() as connection:
        writer.write(connection, dataset, 7, rows((None,) * 6, ("x", None, None, False, None, None)))
        table = dataset.table
        missing = connection.execute(sa.select(*(table.c[each.name].is_(None) for each in FIELDS))).all()

    assert [tuple(map(bool, row)) for row in missing] == [(True,) * 6, (False, True, True, False, True, True)]


#: What means something to a database, to CSV or to COPY.
TEXTS = [
    "a,b", '"', '""', "'", "\\", "\\.", "\\N", "\n\\.\n", "two\nlines", "two\r\nlines", "\r", "\t", " ", "NULL",
    "\u2028", "%s", ":p", "😀",
]  # fmt: skip


def test_no_text_means_anything_to_the_database(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS[:1])
    column = pd.Series(TEXTS, range(1, len(TEXTS) + 1), dtype=pd.ArrowDtype(pa.string()))
    with database.transaction() as connection:
        writer.write(connection, dataset, 7, pd.DataFrame({"text": column}))

    assert [(7, number, text) for number, text in enumerate(TEXTS, start=1)] == stored(database, dataset)


def test_no_rows_are_no_work(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS)
    with database.transaction() as connection:
        writer.write(connection, dataset, 7, rows())

    assert stored(database, dataset) == []


def test_rows_are_written_or_not_with_all_else_in_their_transaction(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS)

    def interrupted() -> None:
        with database.transaction() as connection:
            writer.write(connection, dataset, 7, rows(("x", 1, 0.1, True, None, None)))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()

    assert stored(database, dataset) == []


def test_a_row_cannot_be_written_twice(settings: Settings, database: Database) -> None:
    dataset = made(settings, database, FIELDS)

    def write() -> None:
        with database.transaction() as connection:
            writer.write(connection, dataset, 7, rows(("x", 1, 0.1, True, None, None)))

    write()
    with pytest.raises(Exception, match=r"(?i)unique"):
        write()

    assert len(stored(database, dataset)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_row_too_wide_for_postgresql_is_refused_with_what_to_do(settings: Settings, database: Database) -> None:
    wide = [Field(f"c{n}", "integer") for n in range(1200)]
    dataset = made(settings, database, wide)
    row = pd.DataFrame({each.name: pd.Series([1], [1], dtype=pd.ArrowDtype(pa.int64())) for each in wide})

    with (
        pytest.raises(UnreadableFileError, match=r"too wide for PostgreSQL: .* Split the file into several with fewer"),
        database.transaction() as connection,
    ):
        writer.write(connection, dataset, 7, row)

    assert stored(database, dataset) == []
