"""Rows as JSON lines, as the database's own function writes an object."""

import json
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.export.blocks import Blocks
from jobs.export.json_rows import json_format
from jobs.rows.selection import ALL
from jobs.schema import TableSchema
from tests.support.databases import insert_rows

FIELDS: list[dict[str, Any]] = [
    {"name": "text"},
    {"name": "count", "type": "integer"},
    {"name": "price", "type": "number", "decimals": 2},
    {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
    {"name": "day", "type": "date", "format": "%d.%m.%Y"},
    {"name": "seen", "type": "datetime"},
    {"name": "at", "type": "time"},
]
TEXTS = [
    "", "a", 'say "hello"', "\\", "\\n", "two\r\nlines", "\t\b\f\x01\x02\x1f\x7f", "é 数 😀", "%s", "null", "</p>",
    "\u2028",
]  # fmt: skip
NAMES = ["%(x)s", "%s", "%%", '"', "a,b", "'", "?", ":x", "\\", "{}", "数"]


def exported(database: Database, dataset: Dataset, *, provenance: bool) -> list[str]:
    dialect = database.engine.dialect
    made = json_format(dialect, dataset, provenance=provenance)
    text = b"".join(Blocks(database, dataset.table(dialect), ALL, made)).decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def check(database: Database, fields: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """The rows come as json.dumps writes them."""
    stored = [{name: as_stored(value) if database.is_sqlite else value for name, value in row.items()} for row in rows]
    with database.transaction() as connection:
        dataset = datasets.declare(connection, "sales", TableSchema.parse({"fields": fields}), Mode.INSERT)
        insert_rows(connection, dataset, *stored)
    try:
        for provenance in (False, True):
            expected = [
                {field["name"]: as_stored(row.get(field["name"])) for field in fields}
                | ({"_upload_id": 1, "_row_number": number} if provenance else {})
                for number, row in enumerate(rows, 1)
            ]
            found = exported(database, dataset, provenance=provenance)

            assert found == [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in expected]
    finally:
        with database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM datasets")
            connection.exec_driver_sql("DROP TABLE data_sales")


def as_stored(value: Any) -> Any:
    """As the import stores it in SQLite, and JSON has it."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, date | time) else value


def test_each_type(migrated: Database) -> None:
    row = {
        "text": "x",
        "count": 2**63 - 1,
        "price": -1234.5,
        "paid": True,
        "day": date(2024, 2, 29),
        "seen": datetime(2026, 1, 31, 9, 5, 7, tzinfo=UTC),
        "at": time(9, 5, 7),
    }
    fraction = {"seen": datetime(1, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC), "at": time(23, 59, 59, 1), "paid": False}
    check(migrated, FIELDS, [row, {}, row | fraction, {"text": "y"}, {"count": -1, "price": 0.1}])


def test_any_text(migrated: Database) -> None:
    check(migrated, [{"name": "a"}, {"name": "b"}], [{"a": text, "b": "x"} for text in TEXTS])


def test_columns_may_have_any_names(migrated: Database) -> None:
    check(migrated, [{"name": name} for name in NAMES], [{name: name for name in NAMES}, {}])


@pytest.mark.parametrize("count", [1, 49, 50, 51, 98, 99, 100, 250])
def test_more_columns_than_a_function_has_arguments(migrated: Database, count: int) -> None:
    fields = [{"name": f"n{number}", "type": "integer"} for number in range(count)]
    check(migrated, fields, [{f"n{number}": number for number in range(count)}, {}])


def test_no_row_at_all(migrated: Database) -> None:
    check(migrated, [{"name": "a"}], [])
