"""What goes in comes out: any table through a whole import, and failed rows to a spreadsheet and back."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import bulk_upload, corrections, datasets, failed_rows, uploads
from jobs.corrections import TRACKING_COLUMNS
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.export import csv_text
from jobs.export.failed_rows import BOM
from jobs.failed_rows import FailedRow, Reason
from jobs.formats.dialect import DELIMITERS
from jobs.import_options import ImportOptions
from jobs.pipeline import reader
from jobs.pipeline.source import TextFile
from jobs.schema import OWN_COLUMNS, SYSTEM_COLUMNS, TableSchema
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.corrections import corrections_file
from tests.support.files import store
from tests.support.services import RedisServer

#: The same examples in every run; no deadline for a machine that has other things to do.
STEADY = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


class Desk:
    """Where tables are handed in."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database, bulk=True)
        self._numbers = count(1)

    def send(self, content: str, dataset: str | None = None, **options: Any) -> Upload:
        """The upload after its job has run. Without a dataset, into one of its own."""
        wanted = "" if dataset else f"table_{next(self._numbers)}"
        with self.database.transaction() as connection:
            file = store(self.settings, content)
            upload = uploads.create(
                connection, file, dataset=dataset, dataset_wanted=wanted, options=ImportOptions(**options)
            )
        bulk_upload.run(upload.id)
        with self.database.reading() as connection:
            return uploads.get(connection, upload.id)

    def rows(self, upload: Upload) -> list[list[str]]:
        """Those of its dataset."""
        with self.database.reading() as connection:
            dataset = datasets.get(connection, str(upload.dataset))
            return [row.cells for row in list(datasets.each_after(connection, dataset, None, limit=999))]

    def bad(self, upload: Upload) -> list[FailedRow]:
        with self.database.reading() as connection:
            return failed_rows.rows(connection, upload.id, limit=999)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, _redis_of_session: RedisServer) -> Iterator[Desk]:
    settings = Settings.load(
        data=tmp_path_factory.mktemp("data"), database_url=None, redis_url=_redis_of_session.url, chunk_bytes=256
    )
    migrate(settings)
    desk = Desk(settings)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.environment().items():
            environment.setenv(name, value)
        yield desk
    desk.database.close()


# Tables

#: Cells that mean something to somebody: to CSV, to a spreadsheet, to a database, to those who guess types.
ODD = [
    "", " ", '"', '""', '"a"', "'", ",", ";", "\t", "|", "\n", "\r\n", "\r", "\\", "\\N", "\\.", "a,b;c|d\te",
    '5" pipe', "007", "+5", "-0", "1.50", "1e5", "0x1F", "NULL", "NaN", "NA", "true", "2026-02-30",
    "12345678901234567890",
    "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "'=1", "''-5", "\t=1", "\ufeff", "\u2028", "\x85", "\xa0", "é",
    "e\u0301", "😀", "売上", "\ufffd", "%s", ":p", "?",
]  # fmt: skip
#: All there is but lone surrogates, and control characters, of which text files have few: many make a file binary.
ANY = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r\v\f\x85")
CELLS = st.sampled_from(ODD) | st.text(ANY, max_size=6) | st.text(st.sampled_from('",;\t|\n\r a1'), max_size=8)
NAMES = (
    st.text(st.characters(categories=["L", "N", "P", "S"]) | st.just(" "), min_size=1, max_size=10)
    .map(lambda name: " ".join(name.split()))
    .filter(lambda name: name and name.isprintable() and name.casefold() not in (*OWN_COLUMNS, *SYSTEM_COLUMNS))
    .filter(lambda name: not name.lower().startswith(("sep=", "<", "{", "[", "%pdf", '"')))
)


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str] = CELLS, least: int = 1) -> list[list[str]]:
    """A header and rows below it. least: columns."""
    header = draw(st.lists(NAMES, min_size=least, max_size=5, unique_by=str.casefold))
    row = st.lists(cells, min_size=len(header), max_size=len(header))
    return [header, *draw(st.lists(row, max_size=8))]


def written(table: list[list[str]], delimiter: str, quoting: Any, newline: str) -> str:
    text = io.StringIO(newline="")
    if newline == "\n" and any("\r" in cell for row in table for cell in row):
        quoting = csv.QUOTE_ALL  # else Python leaves a carriage return without quotes, and it ends a line
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=newline).writerows(table)
    return text.getvalue()


DELIMITER = st.sampled_from(DELIMITERS)
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
NEWLINE = st.sampled_from(["\n", "\r\n"])


def rows_of(table: list[list[str]]) -> list[list[str]]:
    """The records of a table that are rows: one without any value is a blank line, unless it has a single cell; one
    that repeats a header of several columns is a header."""
    names = [name.strip() for name in table[0]]
    repeatable = len(names) > 1 and any(character.isalpha() for name in names for character in name)
    return [
        row
        for row in table[1:]
        if (len(row) == 1 or any(cell.strip() for cell in row))
        and not (repeatable and [cell.strip() for cell in row] == names)
    ]


