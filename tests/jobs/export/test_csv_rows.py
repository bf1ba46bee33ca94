"""Rows as CSV, byte for byte as csv.writer writes the cells that `spelling` spells."""

import csv
import io
from datetime import UTC, date, datetime, time
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import datasets
from jobs.corrections import escape_formula
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.export import blocks, sqlite_lines
from jobs.export.blocks import Blocks
from jobs.export.csv_rows import csv_format
from jobs.rows.selection import ALL
from jobs.schema import TableSchema
from tests.support.databases import insert_rows


def as_rows(dataset: Dataset, connection: sa.Connection, *, is_raw: bool, provenance: bool) -> bytes:
    """The same rows, spelled and written cell by cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    escape = str if is_raw else escape_formula
    own = ["_upload_id", "_row_number"] if provenance else []
    writer.writerow([*map(escape, dataset.schema.names), *own])
    for row in list(datasets.each_after(connection, dataset, None, limit=100_000)):
        writer.writerow([*map(escape, row.cells), *([row.upload_id, row.row_number] if provenance else [])])
    return text.getvalue().encode()


def exported(dataset: Dataset, database: Database, *, is_raw: bool, provenance: bool) -> bytes:
    made = csv_format(database.engine.dialect, dataset, is_raw=is_raw, provenance=provenance)
    return b"".join(Blocks(database, dataset.table(database.engine.dialect), ALL, made))


def check(database: Database, fields: list[dict[str, Any]], rows: list[dict[str, Any]], **more: Any) -> None:
    """Every way to export these rows."""
    schema = TableSchema.parse({"fields": fields, **more})
    mode = Mode.UPSERT if schema.primary_key else Mode.INSERT
    if database.is_sqlite:
        rows = [{name: as_stored(value) for name, value in row.items()} for row in rows]
    with database.transaction() as connection:
        dataset = datasets.declare(connection, "sales", schema, mode)
        insert_rows(connection, dataset, *rows)
    try:
        for is_raw in (True, False):
            for provenance in (False, True):
                with database.reading() as connection:
                    expected = as_rows(dataset, connection, is_raw=is_raw, provenance=provenance)
                assert exported(dataset, database, is_raw=is_raw, provenance=provenance) == expected
    finally:
        with database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM datasets")
            connection.exec_driver_sql("DROP TABLE data_sales")


def as_stored(value: Any) -> Any:
    """As the import stores it in SQLite."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, date | time) else value


TEXTS = [
    "", " ", "a", "a,b", 'say "hello"', "two\nlines", "two\r\nlines", "\r", "\n", '"', '""', ",", ";", "\t", "'",
    "NULL", "\\.", "\\N", "\\", "%s", "%", " x ", "é", "数", "😀", "\x01", "\x02", "\x1f", "\u2028", "=1+1",
    "-5", "-2+3", "+1", "@x",
    "\t=1", "x;=1", "x\n@a", "\uff1d1", "'=1", '"=1', "1;-2", "-1.5;+2", "''\t1", "a=b", "-", "0", "007", "t", "f", "€",
]  # fmt: skip
NUMBERS = [
    0.0, 1.0, -1.0, 1.5, -0.5, 0.1, 1e-4, 9.9e-5, -1e-5, 123456789012345.0, 999999999999999.0, 1e15, 1e16, -1e22, 1.25,
    1.125, 0.001, 1e-7, 1.7976931348623e308, 2.2250738585072e-308, 100000.0, 1234567.891, 0.999999999999999, 12.10,
    -80064010249527.1, 82237611352.398, 9999999999999.99, 99999999999999.9, 0.00000000000001,
]  # fmt: skip
DAYS = [date(1, 1, 1), date(999, 12, 31), date(2026, 1, 5), date(2024, 2, 29), date(9999, 12, 31), date(2026, 11, 10)]
TIMES = [time(0, 0), time(9, 5, 7), time(12, 0, 1), time(23, 59, 59), time(9, 5, 7, 500_000), time(9, 5, 7, 1)]
MOMENTS = [datetime.combine(day, moment) for day, moment in zip(DAYS, TIMES, strict=True)]


def column(values: list[Any]) -> list[dict[str, Any]]:
    """Rows with these values, then one without any."""
    return [{"a": value, "b": "x"} for value in values] + [{"a": None, "b": None}]


B = {"name": "b"}


@pytest.mark.parametrize(
    "field",
    [{}, {"missingValues": ["", "NA"], "missingAs": "NA"}, {"missingValues": ["a,b"]}, {"missingValues": ["=1"]}],
)
def test_text_is_quoted_and_escaped_where_it_must_be(migrated: Database, field: dict[str, Any]) -> None:
    check(migrated, [{"name": "a", **field}, B], column(TEXTS))


@pytest.mark.parametrize("text", [*TEXTS, "plain"])
def test_one_such_text_among_others(migrated: Database, text: str) -> None:
    check(migrated, [{"name": "a"}, B], [*column(["x"] * 3), *column([text]), *column(["y"] * 3)])


