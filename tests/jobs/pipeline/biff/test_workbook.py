"""Binary Excel workbooks: .xls and .xlsb."""

import struct
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.pipeline.biff import workbook
from jobs.pipeline.biff.compound_file import CompoundFile, packed
from jobs.pipeline.biff.workbook import BinaryWorkbook, XlsbWorkbook, XlsWorkbook, holds_workbook
from jobs.pipeline.workbook import Row
from tests.support.binary_workbooks import Error, Sheets, xls, xlsb
from tests.support.files import nothing

Make = Callable[..., bytes]
FORMATS: dict[str, tuple[Make, type[BinaryWorkbook]]] = {"xls": (xls, XlsWorkbook), "xlsb": (xlsb, XlsbWorkbook)}
HEADER = ["id", "day", "moment", "hour", "span", "fine", "share", "name"]
VALUES = [1, date(2026, 1, 31), datetime(2026, 1, 31, 10, 5), time(10, 5), timedelta(hours=30), True, 1.5, "Zoë"]
WRITTEN = ["1", "2026-01-31", "2026-01-31T10:05:00", "10:05:00", "30:00:00", "TRUE", "1.5", "Zoë"]


@pytest.fixture(params=list(FORMATS))
def ending(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


class Desk:
    """Makes workbooks of one format, and reads them."""

    def __init__(self, folder: Path, make: Make, kind: type[BinaryWorkbook]) -> None:
        self.path = folder / "book"
        self._make, self._kind = make, kind

    def write(self, sheets: Sheets, **more: object) -> None:
        self.path.write_bytes(self._make(sheets, **more))

    def open(self, sheet: str | None = None) -> BinaryWorkbook:
        return self._kind(self.path, sheet=sheet, tick=nothing)

    def rows(self, sheet: str | None = None) -> list[Row]:
        with self.open(sheet) as book:
            return list(book.rows(timed=book.shape(above=0).timed))


@pytest.fixture
def desk(tmp_path: Path, ending: str) -> Desk:
    return Desk(tmp_path, *FORMATS[ending])


def test_values_become_exact_text_and_rows_keep_their_numbers(desk: Desk) -> None:
    desk.write({"June": [[], [], HEADER, VALUES, [None, None, *VALUES[2:]]]})

    assert [(row.number, row.cells) for row in desk.rows()] == [
        (3, HEADER),
        (4, WRITTEN),
        (5, ["", "", *WRITTEN[2:]]),
    ]


def test_a_cell_with_an_error_is_a_problem_in_its_row(desk: Desk) -> None:
    desk.write({"June": [["a", "b"], [1, Error("#DIV/0!")], [Error("#N/A"), 2]]})

    found = desk.rows()[1:]

    assert [row.cells for row in found] == [["1", "#DIV/0!"], ["#N/A", "2"]]
    assert [problem.reason for row in found for problem in row.problems.values()] == [
        "is an error in the workbook (#DIV/0!, cell B2)",
        "is an error in the workbook (#N/A, cell A3)",
    ]


def test_the_sheet_that_is_a_table_is_read_and_the_others_are_told(desk: Desk) -> None:
    table: list[list[object]] = [["part", "amount"], ["x", 1], ["y", 2]]
    desk.write({"Cover": [["Report"]], "June": table, "Old": table[:2], "Empty": []}, hidden=["Old"])

    with desk.open() as book:
        assert (book.sheet.name, book.names) == ("June", ["Cover", "June", "Old", "Empty"])
        assert [warning["sheets"] for warning in book.warnings] == [[{"name": "Old", "rows": 1}]]
        assert [(part.sheet.name, part.rows, part.sheet.hidden) for part in book.parts] == [
            ("June", 2, False),
            ("Old", 1, True),
        ]
        assert [list(part.columns) for part in book.parts] == [["part", "amount"]] * 2


def test_a_sheet_can_be_named_also_a_hidden_one(desk: Desk) -> None:
    desk.write({"June": [["a"], [1]], "July": [["a"], [2]]}, hidden=["July"])

    assert [row.cells for row in desk.rows("july")] == [["a"], ["2"]]
    with pytest.raises(MisreadFileError, match="no worksheet “May”"):
        desk.open("May")


def test_a_damaged_workbook_is_refused(desk: Desk, ending: str) -> None:
    desk.write({"June": [["a"], *([n] for n in range(2_000))]})
    content = desk.path.read_bytes()

    for cut in (len(content) // 2, len(content) - 600, 600):
        desk.path.write_bytes(content[:cut])
        with pytest.raises(UnreadableFileError, match="damaged or incomplete"):
            desk.rows()


def test_a_worksheet_that_spans_too_many_cells_is_refused_before_it_is_loaded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MAX_AREA", 999)
    desk.write({"June": [[1], *[[]] * 98, [None] * 9 + [1]]})

    with pytest.raises(UnreadableFileError, match="too large for this format"):
        desk.rows()


def test_texts_that_many_cells_refer_to_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_TEXTS", 10_000)
    desk = Desk(tmp_path, *FORMATS["xlsb"])
    desk.write({"June": [["a"], *[["x" * 200]] * 100]})

    with pytest.raises(UnreadableFileError, match="too large for this format"):
        desk.rows()


def test_cells_far_apart_take_no_memory(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *FORMATS["xlsb"])
    desk.write({"June": [["a"], [1]]})
    far = b"\x00\x11" + struct.pack("<I", (1 << 20) - 1) + bytes(13)
    far += b"\x05\x10" + struct.pack("<IId", (1 << 14) - 1, 0, 1.0)
    with zipfile.ZipFile(desk.path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.bin")
    desk.write({"June": [["a"], [1]]}, sheet1=sheet.replace(b"\x92\x01\x00", far + b"\x92\x01\x00"))

    with pytest.raises(UnreadableFileError, match="17,179,869,184 cells"):
        desk.rows()


def test_a_workbook_with_a_macro_sheet_is_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *FORMATS["xls"])
    desk.write({"June": [["a"], [1]], "Auto": [["x"], [2]]})
    content = desk.path.read_bytes()
    place = content.index(b"\x04\x00Auto") if b"\x04\x00Auto" in content else content.index(b"Auto") - 2
    kind = place - 1
    desk.path.write_bytes(content[:kind] + b"\x01" + content[kind + 1 :])

    with pytest.raises(UnreadableFileError, match="“Auto” is a macro sheet"):
        desk.rows()


def test_an_encrypted_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "book"
    content = xls({"June": [["a"], [1]]})
    beginning = content.index(b"\x09\x08")
    codepage = content.index(b"\xe1\x00\x02\x00", beginning)
    path.write_bytes(content[:codepage] + b"\x2f\x00" + content[codepage + 2 :])

    with pytest.raises(UnreadableFileError, match="protected with a password"):
        XlsWorkbook(path, sheet=None, tick=nothing)


def test_an_ole_file_around_an_encrypted_package_is_refused(tmp_path: Path) -> None:
    path, name = tmp_path / "book", "Workbook".encode("utf-16-le")
    content = xls({"June": [["a"], [1]]})
    place = content.index(name)
    other = "EncryptedPackage".encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 34)
    path.write_bytes(content[:place] + other + content[place + 66 :])

    with pytest.raises(UnreadableFileError, match=r"“june\.xlsx” is protected with a password"):
        holds_workbook(path, "june.xlsx")


def test_merged_cells_have_the_value_of_the_first(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *FORMATS["xls"])
    desk.write({"June": [["a", "b"], ["x", 1], [None, 2]]}, merged={"June": (1, 2, 0, 0)})

    assert [row.cells for row in desk.rows()] == [["a", "b"], ["x", "1"], ["", "2"]]


def test_memory_is_not_allocated_for_what_a_header_claims(tmp_path: Path) -> None:
    """calamine would end the process."""
    path = tmp_path / "book"
    content = xls({"June": [["a"], [1]]})
    dimensions = content.index(b"\x00\x02\x0e\x00") + 4
    wide = content[:dimensions] + struct.pack("<IIHH", 0, 1 << 31, 0, 1 << 15) + content[dimensions + 12 :]
    path.write_bytes(wide)
    with XlsWorkbook(path, sheet=None, tick=nothing) as book:
        assert [row.cells for row in book.rows()] == [["a"], ["1"]]
    texts = content.index(b"\xfc\x00") + 8
    path.write_bytes(content[:texts] + struct.pack("<I", 1 << 31) + content[texts + 4 :])

    with pytest.raises(UnreadableFileError, match="2,147,483,648 texts"):
        XlsWorkbook(path, sheet=None, tick=nothing)
    assert [each.name for each in tmp_path.iterdir()] == ["book"]


def test_lists_of_an_xlsb_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *FORMATS["xlsb"])
    claimed = b"\x9f\x01\x08" + struct.pack("<II", 1, 1 << 31)
    desk.write({"June": [["a"], [1]]}, sharedStrings=claimed + b"\xa0\x01\x00")

    with pytest.raises(UnreadableFileError, match="a list of 2,147,483,648"):
        desk.rows()
    assert [each.name for each in tmp_path.iterdir()] == ["book"]


@pytest.mark.parametrize("size", [1, 4_096, 5_000_000])
def test_a_stream_is_packed_as_it_was(tmp_path: Path, size: int) -> None:
    path, content = tmp_path / "book", bytes(range(1, 251)) * (size // 250 + 1)
    path.write_bytes(b"".join(packed("Workbook", content[:size])))

    assert CompoundFile(path).stream("Workbook")[:size] == content[:size]