@STEADY
@given(table=tables(), delimiter=DELIMITER, quoting=QUOTING, newline=NEWLINE)
def test_any_table_read_as_text_comes_out_as_it_went_in(
    desk: Desk, table: list[list[str]], delimiter: str, quoting: int, newline: str
) -> None:
    content = written(table, delimiter, quoting, newline)
    upload = desk.send(content, types="text", delimiter=delimiter, header_row=1)

    assert (upload.status, upload.error, upload.rows_failed) == (Status.COMPLETED, None, 0)
    assert upload.header == table[0]
    assert rows_of(table) == desk.rows(upload)


#: Cells as they are in most files.
PLAIN = st.text(st.sampled_from("abcxyzÄé 0123456789.-"), max_size=8)


@STEADY
@given(table=tables(PLAIN, least=2), delimiter=DELIMITER, quoting=QUOTING, newline=NEWLINE)
def test_the_dialect_of_a_plain_table_need_not_be_said(
    desk: Desk, table: list[list[str]], delimiter: str, quoting: int, newline: str
) -> None:
    table[0] = [f"name {n}" for n in range(len(table[0]))]
    upload = desk.send(written(table, delimiter, quoting, newline), types="text")

    assert (upload.header, upload.rows_failed) == (table[0], 0)
    assert rows_of(table) == desk.rows(upload)


def numbers(places: int) -> st.SearchStrategy[str]:
    return st.decimals(-(10**9), 10**9, places=places).map(str)


#: Columns that look like a type, each with a cell now and then that does not.
COLUMNS = [
    st.integers(-(2**65), 2**65).map(str),
    st.integers(0, 999).map(lambda number: f"{number:03}"),
    numbers(2) | numbers(5) | st.integers(-99, 99).map(str),
    st.floats(allow_nan=True).map(str),
    st.sampled_from(["true", "false"]),
    st.sampled_from(["True", "False", "yes", "1"]),
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds")),
    st.datetimes().map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}"),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds") + "Z"),
    st.times().map(str),
    CELLS,
]


@st.composite
def typed_tables(draw: st.DrawFn) -> list[list[str]]:
    kinds = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5))
    height = draw(st.integers(0, 8))
    odd = draw(st.sampled_from([st.nothing(), st.just(""), st.sampled_from(ODD)]))
    columns = [draw(st.lists(kind | odd, min_size=height, max_size=height)) for kind in kinds]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return [[f"c{number}" for number in range(len(kinds))], *rows]


@STEADY
@given(table=typed_tables(), delimiter=DELIMITER)
def test_with_the_types_that_are_found_every_cell_keeps_its_text_or_its_number(
    desk: Desk, table: list[list[str]], delimiter: str
) -> None:
    upload = desk.send(written(table, delimiter, csv.QUOTE_MINIMAL, "\r\n"), delimiter=delimiter)

    assert (upload.status, upload.error, upload.rows_failed) == (Status.COMPLETED, None, 0)
    found = desk.rows(upload)
    assert len(rows_of(table)) == len(found)
    assert all(
        cell in (kept, f" {kept}") or is_same_number(cell, kept) or is_missing(cell, kept)
        for row, stored in zip(rows_of(table), found, strict=True)
        for cell, kept in zip(row, stored, strict=True)
    ), (table, found)


def is_missing(cell: str, kept: str) -> bool:
    """Whether a word for no value came back as another one of its column."""
    words = {"", "NULL", "NaN", "nan", "NA", "?"}
    return cell.strip() in words and kept in words


def is_same_number(one: str, other: str) -> bool:
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


# Failed rows


@STEADY
@given(table=tables())
def test_failed_rows_come_back_from_their_download_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    header, *rows = table
    failed = [FailedRow(n, cells, [Reason(header[0], "is wrong", cells[0])]) for n, cells in enumerate(rows, start=5)]
    lines = [corrections.header(header), *(corrections.record(row, 77, len(header)) for row in failed)]
    path = tmp_path_factory.getbasetemp() / "failed-rows.csv"
    path.write_bytes(BOM + csv_text.lines(lines))
    prepared = reader.inspect(TextFile(path))
    chunks = list(reader.chunks(prepared, start=prepared.first_byte, row=1, chunk_bytes=256))

    assert header == prepared.names
    assert (prepared.parent, prepared.tracking_columns) == (77 if rows else None, 3)
    assert [row for chunk in chunks for row in chunk.failed] == []
    assert rows == [cells for chunk in chunks for cells in chunk.rows.to_numpy().tolist()]


def download(desk: Desk, upload: Upload) -> list[list[str]]:
    """The file of failed rows, as a spreadsheet reads it."""
    content = corrections_file(desk.database, upload)
    assert content.startswith(BOM)
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def people(desk: Desk, name: str) -> str:
    """A dataset of people, into which two rows of a file did not go."""
    fields = [{"name": "id", "type": "integer"}, {"name": "name"}, {"name": "born", "type": "date"}]
    with desk.database.transaction() as connection:
        schema = TableSchema.parse({"fields": fields, "primaryKey": "id"})
        datasets.declare(connection, name, schema, Mode.INSERT)
    return name


