"""Corrected rows, compared with the failed rows that they correct."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs import uploads
from jobs.failed_rows import FailedRow, Reason
from jobs.files import StoredFile
from jobs.pipeline import failed_rows_writer
from jobs.pipeline.chunk import Chunk, Origin
from jobs.pipeline.corrector import Corrector
from jobs.pipeline.failed_rows_writer import PackedFailedRows
from jobs.pipeline.line_numbers import SheetRows
from jobs.uploads import Claim, Upload

HEADER = ["id", "name", "born"]
TOO_SHORT, TOO_LATE = Reason(None, "has 2 cells, expected 3"), Reason("born", "is more than 2020-01-01", "x")


def parent_of(connection: sa.Connection, *failed: FailedRow) -> Upload:
    """An upload in which these rows, and one more, were seen."""
    upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"), dataset="june")
    claimed = uploads.claim(connection, upload.id, worker="w", lease=60)
    assert claimed is not None
    claim = Claim(upload.id, claimed.attempt)
    known: dict[str, Any] = {"rows_total": None, "next_byte": 0, "bytes_total": 9, "notes": [], "parent": None}
    uploads.begin(connection, claim, lease=60, dataset="june", header=HEADER, **known)
    failed_rows_writer.record(connection, upload.id, PackedFailedRows.pack(list(failed)), room=99)
    return uploads.advance(connection, claim, lease=60, good=1, bad=len(failed), next_byte=9)


def chunk(parent: Upload, *rows: list[str], names: list[str] = HEADER) -> Chunk:
    """Corrections of the rows 1, 2, … of the upload."""
    columns = zip(*rows, strict=True)
    cells: dict[str, Any] = {
        name: pd.Series(list(column), dtype=pd.ArrowDtype(pa.string()))
        for name, column in zip(names, columns, strict=True)
    }
    numbers = range(1, len(rows) + 1)
    origins = {number: Origin(str(parent.id), str(number)) for number in numbers}
    return Chunk(
        pd.DataFrame(cells).set_axis(pd.Index(numbers)), [], len(rows), 0, SheetRows([(1, 1)]), origins=origins
    )


def is_unchanged(connection: sa.Connection, was: list[str], cells: list[str], reason: Reason) -> bool:
    parent = parent_of(connection, FailedRow(1, was, [reason]))
    failed = Corrector(parent, HEADER).judge(connection, chunk(parent, cells)).chunk.failed
    assert failed in ([], [FailedRow(1, cells, [reason])])
    return bool(failed)


@pytest.mark.parametrize(
    ("was", "cells"),
    [
        (["1", "Ann"], ["1", "Ann", ""]),
        (["007", "Ann"], ["7", "Ann", ""]),
        (["1.50", "Ann "], ["1.5", "Ann", ""]),
        (["1,234.50", "A\nB"], ["1234.5", "A\r\nB", ""]),
        (["1", "2026-01-31", "x", "y"], ["1", "31/01/26", "x"]),
        (["1", "true", "2026-01-31T09:00:00Z", "y"], ["1", "TRUE", "31.1.2026 09:00"]),
        (["1", "'=1"], ["1", "=1", ""]),
        (["1", "Zo\ufffd売"], ["1", "Zo??", ""]),
    ],
)
def test_a_row_that_a_spreadsheet_wrote_anew_is_unchanged(
    connection: sa.Connection, was: list[str], cells: list[str]
) -> None:
    assert is_unchanged(connection, was, cells, TOO_SHORT)


@pytest.mark.parametrize(
    ("was", "cells", "reason"),
    [
        (["1", "Ann"], ["1", "Ann", "2000-01-01"], TOO_SHORT),
        (["1", "Ann"], ["1", "Anne", ""], TOO_SHORT),
        (["1", "Ann", "31.12.1999"], ["1", "Ann", "1999-12-31"], TOO_LATE),
        (["1", "Ann", "12.0"], ["1", "Ann", "12"], TOO_LATE),
        (["1", "Ann", "Zo\ufffd"], ["1", "Ann", "Zoë"], TOO_LATE),
    ],
)
def test_a_row_that_a_person_changed_is_tried(
    connection: sa.Connection, was: list[str], cells: list[str], reason: Reason
) -> None:
    assert not is_unchanged(connection, was, cells, reason)


def test_columns_may_be_moved_renamed_deleted_and_added(connection: sa.Connection) -> None:
    parent = parent_of(connection, *(FailedRow(number, ["1", "Ann"], [TOO_SHORT]) for number in (1, 2)))
    names = ["NAME", "new", "id"]
    judged = Corrector(parent, names).judge(connection, chunk(parent, ["Ann", "", "1"], ["Ann", "x", "1"], names=names))

    assert [row.row_number for row in judged.chunk.failed] == [1]
    assert sorted(judged.before) == [1, 2]
