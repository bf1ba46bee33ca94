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


def test_rows_are_counted_by_column_and_rule_each_once() -> None:
    twice = [Reason("a", "is taken", "1"), Reason("a", "is taken", "2"), Reason(None, "has 1 cell, expected 2")]
    packed = PackedFailedRows.pack([FailedRow(1, ["x"], twice), FailedRow(2, ["x"], twice[:1])])

    assert packed.counts == {("a", "is taken"): 2, ("", "has 1 cell, expected 2"): 1}


def test_no_rows_are_packed_as_none() -> None:
    packed = PackedFailedRows.pack([])

    assert (len(packed), packed.counts) == (0, {})