FILE = 'id,name,born,note\n1,Ann,1999-12-31,a\n2,=Bob(),31.12.1999,=b\nx,Cid,,"c, ""d"""\n4,Dan,2000-01-01,\n'
MARKED = [
    ["id", "name", "born", "note", *TRACKING_COLUMNS],
    ["2", "'=Bob()", "31.12.1999", "'=b", "{}", "2", "born: “31.12.1999” is not a date like 2026-01-31"],
    ["x", "Cid", "", 'c, "d"', "{}", "3", "id: “x” is not a whole number"],
]


@pytest.mark.parametrize(
    ("delimiter", "bom", "newline"),
    [(",", "\ufeff", "\r\n"), (";", "\ufeff", "\r\n"), (",", "", "\n"), ("\t", "", "\n")],
)
def test_corrected_failed_rows_become_a_child_and_lose_nothing(
    desk: Desk, delimiter: str, bom: str, newline: str
) -> None:
    dataset = people(desk, f"people_{ord(delimiter)}_{len(bom)}_{len(newline)}")
    parent = desk.send(FILE, dataset)
    marked = download(desk, parent)

    assert (parent.status, parent.rows_success, parent.rows_failed) == (Status.COMPLETED, 2, 2)
    assert [MARKED[0], *([cell.format(parent.id) for cell in row] for row in MARKED[1:])] == marked

    corrected = [[{"31.12.1999": "1999-12-31", "x": "3"}.get(cell, cell) for cell in row] for row in marked]
    child = desk.send(bom + written(corrected, delimiter, csv.QUOTE_MINIMAL, newline), dataset)

    assert (child.status, child.rows_success, child.rows_failed) == (Status.COMPLETED, 2, 0)
    assert (child.parent, child.header) == (parent.id, ["id", "name", "born", "note"])
    assert [each["columns"] for each in child.warnings] == [["note"]]
    assert desk.rows(child) == [
        ["1", "Ann", "1999-12-31"],
        ["2", "=Bob()", "1999-12-31"],
        ["3", "Cid", ""],
        ["4", "Dan", "2000-01-01"],
    ]


def test_what_is_still_wrong_fails_again_and_can_be_downloaded_again(desk: Desk) -> None:
    dataset = people(desk, "people_again")
    first = desk.send(FILE, dataset)
    rows = download(desk, first)
    rows[2][0] = "3"
    second = desk.send(written(rows, ",", csv.QUOTE_MINIMAL, "\r\n"), dataset)
    again = download(desk, second)

    assert (second.status, second.rows_success, second.rows_failed) == (Status.COMPLETED, 1, 1)
    assert [row.cells for row in desk.bad(second)] == [["2", "=Bob()", "31.12.1999", "=b"]]
    assert [rows[0], [*rows[1][:4], str(second.id), "1", rows[1][6]]] == again


def test_rows_whose_cells_are_too_many_keep_them_in_the_reason(desk: Desk) -> None:
    dataset = people(desk, "people_ragged")
    upload = desk.send("id,name,born\n1,Ann\n2,Bob,,more,=1\n3,Cid,\n", dataset)

    assert download(desk, upload)[1:] == [
        ["1", "Ann", "", str(upload.id), "1", "has 2 cells, expected 3"],
        ["2", "Bob", "", str(upload.id), "2", "has 5 cells, expected 3; surplus cells: more, =1"],
    ]


def test_failed_rows_of_an_upload_that_is_not_here_are_nobodys_children(desk: Desk) -> None:
    dataset = people(desk, "people_orphaned")
    upload = desk.send(f"id,name,born,{','.join(TRACKING_COLUMNS)}\n1,Ann,,404404,1,why\n", dataset)

    assert (upload.parent, upload.rows_success, upload.header) == (None, 1, ["id", "name", "born"])


def test_marks_that_are_not_all_there_are_columns_like_others(desk: Desk) -> None:
    upload = desk.send("id,_row_number,_error\n1,2,why\n")

    assert upload.header == ["id", "_row_number_2", "_error"]
    assert (upload.parent, desk.rows(upload)) == (None, [["1", "2", "why"]])


def test_an_apostrophe_is_only_taken_away_from_what_was_given_one(desk: Desk) -> None:
    dataset = people(desk, "people_quoted")
    parent = desk.send("id,name,born\nx,a,\n1,b,\n", dataset)
    texts = ["'tis", "''", "'=1", "''=1", "'+49", "-5", "'-5", "'\t", "'"]
    rows = [[str(n), text, "", str(parent.id), str(n), "why"] for n, text in enumerate(texts, start=10)]
    child = desk.send(
        written([["id", "name", "born", *TRACKING_COLUMNS], *rows], ",", csv.QUOTE_MINIMAL, "\r\n"), dataset
    )

    assert child.rows_success == len(texts)
    assert [row[1] for row in desk.rows(child)[1:]] == ["'tis", "''", "=1", "'=1", "+49", "-5", "-5", "\t", "'"]


def test_a_file_without_marks_keeps_its_apostrophes(desk: Desk, tmp_path: Path) -> None:
    upload = desk.send("id,name\n1,'=1\n2,'+5\n")

    assert desk.rows(upload) == [["1", "'=1"], ["2", "'+5"]]
