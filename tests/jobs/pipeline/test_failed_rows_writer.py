"""Failed rows, packed for the database. tests/jobs/test_failed_rows.py reads back what is written."""

import json

from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline.failed_rows_writer import PackedFailedRows


def test_each_row_is_packed_with_its_number_cells_and_reasons() -> None:
    packed = PackedFailedRows.pack([FailedRow(7, ["é", ""], [Reason("a", "is wrong", "é")]), FailedRow(9, [], [])])
    columns = packed.columns.to_pydict()

    assert len(packed) == 2
    assert columns["row_number"] == [7, 9]
    assert [json.loads(cells) for cells in columns["cells"]] == [["é", ""], []]
    assert [[Reason(*each) for each in json.loads(reasons)] for reasons in columns["reasons"]] == [
        [Reason("a", "is wrong", "é")],
        [],
    ]


def test_cells_and_reasons_are_packed_as_json_dumps_does() -> None:
    cells = ["", 'a "b"', "\\ \n\t\x00\x7f", "é 佐藤 \U0001f600", "\ud800"]
    reasons = [Reason(None, "has 5 cells"), Reason("ä", 'is "x"', cells[2], "1 of 2")]
    columns = PackedFailedRows.pack([FailedRow(1, cells, reasons), FailedRow(2, [], [])]).columns.to_pydict()

    assert columns["cells"] == [json.dumps(cells), "[]"]
    assert columns["reasons"] == [json.dumps(reasons), "[]"]


def test_the_rows_of_several_chunks_are_joined_in_their_order() -> None:
    first = [FailedRow(1, ["x"], [Reason("a", "is wrong", "x")]), FailedRow(4, ["y"], [Reason("a", "is wrong", "y")])]
    second = [FailedRow(7, ["x"], [Reason("a", "is wrong", "x"), Reason("b", "is required")])]
    parts = [PackedFailedRows.pack(each) for each in (first, [], second)]
    joined, whole = PackedFailedRows.joined(parts), PackedFailedRows.pack([*first, *second])

    assert joined.columns.equals(whole.columns)
    assert (joined.places, joined.values, len(joined)) == (whole.places, whole.values, 3)
    assert PackedFailedRows.joined([PackedFailedRows.pack([])] * 2).counts == {}


def test_rows_are_counted_by_column_and_rule_each_once() -> None:
    twice = [Reason("a", "is taken", "1"), Reason("a", "is taken", "2"), Reason(None, "has 1 cell, expected 2")]
    packed = PackedFailedRows.pack([FailedRow(1, ["x"], twice), FailedRow(2, ["x"], twice[:1])])

    assert packed.counts == {("a", "is taken"): 2, ("", "has 1 cell, expected 2"): 1}


def test_no_rows_are_packed_as_none() -> None:
    packed = PackedFailedRows.pack([])

    assert (len(packed), packed.counts) == (0, {})
