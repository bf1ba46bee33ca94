"""Cells and rows of CSV."""

import csv
import io

import pytest

from jobs.export import csv_text


@pytest.mark.parametrize("cell", ["x", 'say "hello"', "a,b", "two\nlines", "\r", " x ", "", "é;"])
def test_a_long_row_is_written_as_a_short_one(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    rows = [["1", cell, "", "end"], ["2", cell * 2, cell, cell]]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    short = csv_text.lines(rows)
    monkeypatch.setattr(csv_text, "LONG_ROW", 0)

    assert csv_text.lines(rows) == short == text.getvalue().encode()