@pytest.mark.parametrize("text", TEXTS)
def test_a_row_of_one_cell(migrated: Database, text: str) -> None:
    check(migrated, [{"name": "a"}], [{"a": text}, {"a": None}, {"a": "x"}])


@pytest.mark.parametrize("field", [{}, {"missingValues": ["", "-"], "missingAs": "-"}])
def test_integers(migrated: Database, field: dict[str, Any]) -> None:
    values = [0, 1, -1, 2**63 - 1, -(2**63), 1_000_000]
    check(migrated, [{"name": "a", "type": "integer", **field}, B], column(values))
    check(migrated, [{"name": "a", "type": "integer", **field}], [{"a": value} for value in [*values, None]])


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"missingValues": ["", "n/a"], "missingAs": "n/a"},
        {"decimals": 2},
        {"decimals": 2, "decimalChar": ","},
        {"decimalChar": ","},
        {"decimals": 1, "decimalChar": "·"},
        {"decimals": 14},
        {"groupChar": ",", "decimals": 2},
        {"groupChar": ".", "decimalChar": ","},
        {"prefix": "$", "bareNumber": False, "decimals": 2},
        {"suffix": " %", "bareNumber": False},
        {"prefix": "=", "bareNumber": False},
        {"prefix": '"', "bareNumber": False},
        {"prefix": "100%s".replace("100", ""), "bareNumber": False, "missingValues": ["%"], "missingAs": "%"},
        {"exponent": "auto"},
        {"exponent": "short"},
        {"exponent": "E", "decimals": 3},
    ],
)
def test_numbers(migrated: Database, field: dict[str, Any]) -> None:
    check(migrated, [{"name": "a", "type": "number", **field}, B], column(NUMBERS))


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"trueValues": ["ja"], "falseValues": ["nein"]},
        {"trueValues": ["a,b"], "falseValues": ['"']},
        {"trueValues": ["=1"], "falseValues": ["%s"], "missingValues": ["?"]},
        {"trueValues": ["x"], "falseValues": [""]},
    ],
)
def test_booleans(migrated: Database, field: dict[str, Any]) -> None:
    check(migrated, [{"name": "a", "type": "boolean", **field}, B], column([True, False]))


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"format": "%d.%m.%Y"},
        {"format": "%m/%d/%Y", "unpadded": "dm"},
        {"format": "%d %B %Y", "unpadded": "d"},
        {"format": "%d-%b-%Y"},
        {"format": "%B %d, %Y"},
        {"format": '%Y "%m" %d'},
        {"format": "%Y%m%d", "missingValues": ["", "00000000"], "missingAs": "00000000"},
        {"format": "=%Y-%m-%d"},
        {"format": "%Y;@%m;%d"},
        {"format": "%Y\\%m'%d"},
    ],
)
def test_dates(migrated: Database, field: dict[str, Any]) -> None:
    check(migrated, [{"name": "a", "type": "date", **field}, B], column(DAYS))


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"format": "%Y-%m-%d %H:%M:%S"},
        {"format": "%Y-%m-%dT%H:%M:%SZ"},
        {"format": "%d.%m.%Y %H:%M", "unpadded": "dmH"},
        {"format": "%d-%b-%Y %I:%M %p", "unpadded": "I"},
        {"format": "%Y-%m-%d %H:%M:%S.%f"},
        {"format": "%Y-%m-%d %H:%M:%S.%f", "decimals": 3},
        {"format": "%Y-%m-%d %H:%M:%S %z"},
        {"format": "%Y-%m-%dT%H:%M:%S%z", "offset": "+01:00"},
    ],
)
def test_moments(migrated: Database, field: dict[str, Any]) -> None:
    is_in_utc = field.get("format", "Z").endswith(("Z", "%z"))
    moments = MOMENTS if "offset" not in field else MOMENTS[1:-2]
    values = [moment.replace(tzinfo=UTC) for moment in moments] if is_in_utc else moments
    check(migrated, [{"name": "a", "type": "datetime", **field}, B], column(values))


@pytest.mark.parametrize(
    "field", [{}, {"format": "%H:%M"}, {"format": "%I:%M:%S %p", "unpadded": "I"}, {"format": "%H:%M:%S.%f"}]
)
def test_times(migrated: Database, field: dict[str, Any]) -> None:
    check(migrated, [{"name": "a", "type": "time", **field}, B], column(TIMES))


def test_rows_come_in_the_order_of_the_key(migrated: Database) -> None:
    fields = [{"name": "code"}, {"name": "day", "type": "date"}, {"name": "sum", "type": "number"}]
    rows = [
        {"code": code, "day": date(2026, 1, day), "sum": number / 2}
        for number, (code, day) in enumerate([("b", 2), ("a", 3), ("a", 2), ("ü", 1), ("a,", 1), ("A", 1)])
    ]
    check(migrated, fields, rows, primaryKey=["day", "code"])


NAMES = ["%(x)s", "%s", "%%", '"', "a,b", "'", "=1", "?", ":x", "c0", "c1", "rows", "数", "\\", "{}", "x;-1", "1"]


