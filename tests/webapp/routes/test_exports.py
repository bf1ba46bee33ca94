"""Exports of a dataset's rows: CSV, JSON lines, Parquet and Excel, with filters."""

import csv
import io
import json
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Any

import openpyxl
import psutil
import pyarrow.parquet as pq
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from jobs import datasets
from jobs.errors import NotExportableError
from jobs.export import blocks, workbook
from jobs.export.blocks import Blocks, ExportStoppedError
from jobs.rows.selection import ALL
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Status
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.serving import Served, Worker
from tests.support.waiting import until
from webapp import export_process


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


# CSV


@ONE_DATABASE
def test_formulas_are_escaped_for_people_and_not_for_programs(served: Served) -> None:
    values = ["=1", "-5", "x;=1", "x\n@a", "\uff1d1", "a=b", "1;-2"]
    served.records.dataset("sales", [(-n, text, True) for n, text in enumerate(values)])
    escaped = ["'=1", "-5", "x;'=1", "x\n'@a", "'\uff1d1", "a=b", "1;-2"]

    for path, expected in (
        ("/datasets/sales/rows.csv", escaped),
        ("/datasets/sales/rows.csv?raw=1", values),
        ("/api/v1/datasets/sales/rows.csv", values),
        ("/api/v1/datasets/sales/rows.csv?raw=0", values),
    ):
        _, *rows = csv.reader(io.StringIO(served.client.get(path).text, newline=""))

        assert rows == [[str(-n), text, "yes"] for n, text in enumerate(expected)], path


@ONE_DATABASE
def test_names_of_columns_are_escaped_for_people_and_not_for_programs(served: Served) -> None:
    served.records.declare("sales", {"name": "=a"}, {"name": "b;-c"}, {"name": "d"})

    assert served.client.get("/datasets/sales/rows.csv").text == "'=a,b;'-c,d\r\n"
    assert served.client.get("/datasets/sales/rows.csv?raw=1").text == "=a,b;-c,d\r\n"
    assert served.client.get("/api/v1/datasets/sales/rows.csv").text == "=a,b;-c,d\r\n"


ROUND_TRIP = [
    ["id", "name", "born", "seen", "paid", "share", "Größe"],
    ["1", 'say "hello", you', "1999-12-31", "2026-01-31T09:00:00Z", "true", "0.5", "007"],
    ["2", "two\nlines", "", "", "", "", ""],
    ["-3", "Zoë 数", "2000-02-29", "2026-01-31T23:59:59Z", "false", "-12.25", "+5"],
]


def test_rows_can_be_downloaded_as_uploaded(served: Served) -> None:
    with Worker(served.settings):
        upload_id = served.post(as_csv(ROUND_TRIP), "people.csv").json()["id"]
        upload = served.finished()
    plain = served.client.get("/api/v1/datasets/people/rows.csv")
    told = served.client.get("/datasets/people/rows.csv?provenance=1")
    header, *rows = ROUND_TRIP

    assert (upload.status, upload.rows_success) == (Status.COMPLETED, 3)
    assert plain.headers["content-type"] == "text/csv; charset=utf-8"
    assert plain.headers["content-disposition"] == 'attachment; filename="people.csv"'
    assert plain.content == as_csv(ROUND_TRIP)
    assert told.content == as_csv(
        [[*header, "_upload_id", "_row_number"], *([*row, str(upload_id), str(n)] for n, row in enumerate(rows, 1))]
    )


def test_rows_are_read_in_several_queries_without_a_gap(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 4)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 40)
    for count in (0, 3, 4, 5, 8, 13):
        served.records.dataset(f"sales_{count}", [(n, "x", True) for n in range(count)])
        lines = served.client.get(f"/datasets/sales_{count}/rows.csv").text.splitlines()

        assert lines == ["id,name,paid", *(f"{n},x,yes" for n in range(count))]


