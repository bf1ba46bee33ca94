"""OpenDocument spreadsheets as workbooks: which worksheet is read, and what is refused."""

from pathlib import Path

import pytest

from jobs import warnings
from jobs.errors import UnreadableFileError
from jobs.pipeline.ods.workbook import OdsWorkbook
from tests.support.files import nothing, written
from tests.support.spreadsheets import MANIFEST, ods, table

TABLE = table(["id", "name"], [1, "a"], [2, "b"])


def opened(folder: Path, content: bytes, sheet: str | None = None) -> OdsWorkbook:
    return OdsWorkbook(written(folder, content), sheet=sheet, tick=nothing)


def refusal(folder: Path, content: bytes, sheet: str | None = None) -> str:
    with pytest.raises(UnreadableFileError) as refused, opened(folder, content, sheet) as book:
        list(book.rows())
    return str(refused.value)


def test_the_only_worksheet_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, ods(TABLE)) as book:
        rows = [(row.number, row.cells) for row in book.rows()]

    assert rows == [(1, ["id", "name"]), (2, ["1", "a"]), (3, ["2", "b"])]
    assert (book.notes, book.warnings) == (["Read the worksheet “June”."], [])


def test_the_worksheet_that_is_most_a_table_is_read_and_a_warning_names_the_others(tmp_path: Path) -> None:
    content = ods(table(["Sales of June"], name="Cover"), TABLE, table(["x"], [1], name="Small"), table(name="Empty"))
    with opened(tmp_path, content) as book:
        assert book.sheet.name == "June"
        assert book.notes == ["Read the worksheet “June”, and not “Cover”, “Small”, “Empty”."]
        assert book.warnings == [warnings.sheets_ignored({"Small": 1}, "June")]


def test_a_hidden_worksheet_is_read_only_if_it_is_named(tmp_path: Path) -> None:
    content = ods(table(["id", "name"], *[(n, "x") for n in range(9)], name="Old", hidden=True), TABLE)

    with opened(tmp_path, content) as book:
        assert book.sheet.name == "June"
    with opened(tmp_path, content, "old") as book:
        assert (book.sheet.name, book.sheet.hidden, len(list(book.rows()))) == ("Old", True, 10)


def test_an_unknown_worksheet_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    assert "has no worksheet “July”. Choose one of “June”" in refusal(tmp_path, ods(TABLE), "July")


def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    encrypted = MANIFEST.replace(b"/>", b"><manifest:encryption-data/></manifest:manifest>")

    assert "is protected with a password" in refusal(tmp_path, ods(TABLE, manifest=encrypted))
    assert "The workbook has no worksheet." in refusal(tmp_path, ods())
    assert "The workbook is damaged or incomplete" in refusal(tmp_path, ods(content=b"<a><b></a>"))
    assert "document type definition" in refusal(tmp_path, ods(content=b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'))