def test_columns_may_have_any_names(migrated: Database) -> None:
    row = {name: f"{number}, {name}" for number, name in enumerate(NAMES)}
    check(migrated, [{"name": name} for name in NAMES], [row, {}])
    check(migrated, [{"name": name} for name in NAMES], [row], primaryKey=["%(x)s", "?", '"'])


def test_more_columns_than_a_function_has_arguments(migrated: Database) -> None:
    for count in (99, 100, 101, 250):
        fields = [{"name": f"n{number}", "type": "integer"} for number in range(count)]
        check(migrated, fields, [{f"n{number}": number for number in range(count)}, {}, {"n7": 7}])


def test_columns_with_long_names(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_lines, "LONG_NAMES", 0)
    check(migrated, [{"name": name} for name in NAMES], [{name: f"{name}, 1" for name in NAMES}, {}])


def test_a_row_with_as_many_and_as_long_names_as_possible(migrated: Database) -> None:
    # psycopg takes 0.2 s for a statement with 29 percent signs in each name, and each export has several.
    names = [f"{number:04}%{'x' * 28}{chr(34) * 30}" for number in range(1_400)]
    check(migrated, [{"name": name} for name in names], [{names[3]: 'a, "b"', names[-1]: "=1"}])


def test_only_a_few_exports_have_large_blocks(migrated: Database) -> None:
    with migrated.transaction() as connection:
        dataset = datasets.declare(connection, "sales", TableSchema.parse({"fields": [B]}), Mode.INSERT)
    made = csv_format(migrated.engine.dialect, dataset, is_raw=True, provenance=False)
    begun = [
        (each, iter(each))
        for each in [Blocks(migrated, dataset.table(migrated.engine.dialect), ALL, made) for _ in range(6)]
    ]
    for _, iterator in begun:
        next(iterator)
    sizes = [each._most for each, _ in begun]
    for _, iterator in begun:
        assert list(iterator) == [b""]
    again = Blocks(migrated, dataset.table(migrated.engine.dialect), ALL, made)
    assert list(again) == [b"b\r\n", b""]

    assert sizes == [blocks.BLOCK_BYTES] * 4 + [blocks.SMALL_BLOCK_BYTES] * 2
    assert again._most == blocks.BLOCK_BYTES
    with migrated.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM datasets")
        connection.exec_driver_sql("DROP TABLE data_sales")


def test_no_row_at_all(migrated: Database) -> None:
    check(migrated, [{"name": "a"}, B], [])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13, 64])
def test_blocks_have_no_gap_and_no_row_twice(migrated: Database, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 2)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 30)
    check(migrated, [{"name": "a"}, B], [{"a": "x" * (n % 7), "b": f"{n},"} for n in range(count)])


@pytest.mark.parametrize(
    "keys",
    [
        list(range(-30, 70)),
        [n for n in range(200) if n % 7 != 3],
        [n * n for n in range(60)],
        [*range(50), *range(1_000, 1_050), 2**62, 2**62 + 1, 2**63 - 2, 2**63 - 1],
        [-(2**63), -(2**63) + 1, 0],
    ],
)
@pytest.mark.parametrize("prefix", [[], ["day"], ["code", "day"]])
def test_keys_that_count_up_have_no_gap(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, keys: list[int], prefix: list[str]
) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 5)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 150)
    fields = [{"name": "code"}, {"name": "day", "type": "date"}, {"name": "n", "type": "integer"}]
    rows = [
        {"code": code, "day": date(2026, 1, day), "n": n} for code, day in [("a", 1), ("a", 2), ("%s", 1)] for n in keys
    ]
    check(migrated, fields, rows if prefix == ["code", "day"] else rows[: len(keys)], primaryKey=[*prefix, "n"])


@pytest.mark.parametrize("field", [{}, {"format": "%Y %z", "type": "datetime"}])
def test_rows_that_are_larger_than_a_block_come_one_by_one(
    migrated: Database, monkeypatch: pytest.MonkeyPatch, field: dict[str, Any]
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1_000)
    rows = [{"a": "x" * (10_000 if n % 10 == 9 else 5), "b": "y"} for n in range(100)]
    check(migrated, [{"name": "a"}, B], rows)
    check(migrated, [{"name": "a"}, {"name": "b", "type": "number", "exponent": "E"}], [r | {"b": 1.5} for r in rows])


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.lists(st.sampled_from([*",;\"\r\n\t'=+-@0.1a é\uff1d"]), max_size=6).map("".join), min_size=1, max_size=30
    )
)
def test_any_text(migrated: Database, texts: list[str]) -> None:
    check(migrated, [{"name": "a"}, B], column(texts))


@hypothesis.settings(max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(
    digits=st.lists(st.tuples(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(-25, 25)), min_size=1, max_size=200),
    decimals=st.sampled_from([0, 1, 2, 5]),
)
def test_any_number_of_fifteen_digits(migrated: Database, digits: list[tuple[int, int]], decimals: int) -> None:
    values = [float(f"{number}e{exponent}") for number, exponent in digits]
    check(migrated, [{"name": "a", "type": "number", "decimals": decimals}, B], column(values))