def test_rows_of_a_dataset_with_a_key_come_in_its_order(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 2)
    fields = [{"name": "code"}, {"name": "day", "type": "date"}, {"name": "sum", "type": "number"}]
    schema = TableSchema.parse({"fields": fields, "primaryKey": ["day", "code"]})
    with served.records.database.transaction() as connection:
        dataset = datasets.declare(connection, "sales", schema, datasets.Mode.UPSERT)
        cells = [("b", 2), ("a", 3), ("a", 2), ("ü", 1), ("a,", 1)]
        rows = [{"code": code, "day": f"2026-01-0{day}", "sum": n / 2} for n, (code, day) in enumerate(cells, 1)]
        insert_rows(connection, dataset, *rows)
    found = list(csv.reader(io.StringIO(served.client.get("/datasets/sales/rows.csv").text)))

    assert [row[1] for row in found] == ["day", "2026-01-01", "2026-01-01", "2026-01-02", "2026-01-02", "2026-01-03"]
    assert sorted(map(tuple, found[1:])) == [
        ("a", "2026-01-02", "1.5"),
        ("a", "2026-01-03", "1"),
        ("a,", "2026-01-01", "2.5"),
        ("b", "2026-01-02", "0.5"),
        ("ü", "2026-01-01", "2"),
    ]


def test_rows_of_a_megabyte_come_in_bounded_pieces(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(n, "é" * 500_000, True) for n in range(9)])
    sizes: list[int] = []
    original = Blocks._make

    def recorded(self: Blocks, stretch: Any) -> Any:
        found = original(self, stretch)
        sizes.append(len(found[0]))
        return found

    monkeypatch.setattr(Blocks, "_make", recorded)
    content = served.client.get("/datasets/sales/rows.csv").content

    assert content == as_csv([["id", "name", "paid"], *([str(n), "é" * 500_000, "yes"] for n in range(9))])
    assert max(sizes) <= blocks.TOLERANCE * blocks.BLOCK_BYTES


# Other formats


def worksheet(content: bytes) -> list[dict[str, Any]]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).active
    assert isinstance(sheet, Worksheet)
    header, *rows = sheet.values
    return [dict(zip(map(str, header), row, strict=True)) for row in rows]


#: What reads each format, as an object a row.
READERS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    "csv": lambda content: list(csv.DictReader(io.StringIO(content.decode()))),
    "jsonl": lambda content: [json.loads(line) for line in content.splitlines()],
    "parquet": lambda content: pq.read_table(io.BytesIO(content)).to_pylist(),
    "xlsx": worksheet,
}

