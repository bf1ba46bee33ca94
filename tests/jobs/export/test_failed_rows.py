"""Failed rows as CSV, byte for byte as csv.writer writes the records that `corrections` makes."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import corrections, tables, uploads
from jobs.database import Database
from jobs.export import blocks, failed_rows
from jobs.failed_rows import FailedRow, Reason
from jobs.files import StoredFile
from jobs.uploads import Upload

STORED = ("upload_id", "row_number", "cells", "reasons")


def upload_with(database: Database, header: list[str], rows: list[FailedRow]) -> Upload:
    """An upload with these failed rows, stored as an import stores them."""
    with database.transaction() as connection:
        upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))
        changed = sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(header=header)
        connection.execute(changed)
        stored = [dict(zip(STORED, (upload.id, row.row_number, row.cells, row.reasons), strict=True)) for row in rows]
        if stored:
            connection.execute(sa.insert(tables.failed_rows), stored)
        return uploads.get(connection, upload.id)


def exported(database: Database, upload: Upload, *, is_raw: bool) -> bytes:
    return b"".join(failed_rows.csv_blocks(database, upload, is_raw=is_raw))


def written(upload: Upload, rows: list[FailedRow], *, is_raw: bool) -> bytes:
    """The same rows, written one by one."""
    header = upload.header or []
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(corrections.header(header, raw=is_raw))
    writer.writerows(corrections.record(row, upload.id, len(header), raw=is_raw) for row in rows)
    return text.getvalue().encode("utf-8-sig")


def check(database: Database, header: list[str], rows: list[FailedRow]) -> None:
    upload = upload_with(database, header, rows)
    for is_raw in (True, False):
        assert exported(database, upload, is_raw=is_raw) == written(upload, rows, is_raw=is_raw)


TEXTS = [
    "", " ", "a", "a,b", ", ", '", "', '"', '""', '","', '\\", "', "\\", '\\"', "\\n", "\\u0000", "\\\\", "a\\", ",",
    ",,", 'say "hello"', "two\nlines", "two\r\nlines", "\r", "\n", ";", "\t", "'", "%s", "%", "_", "[", "]", '"]',
    '["', "null", "é", "数", "😀", "\x01", "\x02", "\x02[", "\x1f", "\x7f", "\x00", "a\x00b", "\x0b", "\x08", "\u2028",
    "\ufeff", "=1+1", "-5", "-5,5", "+1.5", "-2+3", "+1", "@x", "\t=1", "x;=1", "x\n@a", "\uff1d1", "\uff0b",
    "\uff5e", "'=1", '"=1', "1;-2", "-1.5;+2", "''\t1", "a=b", "-", "+", "0", "-5x", "x;y", "x;'y", "x\r-1", ";-5",
    "-5;", "x" * 59, "x" * 61, "é" * 61, "x" * 5_000, "{}", "O'Neil",
]  # fmt: skip


def numbered(rows: Iterable[tuple[list[str], list[Reason]]]) -> list[FailedRow]:
    return [FailedRow(number, *row) for number, row in enumerate(rows, 1)]


def test_any_cell_at_any_place(migrated: Database) -> None:
    for text in TEXTS:
        places = [[text, "x", "y"], ["x", text, "y"], ["x", "y", text], [text, text, text]]
        check(migrated, ["a", "b", "c"], numbered((cells, [Reason("b", "is wrong", text)]) for cells in places))


def test_any_cell_alone(migrated: Database) -> None:
    check(migrated, ["a"], numbered(([text], [Reason("a", "is wrong")]) for text in TEXTS))


def test_any_text_in_a_reason(migrated: Database) -> None:
    reasons = [
        reasons
        for text in TEXTS
        for reasons in (
            [Reason(text, "is wrong")],
            [Reason("a", text, "x")],
            [Reason("a", "is wrong", text)],
            [Reason("a", "is wrong", "x", text)],
            [Reason(None, "is wrong"), Reason(text, "is wrong", text, text)],
        )
    ]
    several = [[Reason("a", "is wrong", str(n)) for n in range(count)] for count in (0, 1, 2, 3, 20)]
    check(migrated, ["a", "b"], numbered((["x", "y"], each) for each in [*reasons, *several]))


@pytest.mark.parametrize("width", [0, 1, 2, 3, 250])
def test_rows_with_too_few_and_too_many_cells(migrated: Database, width: int) -> None:
    counts = [0, 1, 2, 3, 4, 5, 249, 250, 251, 260]
    texts = ["x", "", "é", ", ", '"', "=1", "x;y", "\x00", "a,b"]
    rows = [([text] * count, [Reason(None, "has other cells")]) for count in counts for text in texts]
    check(migrated, [f"column {n}" for n in range(width)], numbered(rows))


def test_names_of_columns_are_escaped_and_quoted(migrated: Database) -> None:
    check(migrated, ["=a", 'b "c", d', "%(x)s", "'", "数"], [FailedRow(7, list("abcde"), [Reason("=a", "is wrong")])])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 13, 64])
def test_blocks_have_no_gap_and_no_row_twice(migrated: Database, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 2)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    numbers = [n + n // 7 for n in range(1, count + 1)]
    check(migrated, ["a"], [FailedRow(n, [f"cell {n}"], [Reason("a", "is wrong")]) for n in numbers])


def test_rows_of_other_uploads_are_left_out(migrated: Database) -> None:
    for text in "xy":
        check(migrated, ["a"], [FailedRow(1, [text], [Reason("a", "is wrong")])])


def test_rows_of_a_megabyte_come_in_bounded_blocks(migrated: Database) -> None:
    rows = [FailedRow(n, ["é" * 500_000, text], [Reason("a", "is wrong")]) for n, text in enumerate("x,y\x00;=" * 3, 1)]
    upload = upload_with(migrated, ["a", "b"], rows)
    found = list(failed_rows.csv_blocks(migrated, upload, is_raw=False))

    assert b"".join(found) == written(upload, rows, is_raw=False)
    assert max(map(len, found)) <= blocks.TOLERANCE * blocks.BLOCK_BYTES


@pytest.mark.parametrize("length", [32_760, 32_768, 32_776, 100_000])
def test_long_cells_at_any_place(migrated: Database, length: int) -> None:
    for text in ("x", "é", '"', "=1;", "a,b", "\x00", "x;=1\n", "-1;"):
        cell = (text * length)[:length]
        check(
            migrated,
            ["a", "b"],
            numbered(([*each], [Reason("a", "is wrong", cell)]) for each in ((cell, "="), ("=", cell, "b"))),
        )


def test_reasons_of_an_earlier_release_have_no_detail(migrated: Database) -> None:
    upload = upload_with(migrated, ["a"], [FailedRow(1, ["x"], [])])
    changed = sa.update(tables.failed_rows).where(tables.failed_rows.c.upload_id == upload.id)
    with migrated.transaction() as connection:
        connection.execute(changed.values(reasons=[["a", "is wrong", "x"], [None, "is odd", None]]))
    rows = [FailedRow(1, ["x"], [Reason("a", "is wrong", "x"), Reason(None, "is odd")])]

    assert exported(migrated, upload, is_raw=True) == written(upload, rows, is_raw=True)


def test_json_with_other_white_space_is_read_as_well(migrated: Database) -> None:
    """Nothing here writes such JSON, but a hand may."""
    every_options: list[dict[str, Any]] = [{"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}]
    cells = [["x", "y"], ["x", ", "], ["=1", "é"], ['", "', ","]]
    rows = numbered((each, [Reason("a", "is wrong", "x")]) for each in cells)
    upload = upload_with(migrated, ["a", "b"], rows)
    kind = "TEXT" if migrated.is_sqlite else "json"
    statement = f"UPDATE failed_rows SET cells = CAST(:cells AS {kind}) WHERE upload_id = :upload AND row_number = :row"
    for options in every_options:
        with migrated.transaction() as connection:
            for row in rows:
                values = {"cells": json.dumps(row.cells, **options), "upload": upload.id, "row": row.row_number}
                connection.execute(sa.text(statement), values)

        assert exported(migrated, upload, is_raw=False) == written(upload, rows, is_raw=False)


anything = st.lists(
    st.sampled_from([*",;\"\\\r\n\t'=+-@0.1a []é\uff1d\x00\x01\x02", '", "', "\\u0000"]), max_size=6
).map("".join)


@hypothesis.settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(anything, max_size=5),
            st.lists(st.tuples(st.none() | anything, anything, st.none() | anything, st.none() | anything), max_size=3),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_rows(migrated: Database, rows: list[tuple[list[str], list[tuple[Any, ...]]]]) -> None:
    check(migrated, ["a", "b", "c"], numbered((cells, [Reason(*each) for each in why]) for cells, why in rows))
