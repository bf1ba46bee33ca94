import io

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline import typed_table
from jobs.pipeline.typed_table import TypedTable


def nothing(_: int) -> None:
    """Checks no size."""


def test_rows_without_a_value_are_left_out_and_the_numbers_of_the_others_are_known() -> None:
    file = io.BytesIO()
    table = TypedTable(file, ["a", "b"], nothing)
    for cells in [["1", "x"], ["", ""], ["", ""], ["2", "y\n"], ["3", ""]]:
        table.write(cells)
    table.finish()

    assert file.getvalue() == b'a,b\r\n1,x\r\n2,"y\n"\r\n3,\r\n'
    assert (table.blank, table.sheet_rows) == (2, [(0, 0), (2, 4)])


def test_a_single_column_has_empty_rows() -> None:
    file = io.BytesIO()
    table = TypedTable(file, ["a"], nothing)
    table.write([""])
    table.finish()

    assert (file.getvalue(), table.blank) == (b'a\r\n""\r\n', 0)


def test_gaps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_table, "MAX_GAPS", 3)
    table = TypedTable(io.BytesIO(), ["a", "b"], nothing)

    def write_rows() -> None:
        for _ in range(5):
            table.write(["", ""])
            table.write(["1", ""])

    with pytest.raises(UnreadableFileError, match="More than 3 rows have no value"):
        write_rows()


def test_the_size_is_checked_while_it_is_written() -> None:
    sizes: list[int] = []
    table = TypedTable(io.BytesIO(), ["a"], sizes.append)
    for _ in range(1_000):
        table.write(["x" * 1_000])

    assert 10 < len(sizes) < 20
    assert sizes[-1] > 900_000