FIELDS: list[dict[str, Any]] = [
    {"name": "code", "constraints": {"required": True}},
    {"name": "count", "type": "integer"},
    {"name": "price", "type": "number", "decimals": 2},
    {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
    {"name": "day", "type": "date", "format": "%d.%m.%Y"},
    {"name": "seen", "type": "datetime"},
    {"name": "at", "type": "time"},
]
HEADER = [field["name"] for field in FIELDS]
IMPORTED = [
    HEADER,
    ["b", "2", "1.50", "ja", "05.01.2026", "2026-01-31T09:00:00Z", "09:05:07"],
    ["a", "", "", "", "", "", ""],
    ["=1+1", "-3", "-0.25", "nein", "31.12.1899", "1970-01-01T00:00:00.500000Z", "23:59:59"],
    ['say "hello", 数 %s', "9007199254740993", "1e20", "ja", "29.02.2024", "2024-02-29T12:00:00Z", "00:00:00"],
]
VALUES: list[list[Any]] = [
    ["=1+1", -3, -0.25, False, date(1899, 12, 31), datetime(1970, 1, 1, 0, 0, 0, 500_000, UTC), clock(23, 59, 59)],
    ["a", None, None, None, None, None, None],
    ["b", 2, 1.5, True, date(2026, 1, 5), datetime(2026, 1, 31, 9, tzinfo=UTC), clock(9, 5, 7)],
    ['say "hello", 数 %s', 2**53 + 1, 1e20, True, date(2024, 2, 29), datetime(2024, 2, 29, 12, tzinfo=UTC), clock(0)],
]


@pytest.fixture
def sold(served: Served) -> Served:
    """With a dataset `sales` whose key is `code`."""
    served.records.declare("sales", *FIELDS, primaryKey=["code"])
    with Worker(served.settings):
        served.post(as_csv(IMPORTED), "sales.csv", dataset="sales")
        upload = served.finished()
    assert (upload.status, upload.rows_success) == (Status.COMPLETED, 4)
    served.client.timeout = 60  # a process that makes a file starts first
    return served


def test_json_lines_have_typed_values_in_the_order_of_the_key(sold: Served) -> None:
    answer = sold.client.get("/api/v1/datasets/sales/rows.jsonl")
    found = [json.loads(line) for line in answer.text.splitlines()]
    expected: list[list[Any]] = [
        [value.isoformat().replace("+00:00", "Z") if isinstance(value, date | clock) else value for value in row]
        for row in VALUES
    ]

    assert answer.headers["content-type"] == "application/jsonl; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="sales.jsonl"'
    assert [list(row) for row in found] == [HEADER] * 4
    assert [list(row.values()) for row in found] == expected


def test_a_parquet_file_has_typed_columns_in_the_order_of_the_key(sold: Served) -> None:
    answer = sold.client.get("/api/v1/datasets/sales/rows.parquet")
    found = pq.read_table(io.BytesIO(answer.content))

    assert answer.headers["content-length"] == str(len(answer.content))
    assert [str(field.type) for field in found.schema] == [
        "string", "int64", "double", "bool", "date32[day]", "timestamp[us, tz=UTC]", "time64[us]",
    ]  # fmt: skip
    assert [list(row.values()) for row in found.to_pylist()] == VALUES


def test_a_workbook_has_typed_cells_and_never_a_formula(sold: Served) -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(sold.client.get("/datasets/sales/rows.xlsx").content)).active
    assert sheet is not None
    header, *rows = list(sheet.iter_rows())

    assert [cell.value for cell in header] == HEADER
    assert {cell.data_type for row in rows for cell in row} == {"s", "n", "b", "d"}
    assert [[cell.value for cell in row] for row in rows] == [
        ["=1+1", -3, -0.25, False, "1899-12-31", datetime(1970, 1, 1, 0, 0, 0, 500_000), clock(23, 59, 59)],
        ["a", None, None, None, None, None, None],
        ["b", 2, 1.5, True, datetime(2026, 1, 5), datetime(2026, 1, 31, 9), clock(9, 5, 7)],
        [
            'say "hello", 数 %s', "9007199254740993", 1e20, True,
            datetime(2024, 2, 29), datetime(2024, 2, 29, 12), clock(0),
        ],
    ]  # fmt: skip


def test_each_format_tells_the_origin_of_rows_and_takes_filters(sold: Served) -> None:
    query = "provenance=1&raw=1&count__gte=2&sort=-count"
    for extension, read in READERS.items():
        rows = read(sold.client.get(f"/datasets/sales/rows.{extension}?{query}").content)

        assert list(rows[-1]) == [*HEADER, "_upload_id", "_row_number"]
        assert [int(row["count"]) for row in rows] == [2**53 + 1, 2]
        assert [int(value) for value in list(rows[0].values())[-2:]] == [1, 4]


@ONE_DATABASE
def test_more_rows_than_a_worksheet_has_are_refused(sold: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 4)
    with sold.records.database.reading() as connection:
        dataset = datasets.get(connection, "sales")
        with pytest.raises(NotExportableError, match=r"^There are more than 3 rows, which is"):
            workbook.write(connection, dataset, ALL, Path(os.devnull), provenance=False)


@ONE_DATABASE
@pytest.mark.parametrize(("text", "fits"), [("x" * 32_767, True), ("x" * 32_768, False), ("😀" * 16_384, False)])
def test_a_cell_that_excel_has_no_room_for_is_a_problem(served: Served, text: str, fits: bool) -> None:
    served.records.dataset("sales", [(1, "x", True), (2, text, True)])
    answer = served.client.get("/api/v1/datasets/sales/rows.xlsx")

    assert answer.status_code == (200 if fits else 422)
    if not fits:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Too large for this format"
        assert answer.json()["detail"].startswith("“name” has more than 32,767 characters in row 2, which")
    assert list(served.settings.exports.iterdir()) == []


