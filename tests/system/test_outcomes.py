"""The outcome of every kind of unusual file (docs/datasets.md, Unusual files), each through a whole import."""

import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, failed_rows, uploads, warnings
from jobs.database import Database
from jobs.datasets import Mode
from jobs.errors import RefusedError
from jobs.formats.file_kinds import EXPECTED
from jobs.import_options import ImportOptions
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.databases import Databases
from tests.support.files import store, zipped
from tests.support.services import RedisServer


@dataclass
class Outcome:
    """An upload after its job has run. rows: those of its dataset, as text. bad: number → (cells, every reason)."""

    upload: Upload
    rows: list[list[str]]
    bad: dict[int, tuple[list[str], str]]

    @property
    def sentences(self) -> dict[int, str]:
        return {number: sentence for number, (_, sentence) in self.bad.items()}

    @property
    def refusal(self) -> str:
        """Why nothing was imported. Nothing may be left of it."""
        assert self.upload.status is Status.FAILED
        assert (self.upload.rows_processed, self.rows, self.bad) == (0, [], {})
        return str(self.upload.error)


class Desk:
    """Where files are handed in. The tests here share its database: each has datasets of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database, bulk=True)

    def __call__(
        self, content: bytes | str, filename: str = "june.csv", dataset: str | None = None, **options: Any
    ) -> Outcome:
        with self.database.transaction() as connection:
            file = store(self.settings, content, filename)
            upload = uploads.create(connection, file, dataset=dataset, options=ImportOptions(**options))
        bulk_upload.run(upload.id)
        with self.database.reading() as connection:
            upload = uploads.get(connection, upload.id)
            found = failed_rows.rows(connection, upload.id, limit=999)
            rows = [] if upload.dataset is None else self._rows(connection, upload)
        assert upload.rows_processed == upload.rows_success + upload.rows_failed
        return Outcome(upload, rows, {row.row_number: (row.cells, row.sentence) for row in found})

    def _rows(self, connection: sa.Connection, upload: Upload) -> list[list[str]]:
        dataset = datasets.get(connection, str(upload.dataset))
        found = list(datasets.each_after(connection, dataset, None, limit=999))
        return [row.cells for row in found if row.upload_id == upload.id]

    def declare(self, name: str, *fields: dict[str, Any], **more: Any) -> str:
        with self.database.transaction() as connection:
            datasets.declare(connection, name, TableSchema.parse({"fields": list(fields), **more}), Mode.INSERT)
        return name

    def columns(self, upload: Upload) -> list[str]:
        with self.database.reading() as connection:
            return datasets.get(connection, str(upload.dataset)).schema.names


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(
    request: pytest.FixtureRequest,
    databases: Databases,
    _redis_of_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("data")
    url = databases.migrated(request.param, folder)
    settings = Settings.load(data=folder, database_url=url, redis_url=_redis_of_session.url)
    desk = Desk(settings)
    yield desk
    desk.database.close()


@pytest.fixture
def sent(standing: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """What is handed in is imported at once, by the settings of the test."""
    for name, value in standing.settings.environment().items():
        monkeypatch.setenv(name, value)
    return standing


def workbook(*sheets: tuple[str, list[list[Any]]], more: Callable[[openpyxl.Workbook], object] | None = None) -> bytes:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    if more is not None:
        more(book)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


# Empty file, header only


def test_an_empty_file_is_refused_at_upload(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"“june.csv” is empty\. Choose a file with a header row"):
        store(Settings.load(data=tmp_path), "")


@pytest.mark.parametrize(
    ("content", "filename", "sentence"),
    [
        (b"\n\r\n  \n", "june.csv", "The file has no header row."),
        (b"\xef\xbb\xbf", "june.csv", "The file has no header row."),
        (gzip.compress(b""), "june.csv.gz", "The file is empty."),
        (zipped(june=b""), "june.zip", "The file is empty."),
    ],
)
def test_a_file_with_nothing_in_it_fails(sent: Desk, content: bytes, filename: str, sentence: str) -> None:
    assert f"{sentence} {EXPECTED}" == sent(content, filename).refusal


def test_an_empty_sheet_fails(sent: Desk) -> None:
    refusal = sent(workbook(("June", []), ("July", [["id"], [1]])), "june.xlsx", sheet="June").refusal

    assert refusal == "The worksheet “June” is empty. Choose another worksheet: “July”."


@pytest.mark.parametrize("content", ["id,name", "id,name\n", "\ufeffid,name\r\n\r\n"])
def test_a_header_alone_is_completed_with_no_rows(sent: Desk, content: str) -> None:
    outcome = sent(content)

    assert (outcome.upload.status, outcome.upload.rows_total, outcome.upload.progress) == (Status.COMPLETED, 0, 100)
    assert (outcome.rows, outcome.upload.error) == ([], None)
    assert sent.columns(outcome.upload) == ["id", "name"]


# Not a table


@pytest.mark.parametrize(
    ("content", "filename", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "june.csv", "This looks like a PNG image, not a table."),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "june.txt", "This looks like a JPEG image, not a table."),
        (b"%PDF-1.7\n%\xe2\xe3\n1 0 obj", "june.csv", "This looks like a PDF document, not a table."),
        (
            b"<?xml version='1.0'?>\n<rows><row>1</row></rows>",
            "june.csv",
            "This looks like a web page or an XML document, not a table.",
        ),
        (gzip.compress(b"%PDF-1.7\n"), "june.csv.gz", "This looks like a PDF document, not a table."),
    ],
)
def test_a_file_that_is_no_table_fails_with_what_it_seems_to_be_and_what_is_expected(
    sent: Desk, content: bytes, filename: str, what: str
) -> None:
    assert f"{what} {EXPECTED}" == sent(content, filename).refusal


def test_a_binary_file_fails(sent: Desk) -> None:
    assert sent(b"\x7fELF\2\1\1" + bytes(range(256)) * 4).refusal == ("This looks like a binary file, not a table.")


# Rows


def test_a_row_with_too_few_or_too_many_cells_fails(sent: Desk) -> None:
    outcome = sent("a,b,c,d,e,f,g,h\n1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7\n1,2,3,4,5,6,7,8,9\n1\n2,2,3,4,5,6,7,8\n")

    assert outcome.upload.status is Status.COMPLETED
    assert outcome.bad == {
        2: (list("1234567"), "has 7 cells, expected 8"),
        3: (list("123456789"), "has 9 cells, expected 8"),
        4: (["1"], "has 1 cell, expected 8"),
    }
    assert outcome.rows == [list("12345678"), list("22345678")]


def test_an_empty_cell_too_many_is_forgiven_where_every_row_has_it(sent: Desk) -> None:
    outcome = sent("a,b\n1,x,\n2,y,\n3,z,\n")

    assert (outcome.rows, outcome.bad) == ([["1", "x"], ["2", "y"], ["3", "z"]], {})
    assert outcome.upload.warnings == [warnings.surplus_cells(3)]


def test_a_row_shifted_by_a_delimiter_too_many_fails_though_its_last_cell_is_empty(sent: Desk) -> None:
    outcome = sent("id,price,code\n1,9.50,CC-1\n2,,9.50,\n3,8.50,CC-3\n")

    assert outcome.rows == [["1", "9.50", "CC-1"], ["3", "8.50", "CC-3"]]
    assert outcome.sentences == {2: "has 4 cells, expected 3"}


def test_a_row_short_of_a_delimiter_fails_though_it_is_as_wide_as_the_header(sent: Desk) -> None:
    outcome = sent("a,b\n" + "1,x,\n" * 40 + "12,\n")

    assert (outcome.upload.rows_success, outcome.sentences) == (40, {41: "has 2 cells, expected 3"})


def test_lines_of_delimiters_are_skipped_and_told(sent: Desk) -> None:
    outcome = sent("a,b,c,d\n" + "1,x,y,z\n" * 5 + ",,,\n" * 93)

    assert (outcome.upload.rows_total, outcome.upload.lines_blank, len(outcome.rows)) == (5, 93, 5)
    assert outcome.upload.notes_shown[-1] == "93 blank lines were skipped."
    assert outcome.upload.warnings == []


def test_a_header_inside_of_the_file_is_no_row_and_told(sent: Desk) -> None:
    outcome = sent("id,born\n1,1999\n2,2001\nid,born\n3,2004\n")

    assert (outcome.rows, outcome.bad) == ([["1", "1999"], ["2", "2001"], ["3", "2004"]], {})
    assert outcome.upload.warnings == [warnings.lines_skipped(1, 4)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_blank_line_is_skipped_and_not_counted(sent: Desk, newline: str) -> None:
    outcome = sent(newline.join(["", "a,b", "", "1,x", "", "", "2,y", "3", "", ""]))

    assert (outcome.upload.rows_total, outcome.upload.rows_success) == (3, 2)
    assert (outcome.rows, outcome.sentences) == ([["1", "x"], ["2", "y"]], {3: "has 1 cell, expected 2"})


def test_a_stray_quote_inside_an_unquoted_cell_is_kept_as_text(sent: Desk) -> None:
    outcome = sent('a,b\n5" pipe,x\nO"Neill"s,"y"\n')

    assert (outcome.rows, outcome.bad) == ([['5" pipe', "x"], ['O"Neill"s', "y"]], {})


def test_a_quote_that_is_never_closed_fails_the_line_where_it_opened_and_reading_goes_on(sent: Desk) -> None:
    outcome = sent('id,name\n1,"Smith"\n2,"Miller\n3,"Jones"\n4,Brown\n')

    assert outcome.bad == {2: (['2,"Miller'], "has a quote that is never closed")}
    assert outcome.rows == [["1", "Smith"], ["3", "Jones"], ["4", "Brown"]]


def test_names_that_are_there_twice_or_empty_are_made_unique_and_reported(sent: Desk) -> None:
    outcome = sent("name,name,NAME,,_row_number\na,b,c,d,e\n")

    assert sent.columns(outcome.upload) == ["name", "name_2", "NAME_3", "column_4", "_row_number_2"]
    assert outcome.upload.header == ["name", "name_2", "NAME_3", "column_4", "_row_number_2"]
    assert outcome.upload.notes[-4:] == [
        "Column 2 was renamed from “name” to “name_2”.",
        "Column 3 was renamed from “NAME” to “NAME_3”.",
        "Column 4 has no name and is called “column_4”.",
        "Column 5 was renamed from “_row_number” to “_row_number_2”.",
    ]
    assert outcome.rows == [["a", "b", "c", "d", "e"]]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("\ufeff\ufeffid", "id"),
        ("na\u200bme", "name"),
        ("soft\xadhyphen", "softhyphen"),
        ("a\xa0b", "a b"),
        ("\u200b", "column_1"),
        ("x" * 62 + " y", "x" * 62),
    ],
)
def test_what_cannot_be_seen_in_a_name_is_left_out(sent: Desk, header: str, name: str) -> None:
    outcome = sent(f"{header},city\n1,Rome\n")

    assert (outcome.upload.status, outcome.upload.error) == (Status.COMPLETED, None)
    assert sent.columns(outcome.upload) == [name, "city"]


def test_bytes_that_are_not_of_the_files_encoding_fail_their_row_and_name_their_place(sent: Desk) -> None:
    good = [[str(n), f"Zoë {n}"] for n in range(1, 20)]
    content = "id,name\n" + "".join(",".join(cells) + "\n" for cells in good)
    outcome = sent(content.encode() + b"20,caf\xe9\n21,end\n")

    assert outcome.bad == {
        20: (["20", "caf\ufffd"], "has a byte that is invalid in the file's encoding (0xE9 at character 4 of cell 2)")
    }
    assert [*good, ["21", "end"]] == outcome.rows
    assert outcome.upload.notes[0] == (
        "Read as UTF-8, although 1 of 20 non-ASCII sequences is invalid: rows that contain one fail."
    )


def test_bytes_that_an_encoding_that_was_said_does_not_have_fail_their_row(sent: Desk) -> None:
    outcome = sent(b"id,name\n1,caf\xe9\n2,\x81\n", encoding="cp1252")

    assert outcome.rows == [["1", "café"]]
    assert outcome.sentences == {2: "has a byte that is invalid in the file's encoding (0x81 at character 1 of cell 2)"}
    assert outcome.upload.notes[0] == "Read as Windows-1252, as chosen."


def test_a_nul_byte_fails_its_row(sent: Desk) -> None:
    outcome = sent(b"id,name\n1,a\0b\n2,c\n")

    assert outcome.bad == {1: (["1", "a\ufffdb"], "has a NUL byte (cell 2)")}
    assert outcome.rows == [["2", "c"]]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "cp1251"])
def test_the_encoding_is_found_and_recorded(sent: Desk, codec: str) -> None:
    words = "Привет, мир" if codec == "cp1251" else "Größe für Müller"
    outcome = sent(f"id;name\n1;{words}\n2;{words}\n".encode(codec))

    assert outcome.rows == [["1", words], ["2", words]]
    assert outcome.upload.notes[0].startswith("Read as ")


# Preamble


def test_lines_above_the_header_are_skipped_and_reported(sent: Desk) -> None:
    outcome = sent("Report for June\nCreated: 2026-01-31\n\nid,name\n1,x\n2,y\n")

    assert sent.columns(outcome.upload) == ["id", "name"]
    assert outcome.rows == [["1", "x"], ["2", "y"]]
    assert outcome.upload.notes[1] == ("Skipped 3 lines above the header: “Report for June”, “Created: 2026-01-31”.")


def test_the_row_of_the_header_can_be_said(sent: Desk) -> None:
    outcome = sent("a,b\nc,d\ne,f\n1,2\n", header_row=3)

    assert sent.columns(outcome.upload) == ["e", "f"]
    assert outcome.rows == [["1", "2"]]
    assert "Skipped 2 lines above the header: “a b”, “c d”." in outcome.upload.notes


def test_a_header_said_to_be_where_none_is_fails(sent: Desk) -> None:
    other = "Upload it again with another header row, or leave it out, so that it is detected."
    assert sent("a,b\n\n1,2\n", header_row=2).refusal == f"The file has no header row at line 2. {other}"
    assert sent("\n\n", header_row=0).refusal == f"The file has no rows. {EXPECTED}"


# Without a header


def codes(outcome: Outcome) -> list[str]:
    return [each["code"] for each in outcome.upload.warnings]


def test_the_first_row_of_a_file_without_a_header_is_not_lost(sent: Desk) -> None:
    outcome = sent("12,Ann,2020-01-01\n13,Bob,2020-02-02\n")

    assert sent.columns(outcome.upload) == ["column_1", "column_2", "column_3"]
    assert outcome.rows == [["12", "Ann", "2020-01-01"], ["13", "Bob", "2020-02-02"]]
    assert codes(outcome) == ["no_header"]


def test_it_can_be_said_that_the_first_row_is_data(sent: Desk) -> None:
    outcome = sent("Ann,Rome\nBob,Oslo\n", header_row=0)

    assert outcome.rows == [["Ann", "Rome"], ["Bob", "Oslo"]]
    assert (codes(outcome), outcome.upload.notes[-1]) == ([], "The first row is data, as chosen.")


def test_it_can_be_said_that_the_first_row_is_the_header(sent: Desk) -> None:
    outcome = sent("1,2\n3,4\n", header_row=1)

    assert (sent.columns(outcome.upload), outcome.rows, codes(outcome)) == (["1", "2"], [["3", "4"]], [])


def test_the_first_row_of_a_worksheet_can_be_data(sent: Desk) -> None:
    found = sent(workbook(("June", [[5, "x"], [6, "y"]])), "june.xlsx")
    said = sent(workbook(("June", [["Ann", "x"], ["Bob", "y"]])), "june.xlsx", header_row=0)

    assert (found.rows, codes(found)) == ([["5", "x"], ["6", "y"]], ["no_header"])
    assert (said.rows, codes(said)) == ([["Ann", "x"], ["Bob", "y"]], [])


@pytest.mark.parametrize("header_row", [None, 0])
def test_columns_without_names_go_into_the_fields_by_position(sent: Desk, header_row: int | None) -> None:
    suffix = "said" if header_row == 0 else "found"
    name = sent.declare(f"people_{suffix}", {"name": "id", "type": "integer"}, {"name": "who"}, primaryKey="id")
    outcome = sent("12,Ann\n13,Bob\n", dataset=name, header_row=header_row)

    assert (outcome.rows, outcome.bad) == ([["12", "Ann"], ["13", "Bob"]], {})
    assert (outcome.upload.header, codes(outcome)) == (["id", "who"], [] if header_row == 0 else ["no_header"])


def test_names_that_the_dataset_has_are_a_header_whatever_they_look_like(sent: Desk) -> None:
    name = sent.declare("months", {"name": "1", "type": "integer"}, {"name": "2", "type": "integer"})
    outcome = sent("1,2\n3,4\n", dataset=name)

    assert (outcome.rows, codes(outcome)) == ([["3", "4"]], [])


def test_a_header_of_several_rows_is_joined_and_reported(sent: Desk) -> None:
    outcome = sent("Land,People,,Area,\n,male,female,land,water\nA,1,2,3,4\nB,5,6,7,8\n")

    assert sent.columns(outcome.upload) == ["Land", "People male", "People female", "Area land", "Area water"]
    assert len(outcome.rows) == 2
    assert "The header has 2 rows, which were joined." in outcome.upload.notes
    assert codes(outcome) == []


# Unusual dialects


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("id,name,n\n1,'Ann, Lee',5\n2,Bob,6\n", "Cells are quoted with apostrophes."),
        ('id,name,n\n1,"Ann, Lee",5\n2,"say \\"hi\\"",6\n', "Backslashes escape characters."),
        ('id, name, n\n1, "Ann, Lee", 5\n2, Bob, 6\n', "Spaces after the delimiters were ignored."),
        ('id name n\n1 "Ann, Lee" 5\n2 Bob 6\n', "3 columns, separated by spaces."),
        ("id    name      n\n1     Ann, Lee  5\n2     Bob       6\n", "3 columns, separated by spaces."),
        ('id,name,n\n1,"Ann, Lee",5\n# Bob is new\n2,Bob,6\n', "1 comment line was skipped."),
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_an_unusual_dialect_is_read_as_it_is_meant(sent: Desk, content: str, note: str, codec: str) -> None:
    outcome = sent(content.encode(codec))

    assert (sent.columns(outcome.upload), outcome.bad) == (["id", "name", "n"], {})
    assert outcome.rows[0] == ["1", "Ann, Lee", "5"]
    assert outcome.rows[1][0] == "2"
    assert len(outcome.rows) == 2
    assert note in outcome.upload.notes


# Workbooks


def test_the_cover_sheet_of_a_workbook_is_not_the_table(sent: Desk) -> None:
    cover: list[list[Any]] = [["Report", "Year"], ["Sales", 2026]]
    sales: list[list[Any]] = [["id", "amount"], *([n, n / 2] for n in range(1, 301))]
    outcome = sent(workbook(("Cover", cover), ("Sales", sales)), "june.xlsx")

    assert len(outcome.rows) == 300
    assert outcome.upload.warnings == [warnings.sheets_ignored({"Cover": 1}, "Sales")]


def test_the_worksheet_that_fits_the_dataset_is_read(sent: Desk) -> None:
    dataset = sent.declare("people", {"name": "name"}, {"name": "city"})
    sheets = workbook(("Sales", [["id", "amount"], [1, 2], [3, 4]]), ("People", [["Name", "City"], ["Zoë", "Rome"]]))
    outcome = sent(sheets, "june.xlsx", dataset=dataset)

    assert outcome.rows == [["Zoë", "Rome"]]
    assert outcome.upload.warnings == [warnings.sheets_ignored({"Sales": 2}, "People")]


def test_failed_rows_of_a_workbook_name_the_worksheets_row(sent: Desk) -> None:
    rows: list[list[Any]] = [["Report"], [], ["id", "born"], [1, 1999], [], [], [2, "#N/A"], [3, 2001]]
    outcome = sent(workbook(("June", rows)), "june.xlsx")
    with sent.database.reading() as connection:
        found = failed_rows.rows(connection, outcome.upload.id, limit=9)

    assert [(row.row_number, row.line) for row in found] == [(2, 7)]
    assert outcome.upload.notes_shown[-1] == "2 blank lines were skipped."


def test_phantom_rows_and_columns_of_a_workbook_are_ignored(sent: Desk) -> None:
    def far_away(book: openpyxl.Workbook) -> None:
        book["June"].cell(900, 40).number_format = "0.00"

    outcome = sent(workbook(("June", [["id", "name"], [1, "x"], [None, None], [2, "y"]]), more=far_away), "june.xlsx")

    assert (outcome.upload.rows_total, outcome.rows, outcome.bad) == (2, [["1", "x"], ["2", "y"]], {})


SHEETS: tuple[tuple[str, list[list[Any]]], ...] = (
    ("June", [["id"], [6]]),
    ("July", [["id"], [7]]),
    ("August", [["id"], [8]]),
)


@pytest.mark.parametrize(
    ("sheet", "row", "note"),
    [
        (None, ["6"], "Read the worksheet “June”, and not “July”, “August”."),
        ("July", ["7"], "Read the worksheet “July”, and not “June”, “August”."),
        (" august", ["8"], "Read the worksheet “August”, and not “June”, “July”."),
    ],
)
def test_of_several_sheets_the_first_is_read_unless_one_is_named(
    sent: Desk, sheet: str | None, row: list[str], note: str
) -> None:
    outcome = sent(workbook(*SHEETS), "june.xlsx", **({"sheet": sheet} if sheet else {}))

    assert [row] == outcome.rows
    assert note in outcome.upload.notes


def test_a_sheet_that_does_not_exist_fails_and_names_those_that_do(sent: Desk) -> None:
    assert sent(workbook(*SHEETS), "june.xlsx", sheet="May").refusal == (
        "The workbook has no worksheet “May”. Choose one of “June”, “July”, “August”."
    )


def test_error_cells_of_a_workbook_fail_their_rows(sent: Desk) -> None:
    rows: list[list[Any]] = [["id", "share", "name"], [1, 0.5, "x"], [2, "#DIV/0!", "y"], [3, "=B2/A9", "#N/A"]]
    outcome = sent(workbook(("June", rows)), "june.xlsx")

    assert outcome.rows == [["1", "0.5", "x"]]
    assert outcome.bad == {
        2: (["2", "#DIV/0!", "y"], "share: is an error in the workbook (#DIV/0!, cell B3)"),
        3: (
            ["3", "=B2/A9", "#N/A"],
            "share: is a formula without a stored result in the workbook: open it in Excel and save it again (cell"
            " B4); name: is an error in the workbook (#N/A, cell C4)",
        ),
    }


# Limits


def test_too_many_columns_fail(sent: Desk) -> None:
    assert sent(",".join(f"c{n}" for n in range(1501)) + "\n").refusal == (
        "The file has 1,501 columns; at most 1,500 can be imported."
    )


@pytest.mark.parametrize("stray", ["", '5"'])
def test_a_cell_that_is_too_long_fails_its_row_and_says_the_limit(sent: Desk, stray: str) -> None:
    long = "x" * (1 << 20)
    outcome = sent(f"id,name\n1,{stray}\n2,{long}\n3,z\n")

    assert outcome.rows == [["1", stray], ["3", "z"]]
    assert outcome.sentences == {2: "is longer than 1,048,576 bytes"}


ZEROS = b"id,name\n" + b"0,0\n" * 4_000_000


@pytest.mark.parametrize("filename", ["june.csv.gz", "june.zip"])
def test_an_archive_that_expands_too_far_for_its_size_fails_and_names_the_setting(sent: Desk, filename: str) -> None:
    content = gzip.compress(ZEROS, 9) if filename.endswith("gz") else zipped(june=ZEROS)

    assert sent(content, filename).refusal == (
        "The archive expands to more than 200 times its size, the limit of this server. Upload the table as an"
        " uncompressed CSV file, or ask the administrator to raise BULK_UPLOAD_MAX_EXPANSION_RATIO."
    )


@pytest.mark.parametrize("filename", ["june.csv.gz", "june.zip", "june.xlsx"])
def test_an_archive_that_expands_to_more_than_is_allowed_fails_and_names_the_setting(
    sent: Desk, monkeypatch: pytest.MonkeyPatch, filename: str
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_MAX_EXPANDED_BYTES", "1000")
    content = b"id,name\n" + b"1,x\n" * 1000
    contents = {
        "june.csv.gz": gzip.compress(content),
        "june.zip": zipped(june=content),
        "june.xlsx": workbook(("June", [["id"], *([n] for n in range(100))])),
    }
    what = "workbook" if filename.endswith("xlsx") else "archive"

    assert sent(contents[filename], filename).refusal == (
        f"The {what} expands to more than 1,000 bytes, the limit of this server."
        " Split the table, or ask the administrator to raise BULK_UPLOAD_MAX_EXPANDED_BYTES."
    )


def test_a_higher_limit_lets_an_archive_in(sent: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UPLOAD_MAX_EXPANSION_RATIO", "5000")
    content = b"id,name\n" + b"0,%s\n" % (b"0" * 1000) * 15_000

    assert sent(gzip.compress(content, 9), "june.csv.gz").upload.rows_success == 15_000


# Archives


@pytest.mark.parametrize("content", [gzip.compress(b"id,name\n1,x\n2,y\n"), zipped(june=b"id,name\n1,x\n2,y\n")])
def test_what_is_in_an_archive_is_imported(sent: Desk, content: bytes) -> None:
    outcome = sent(content, "june.gz" if content.startswith(b"\x1f") else "june.zip")

    assert outcome.rows == [["1", "x"], ["2", "y"]]
    assert outcome.upload.notes[0] in ("Unpacked from gzip.", "Unpacked “june” from a ZIP archive.")


MANY = "id,name\n" + "".join(f"{n},{n * n % 7919}\n" for n in range(20_000))


def corrupt(content: bytes) -> bytes:
    """With bytes in its middle that are others."""
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 50]) + content[middle + 50 :]


@pytest.mark.parametrize(
    ("content", "filename", "sentence"),
    [
        (gzip.compress(MANY.encode())[:-1000], "june.gz", "The file is incomplete: its end is missing."),
        (corrupt(gzip.compress(MANY.encode())), "june.gz", "The archive is damaged ("),
        (zipped(june=MANY.encode())[:-1000], "june.zip", "The file is incomplete: its end is missing."),
        (corrupt(zipped(june=MANY.encode())), "june.zip", "The archive is damaged ("),
        (zipped(june=b"a\n1\n", july=b"a\n2\n"), "june.zip", "The archive contains 2 files: “june”, “july”."),
        (zipped(), "june.zip", "The archive is empty."),
        (
            workbook(("June", [["id"], *([n] for n in range(5_000))]))[:-1000],
            "june.xlsx",
            "The file is incomplete: its end is missing.",
        ),
        (
            workbook(("June", [["id"], [1]])).replace(b"xl/worksheets/sheet1", b"xl/worksheets/sheet9"),
            "june.xlsx",
            "The workbook is damaged or incomplete (",
        ),
    ],
)
def test_an_archive_that_is_truncated_or_corrupt_imports_nothing(
    sent: Desk, content: bytes, filename: str, sentence: str
) -> None:
    outcome = sent(content, filename)

    assert outcome.refusal.startswith(sentence)
    assert outcome.upload.dataset is None


# Headers


FIELDS: list[dict[str, Any]] = [
    {"name": "sku", "constraints": {"required": True}},
    {"name": "unit_price", "type": "number", "aliases": ["Preis", "price"]},
    {"name": "Sold On", "type": "date", "format": "%d/%m/%Y"},
]


def test_a_required_column_that_is_missing_fails_the_upload_before_a_row_is_read(sent: Desk) -> None:
    dataset = sent.declare("lacking", *FIELDS)

    assert sent("article,price\nA1,7\n", dataset=dataset).refusal == (
        "Required columns are missing: “sku”. The columns of the file are “article”, “price”."
    )


@pytest.mark.parametrize("header", ["sku,unit_price,Sold On", "SKU, Unit Price ,sold-on", "sku,PREIS,soldon"])
def test_columns_match_regardless_of_case_and_spaces_and_by_alias(sent: Desk, header: str) -> None:
    dataset = f"matching_{len(header)}_{header.count(' ')}_{header.count('P')}"
    outcome = sent(f"{header}\nA1,7.50,31/01/2026\n", dataset=sent.declare(dataset, *FIELDS))

    assert (outcome.rows, outcome.bad) == ([["A1", "7.5", "31/01/2026"]], {})


def test_columns_may_be_in_another_order_and_unknown_and_missing_ones_are_warnings(sent: Desk) -> None:
    outcome = sent("note,price,sku,who\nx,7,A1,Ann\n", dataset=sent.declare("others", *FIELDS))

    assert (outcome.rows, outcome.bad) == ([["A1", "7", ""]], {})
    assert [(each["code"], each.get("columns") or each["fields"]) for each in outcome.upload.warnings] == [
        ("columns_ignored", ["note", "who"]),
        ("fields_empty", ["Sold On"]),
    ]
    assert outcome.upload.header == ["note", "price", "sku", "who"]


def test_a_row_that_is_wrong_is_kept_as_it_came_with_every_reason(sent: Desk) -> None:
    content = "sku;Preis;sold on;note\nA1;12,5x;30/02/2026;a\n;7;1/2/2026;b\nA3;8;2/2/2026;c\n"
    outcome = sent(content, dataset=sent.declare("reasons", *FIELDS))

    assert outcome.rows == [["A3", "8", "02/02/2026"]]
    assert outcome.bad == {
        1: (
            ["A1", "12,5x", "30/02/2026", "a"],
            "unit_price: “12,5x” is not a number;"
            " Sold On: “30/02/2026” is not a date like 31/01/2026 (30 February does not exist)",
        ),
        2: (["", "7", "1/2/2026", "b"], "sku: is required"),
    }


def test_words_for_no_value_are_missing_and_come_back(sent: Desk) -> None:
    lines = [f"{n},{n}.50,{n % 28 + 1}/{n % 12 + 1}/2026 {n % 24}:05" for n in range(30)]
    outcome = sent("\n".join(["id,price,at", *lines, "n/a,n/a,n/a", "n/a,-,n/a"]))

    assert (outcome.upload.rows_success, outcome.bad) == (32, {})
    assert outcome.rows == [*(line.split(",") for line in lines), ["n/a"] * 3, ["n/a"] * 3]
    assert [(each["code"], each["column"], each["words"]) for each in outcome.upload.warnings] == [
        ("values_as_missing", "id", {"n/a": 2}),
        ("values_as_missing", "price", {"n/a": 1, "-": 1}),
        ("values_as_missing", "at", {"n/a": 2}),
    ]


def test_values_that_do_not_have_the_chosen_type_fail(sent: Desk) -> None:
    outcome = sent("id,price\n1,1.50\n2,twelve\n3,n/a\n", types={"price": "number"})

    assert outcome.rows == [["1", "1.50"], ["3", "n/a"]]
    assert outcome.sentences == {2: "price: “twelve” is not a number"}
    assert [each["code"] for each in outcome.upload.warnings] == ["values_as_missing"]


def test_moments_of_every_spelling_come_back(sent: Desk) -> None:
    rows = [
        ["2026-01-31T09:00:00.120+02:00", "5/19/2006 12:05:00 AM", "31 Dec 2026", "9:30", "1e-05", "-$1,234.50"],
        ["2026-07-31T00:30:00.500+02:00", "12/1/2006 11:00:00 PM", "1 Jan 0999", "14:05", "0.25", "$0.50"],
    ]
    outcome = sent("a;b;c;d;e;f\n" + "".join(";".join(row) + "\n" for row in rows))

    assert outcome.rows == rows
    assert outcome.bad == {}