def test_a_format_that_does_not_exist_is_not_found(served: Served) -> None:
    served.records.dataset("sales")

    assert served.client.get("/api/v1/datasets/sales/rows.ods").status_code == 404
    assert served.client.get("/api/v1/datasets/other/rows.parquet").status_code == 404


# Filters


def codes(served: Served, query: str, extension: str = "csv") -> list[str]:
    """The first cell of each row."""
    content = served.client.get(f"/api/v1/datasets/sales/rows.{extension}?{query}")
    assert content.status_code == 200, content.text
    return [row[0] for row in csv.reader(io.StringIO(content.text))][1:]


#: A query → the first cells of the rows that it chooses, in order.
CHOSEN: list[tuple[str, list[str]]] = [
    ("code=a", ["a"]),
    ("code__eq=%3D1%2B1", ["=1+1"]),
    ("code__contains=HELLO", ['say "hello", 数 %s']),
    ("code__contains=%25", ['say "hello", 数 %s']),
    ("count=2", ["b"]),
    ("count__gte=2", ["b", 'say "hello", 数 %s']),
    ("count__lte=-3", ["=1+1"]),
    ("price__gte=1.5", ["b", 'say "hello", 数 %s']),
    ("price__gte=10", ['say "hello", 数 %s']),
    ("paid=ja", ["b", 'say "hello", 数 %s']),
    ("paid=false", ["=1+1"]),
    ("day__gte=2024-03-01", ["b"]),
    ("day__gte=01.03.2024", ["b"]),
    ("day__lte=1900-01-01", ["=1+1"]),
    ("seen=2026-01-31", ["b"]),
    ("seen__lte=1970-01-01", ["=1+1"]),
    ("seen__gte=1970-01-01T00:00:00Z&seen__lte=1971-01-01", ["=1+1"]),
    ("seen__lte=1970-01-01T00:00:00Z", []),
    ("seen=2026-01-31T10:00:00%2B01:00", ["b"]),
    ("at__lte=09:05:07", ["b", 'say "hello", 数 %s']),
    ("count__empty=1", ["a"]),
    ("count__empty=0", ["=1+1", "b", 'say "hello", 数 %s']),
    ("upload=1&code=b", ["b"]),
    ("upload=2", []),
    ("count__gte=0&paid=ja&price__lte=2", ["b"]),
    ("search=HELLO", ['say "hello", 数 %s']),
    ("search=%25", ['say "hello", 数 %s']),
    ("search=_", []),
    ("search=%5C", []),
    ("search=数&count__gte=1", ['say "hello", 数 %s']),
    ("search=o&sort=-count", ['say "hello", 数 %s']),
    ("sort=count", ["=1+1", "b", 'say "hello", 数 %s', "a"]),
    ("sort=-count", ['say "hello", 数 %s', "b", "=1+1", "a"]),
    ("sort=-seen&count__lte=5", ["b", "=1+1"]),
    ("sort=paid", ["=1+1", "b", 'say "hello", 数 %s', "a"]),
]


def test_filters_compare_values_by_their_types(sold: Served) -> None:
    for query, expected in CHOSEN:
        rows = sold.client.get(f"/api/v1/datasets/sales/rows?{query}").json()["items"]
        assert [row["cells"][0] for row in rows] == expected, query
        assert ("No row matches" in sold.page(f"/datasets/sales?{query}")) == (not expected), query
        if "sort" not in query:
            assert codes(sold, query) == expected, query


def test_a_sorted_file_has_the_order_of_the_page(sold: Served) -> None:
    assert codes(sold, "sort=-seen&count__lte=5") == ["b", "=1+1"]
    assert codes(sold, "sort=paid") == ["=1+1", "b", 'say "hello", 数 %s', "a"]


#: A query → the detail of the problem.
REFUSED: list[tuple[str, str]] = [
    ("colour=red", "`colour` is neither a parameter of this address nor a column."),
    ("count=two", "`count` must be a whole number, because “count” is one."),
    ("count__gte=1.5", "`count__gte` must be a whole number, because “count” is one."),
    ("count=99999999999999999999", "`count` must be a whole number, because “count” is one."),
    ("price=x", "`price` must be a number, because “price” is one."),
    ("price=nan", "`price` must be a number, because “price” is one."),
    ("paid=maybe", "`paid` must be true or false, because “paid” is one."),
    ("paid__gte=ja", "`paid__gte` cannot be compared: “paid” has the type boolean."),
    ("day=31.02.2024", "`day` must be a date like 2026-01-31, because “day” is one."),
    ("seen=yesterday", "`seen` must be a date and time like 2026-01-31T09:00:00, because “seen” is one."),
    ("at=9", "`at` must be a time like 09:00:00, because “at” is one."),
    ("count__contains=1", "`count__contains` needs a column of text; “count” has the type integer."),
    ("count__empty=yes", "`count__empty` must be 1 for rows without a value, or 0 for rows with one."),
    ("upload=x", "`upload` must be the number of an upload."),
    ("search=%00", "`search` must be a text of at most 10,000 characters, without NUL."),
    ("sort=colour", "`sort` must be the name of a column, or - and its name for a descending order."),
    ("code=%00", "`code` must be a text of at most 10,000 characters, without NUL."),
    ("&".join(["code=a"] * 21), "`code` is one filter too many; at most 20 are possible."),
]


@ONE_DATABASE
def test_a_filter_that_does_not_fit_is_a_problem_with_a_sentence(served: Served) -> None:
    served.records.declare("sales", *FIELDS, primaryKey=["code"])

    for query, detail in REFUSED:
        for path in ("rows", "rows.csv", "rows.jsonl", "rows.parquet", "rows.xlsx"):
            answer = served.client.get(f"/api/v1/datasets/sales/{path}?{query}")

            assert (answer.status_code, answer.json()["detail"]) == (422, detail)
            assert answer.json()["title"] == "Invalid query parameter"
        assert served.client.get(f"/datasets/sales?{query}").status_code == 422


ODD_NAMES = ["sort", "upload", "limit", "a", "a__gte", "a__gte__eq", "-a", "%(x)s", "raw", "_value", "after"]


def test_every_column_can_be_filtered_and_sorted_by_whatever_its_name(served: Served) -> None:
    dataset = served.records.declare("sales", *({"name": name} for name in ODD_NAMES))
    with served.records.database.transaction() as connection:
        insert_rows(connection, dataset, *({name: str(n) for name in ODD_NAMES} | {"a": "x"} for n in range(3)))

    for name in ODD_NAMES:
        value = "x" if name == "a" else "1"
        found = served.client.get("/api/v1/datasets/sales/rows", params={f"{name}__eq": value}).json()["items"]
        assert [row["row_number"] for row in found] == ([1, 2, 3] if name == "a" else [2])
        exported = served.client.get("/api/v1/datasets/sales/rows.csv", params={f"{name}__eq": value})
        assert len(exported.text.splitlines()) == len(found) + 1
        sorted_ = served.client.get("/api/v1/datasets/sales/rows", params={"sort": f"{name}__desc"}).json()["items"]
        assert [row["row_number"] for row in sorted_] == ([1, 2, 3] if name == "a" else [3, 2, 1])
        form = {"_column": name, "_eq": value}
        answer = served.client.get("/datasets/sales/filter", params=form)
        assert answer.status_code == 303
        assert "No row matches" not in served.page(answer.headers["location"])


@pytest.mark.parametrize("sort", ["count", "-count", "name", "-name"])
def test_sorted_pages_have_no_gap_forwards_and_backwards(served: Served, sort: str) -> None:
    dataset = served.records.declare("sales", {"name": "count", "type": "integer"}, {"name": "name"})
    with served.records.database.transaction() as connection:
        rows = [
            {"count": None if n % 4 == 0 else n % 3, "name": None if n % 5 == 0 else f"n{n % 7}"} for n in range(120)
        ]
        insert_rows(connection, dataset, *rows)

    url: str | None = f"/api/v1/datasets/sales/rows?sort={sort}&limit=7"
    numbers: list[int] = []
    while url:
        page = served.client.get(url).json()
        numbers += [row["row_number"] for row in page["items"]]
        url = page["links"]["next"]
    column, descending = sort.lstrip("-"), sort.startswith("-")
    valued = [n for n, row in enumerate(rows, 1) if row[column] is not None]
    valued.sort(key=lambda n: rows[n - 1][column], reverse=descending)  # type: ignore[arg-type,return-value]
    assert numbers == [*valued, *(n for n, row in enumerate(rows, 1) if row[column] is None)]
    content = served.client.get(f"/api/v1/datasets/sales/rows.csv?sort={sort}&provenance=1").text
    assert [int(row[-1]) for row in csv.reader(io.StringIO(content)) if row[-1] != "_row_number"] == numbers


# Clients that leave or stall


class Client:
    """A client that asks for an address and reads nothing."""

    def __init__(self, served: Served, path: str) -> None:
        url = served.client.base_url
        self._socket = socket.create_connection((url.host, url.port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())

    def leave(self) -> None:
        self._socket.close()


def test_a_client_that_leaves_ends_the_statement_that_runs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that compares for half a minute."""
    dataset = served.records.declare("sales", {"name": "text"})
    with served.records.database.transaction() as connection:
        insert_rows(connection, dataset, *({"text": "x" * 500_000} for _ in range(120)))
    errors: list[Exception] = []
    running = threading.Event()
    original = Blocks._make

    def recorded(self: Blocks, stretch: Any) -> Any:
        running.set()
        try:
            return original(self, stretch)
        except Exception as error:
            errors.append(error)
            raise

    monkeypatch.setattr(Blocks, "_make", recorded)
    query = f"text__contains={'x' * 500}y"
    client = Client(served, f"/api/v1/datasets/sales/rows.csv?{query}")
    assert running.wait(30)
    client.leave()
    until(lambda: errors, "the export to end")

    assert [type(error) for error in errors] == [ExportStoppedError]


@ONE_DATABASE
def test_a_client_that_leaves_ends_the_process_that_makes_its_file(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.records.dataset("sales", [(1, "x", True)])
    monkeypatch.setattr(export_process, "_MODULE", "http.server")  # it does not end by itself
    client = Client(served, "/datasets/sales/rows.parquet")

    def is_running(process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and "http.server" in process.cmdline()
        except psutil.NoSuchProcess:  # it ended between the list and this question
            return False

    def children() -> list[psutil.Process]:
        return [each for each in psutil.Process().children() if is_running(each)]

    until(children, "the process to begin")
    client.leave()
    until(lambda: not children(), "the process to end")
    until(lambda: not list(served.settings.exports.iterdir()), "its folder to be removed")


@ONE_DATABASE
def test_folders_of_killed_processes_are_removed_but_not_those_in_use(settings: Settings) -> None:
    settings.exports.mkdir(parents=True)
    (settings.exports / "tmpdead").mkdir()
    (settings.exports / "tmpdead" / "rows.xlsx").touch()
    with export_process._own_folder(settings.exports) as used:
        export_process.remove_leftovers(settings.exports)

        assert list(settings.exports.iterdir()) == [used]
    assert list(settings.exports.iterdir()) == []


def test_a_stalled_export_holds_no_transaction(served: Served) -> None:
    """SQLite's log can be written back, and PostgreSQL has no session in a transaction."""
    served.records.dataset("sales", [(n, "x" * 1_000, True) for n in range(20_000)])
    with served.client.stream("GET", "/api/v1/datasets/sales/rows.csv") as answer:
        pieces = answer.iter_raw()
        next(pieces)
        database = served.records.database
        if database.is_sqlite:
            with database.transaction() as connection:
                connection.exec_driver_sql("UPDATE data_sales SET paid = 0")

            def is_free() -> bool:
                with database.engine.connect() as connection:
                    driver: Any = connection.connection.driver_connection
                    busy, log, done = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    return (busy, log, done) == (0, 0, 0)
        else:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%%in trans%%'"
            )

            def is_free() -> bool:
                with database.engine.connect() as connection:
                    return bool(connection.exec_driver_sql(query).scalar_one() == 0)

        until(is_free, "no transaction to be open")
        size = sum(map(len, pieces))

    assert size > 19_000_000
