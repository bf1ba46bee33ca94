"""Downloads: an upload's original file and failed rows, a dataset's rows and template."""

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from jobs import datasets
from jobs import failed_rows as failed_rows_of_jobs
from jobs.corrections import wrong_dataset
from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline import reader
from jobs.pipeline.source import TextFile
from jobs.schema import TableSchema
from jobs.uploads import Status, Upload
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.serving import Served, Worker, links
from webapp.routes import downloads
from webapp.routes.pieces import PIECE_BYTES

BOM = b"\xef\xbb\xbf"
CONTENT = "id;größe\r\n1;ä\r\n".encode("latin-1") + bytes(range(256))


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def with_failed(served: Served, header: list[str], bad: list[FailedRow], dataset: str = "june") -> Upload:
    """An upload, completed, of which these rows failed."""
    records = served.records
    upload = records.processing(rows=len(bad) + 1, header=header, dataset=dataset)
    return records.complete(records.advance(upload, 1, bad))


def failed_rows(served: Served, upload: Upload) -> list[list[str]]:
    """The download, as a spreadsheet reads it."""
    answer = served.client.get(f"/uploads/{upload.id}/failed-rows.csv")

    assert answer.status_code == 200
    assert answer.content.startswith(BOM)
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


# The original


def test_the_original_file_is_unchanged(served: Served) -> None:
    for name, expected in (
        ("june.csv", 'filename="june.csv"'),
        ("Größe 数.csv", "filename*=utf-8''Gr%C3%B6%C3%9Fe%20"),
    ):
        path = f"/uploads/{served.post(CONTENT, name).json()['id']}/original"
        answer = served.client.get(path)

        assert answer.content == CONTENT
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith(f"attachment; {expected}")
        assert served.client.head(path).headers["content-length"] == str(len(CONTENT))

    for stored in served.stored:
        stored.unlink()

    assert served.client.get(path).status_code == 404


# Failed rows


def test_failed_rows_have_original_values_upload_and_reasons(served: Served) -> None:
    bad = [
        FailedRow(2, ["x", "Zoë 数"], [Reason("id", "is not a whole number", "x"), Reason("name", "is unknown")]),
        FailedRow(17, ["", 'say "hello",\r\nyou'], [Reason("id", "is empty")]),
    ]
    upload = with_failed(served, ["id", "Größe, cm"], bad)
    answer = served.client.get(f"/uploads/{upload.id}/failed-rows.csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="upload-{upload.id}-failed-rows.csv"'
    assert answer.content == BOM + as_csv(
        [
            ["id", "Größe, cm", "_upload_id", "_row_number", "_error"],
            ["x", "Zoë 数", str(upload.id), "2", "id: “x” is not a whole number; name: is unknown"],
            ["", 'say "hello",\r\nyou', str(upload.id), "17", "id: is empty"],
        ]
    )


@ONE_DATABASE
def test_a_row_with_too_few_or_too_many_cells_leaves_the_marks_in_their_columns(served: Served) -> None:
    bad = [
        FailedRow(1, [], [Reason(None, "has 0 cells, expected 2")]),
        FailedRow(2, ["1"], [Reason(None, "has 1 cell, expected 2")]),
        FailedRow(3, ["1", "2", "3", "=4"], [Reason(None, "has 4 cells, expected 2")]),
    ]
    upload = with_failed(served, ["a", "b"], bad)
    number = str(upload.id)

    assert failed_rows(served, upload)[1:] == [
        ["", "", number, "1", "has 0 cells, expected 2"],
        ["1", "", number, "2", "has 1 cell, expected 2"],
        ["1", "2", number, "3", "has 4 cells, expected 2; surplus cells: 3, =4"],
    ]


def test_failed_rows_are_read_in_several_queries_without_a_gap(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ROWS_READ", 4)
    for count in (3, 4, 5, 8, 13):
        numbers = [n + n // 7 for n in range(1, count + 1)]
        upload = with_failed(served, ["a"], [FailedRow(n, [f"cell {n}"], [Reason("a", "is wrong")]) for n in numbers])

        assert failed_rows(served, upload)[1:] == [
            [f"cell {n}", str(upload.id), str(n), "a: is wrong"] for n in numbers
        ]


@ONE_DATABASE
def test_each_upload_has_its_own_failed_rows(served: Served) -> None:
    first, second = (with_failed(served, ["a"], [FailedRow(1, [name], [Reason("a", "is wrong")])]) for name in "xy")

    assert failed_rows(served, first)[1:] == [["x", str(first.id), "1", "a: is wrong"]]
    assert failed_rows(served, second)[1:] == [["y", str(second.id), "1", "a: is wrong"]]


@ONE_DATABASE
def test_without_failed_rows_there_is_only_a_header(served: Served) -> None:
    marks = ["_upload_id", "_row_number", "_error"]

    assert failed_rows(served, served.records.completed()) == [["a", "b", *marks]]
    assert failed_rows(served, served.records.pending()) == [marks]


FORMULAS = [
    "=1+1", "+49 30 1234", "-2+3", "-", "@SUM(1)", "\t=1", "\r=1", "'=1", "''@a", "'-5",
    "-5", "+5.0", "a=b", " =1", "'", "'tis", "",
]  # fmt: skip


@ONE_DATABASE
def test_escaped_cells_are_unescaped_on_upload(served: Served, tmp_path: Path) -> None:
    bad = [FailedRow(n, [cell, "x"], [Reason("b", "is wrong", "x")]) for n, cell in enumerate(FORMULAS, 1)]
    upload = with_failed(served, ["a", "b"], bad)
    path = tmp_path / "failed-rows.csv"
    path.write_bytes(served.client.get(f"/uploads/{upload.id}/failed-rows.csv").content)
    table = reader.inspect(TextFile(path))
    [chunk] = reader.chunks(table, start=table.first_byte, row=1, chunk_bytes=1 << 20)

    assert (table.names, table.parent) == (["a", "b"], upload.id)
    assert (chunk.rows["a"].tolist(), chunk.failed) == (FORMULAS, [])


@ONE_DATABASE
def test_a_reason_is_escaped_too(served: Served) -> None:
    upload = with_failed(served, ["=a"], [FailedRow(1, ["x"], [Reason("=a", "is wrong")])])

    assert failed_rows(served, upload)[1] == ["x", str(upload.id), "1", "'=a: is wrong"]


NUMBERS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "constraints": {"required": True}},
    {"name": "note"},
]
FAULTY = [["id", "note"], ["1", "one"], ["two", "=2+2"], ["", "-3"], ["four", "@4"], ["5", "five"]]


def test_corrected_failed_rows_go_back_to_their_dataset_and_are_linked_with_their_parent(served: Served) -> None:
    served.records.declare("sums", *NUMBERS)
    with Worker(served.settings):
        served.post(as_csv(FAULTY), "sums.csv", dataset="sums")
        parent = served.finished()
        download = served.client.get(f"/uploads/{parent.id}/failed-rows.csv").content
        corrected = download.replace(b"\ntwo,", b"\n2,").replace(b"\n,", b"\n3,").replace(b"\nfour,", b"\n4,")
        refused = served.post(corrected, "corrected.csv", dataset="others")
        created = served.post(corrected, "corrected.csv")
        child = served.finished()
    rows = served.client.get("/datasets/sums/rows.csv?provenance=1&raw=1").text.splitlines()

    assert (parent.rows_success, parent.rows_failed) == (2, 3)
    assert (child.status, child.rows_success, child.rows_failed) == (Status.COMPLETED, 3, 0)
    assert (child.parent, child.header) == (parent.id, ["id", "note"])
    assert sorted(rows[1:]) == sorted(
        [
            f"1,one,{parent.id},1",
            f"2,=2+2,{child.id},1",
            f"3,-3,{child.id},2",
            f"4,@4,{child.id},3",
            f"5,five,{parent.id},5",
        ]
    )
    assert (refused.status_code, refused.json()["detail"]) == (422, wrong_dataset(parent.id, "sums", "others"))
    assert (created.json()["dataset"], created.json()["parent"]) == ("sums", parent.id)
    assert served.client.post("/api/v1/datasets/match", content=corrected).json()["dataset"] == "sums"
    found = {each["id"]: each for each in served.client.get("/api/v1/uploads").json()["items"]}
    assert found[parent.id] == served.client.get(f"/api/v1/uploads/{parent.id}").json()
    assert (found[parent.id]["children"], found[child.id]["parent"]) == ([child.id], parent.id)
    assert (found[parent.id]["rows_corrected"], found[parent.id]["rows_open"]) == (3, 0)
    page = " ".join(served.page(f"/uploads/{parent.id}").split())
    assert f'3 of 3 corrected. Corrected in <a href="/uploads/{child.id}">upload #{child.id}</a>.' in page
    html = served.page(f"/uploads/{child.id}")
    assert f'Corrects</dt><dd><a href="/uploads/{parent.id}">upload #{parent.id}</a>' in html


@ONE_DATABASE
def test_raw_failed_rows_have_the_values_and_names_as_they_are(served: Served) -> None:
    upload = with_failed(served, ["=a"], [FailedRow(1, ["=1"], [Reason("=a", "is wrong")])])
    answer = served.client.get(f"/uploads/{upload.id}/failed-rows.csv?raw=1")

    assert answer.content == BOM + as_csv(
        [["=a", "_upload_id", "_row_number", "_error"], ["=1", str(upload.id), "1", "=a: is wrong"]]
    )


@ONE_DATABASE
def test_escaped_names_are_unescaped_on_upload(served: Served, tmp_path: Path) -> None:
    upload = with_failed(served, ["=a", "b;@c"], [FailedRow(1, ["1", "2"], [Reason("=a", "is wrong")])])
    path = tmp_path / "failed-rows.csv"
    path.write_bytes(served.client.get(f"/uploads/{upload.id}/failed-rows.csv").content)

    assert failed_rows(served, upload)[0][:2] == ["'=a", "b;'@c"]
    assert reader.inspect(TextFile(path)).names == ["=a", "b;@c"]


# Templates


def test_a_template_has_the_columns_of_the_dataset_for_a_spreadsheet(served: Served) -> None:
    fields = [{"name": name} for name in ("id", "Größe, cm", 'say "hello"')]
    served.records.declare("sales", *fields)
    answer = served.client.get("/datasets/sales/template.csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="sales-template.csv"'
    assert answer.content == BOM + 'id,"Größe, cm","say ""hello"""\r\n'.encode()
    assert "/datasets/sales/template.csv" in links(served.page("/datasets/sales"))


@ONE_DATABASE
def test_a_template_that_is_filled_in_can_be_uploaded(served: Served) -> None:
    served.records.declare("sums", *NUMBERS)
    filled = served.client.get("/datasets/sums/template.csv").content + b"1,one\r\n2,two\r\n"
    with Worker(served.settings):
        served.post(filled, "sums-template.csv", dataset="sums")
        served.finished()

    assert served.client.get("/datasets/sums/rows.csv").text == "id,note\r\n1,one\r\n2,two\r\n"


@ONE_DATABASE
def test_a_template_with_escaped_names_can_be_uploaded(served: Served) -> None:
    served.records.declare("sums", {"name": "=a", "constraints": {"required": True}}, {"name": "-b"})
    template = served.client.get("/datasets/sums/template.csv").content
    with Worker(served.settings):
        served.post(template + b"1,one\r\n", "sums-template.csv", dataset="sums")
        upload = served.finished()

    assert template == BOM + b"'=a,'-b\r\n"
    assert (upload.status, upload.rows_success) == (Status.COMPLETED, 1)
    assert served.client.get("/api/v1/datasets/sums/rows.csv").text == "=a,-b\r\n1,one\r\n"


# Rows


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


@pytest.mark.parametrize("cell", ["x", 'say "hello"', "a,b", "two\nlines", "\r", " x ", "", "é;"])
def test_a_long_row_is_written_as_a_short_one(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    rows = [["1", cell, "", "end"], ["2", cell * 2, cell, cell]]
    short = downloads._lines(rows)
    monkeypatch.setattr(downloads, "LONG_ROW", 0)

    assert downloads._lines(rows) == short == as_csv(rows)


class Counting:
    """Counts the rows that each query returned, and their characters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.queries: list[list[int]] = []
        original = getattr(module, name)

        def read(*arguments: Any, **options: Any) -> Any:
            rows = original(*arguments, **options)
            self.queries.append([row.length for row in rows])
            return rows

        monkeypatch.setattr(module, name, read)


def test_rows_of_a_megabyte_are_read_one_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(n, "x" * 1_000_000, True) for n in range(5)])
    counting = Counting(monkeypatch, datasets, "rows_after")
    pieces: list[int] = []
    with served.client.stream("GET", "/datasets/sales/rows.csv") as answer:
        pieces += [len(piece) for piece in answer.iter_raw()]

    assert sum(pieces) == len("id,name,paid\r\n") + 5 * len(f"0,{'x' * 1_000_000},yes\r\n")
    assert [len(query) for query in counting.queries] == [1, 1, 1, 1, 1, 0]


def test_rows_are_read_until_their_characters_are_enough(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(n, "x" * 50_000, True) for n in range(30)])
    counting = Counting(monkeypatch, datasets, "rows_after")
    rows = served.client.get("/datasets/sales/rows.csv").text.splitlines()[1:]

    assert [row.split(",")[0] for row in rows] == [str(n) for n in range(30)]
    assert max(sum(query) for query in counting.queries) < downloads.CHARACTERS_READ + 60_000


@ONE_DATABASE
def test_failed_rows_of_a_megabyte_are_read_one_at_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [FailedRow(n, ["x" * 1_000_000], [Reason("a", "is wrong")]) for n in range(1, 6)]
    upload = with_failed(served, ["a"], bad)
    counting = Counting(monkeypatch, failed_rows_of_jobs, "rows")
    csv.field_size_limit(2_000_000)
    rows = failed_rows(served, upload)[1:]

    assert [(len(row[0]), row[2]) for row in rows] == [(1_000_000, str(n)) for n in range(1, 6)]
    assert [len(query) for query in counting.queries] == [1, 1, 1, 1, 1, 0]


@ONE_DATABASE
def test_the_body_of_a_download_comes_in_bounded_pieces(served: Served) -> None:
    dataset = served.records.dataset("sales", [(n, "é" * 500_000, True) for n in range(3)])
    content = downloads._csv("sales", downloads._rows(served.records.database, dataset, False, False))

    async def sizes() -> list[int]:
        assert isinstance(content, StreamingResponse)
        return [len(piece) async for piece in content.body_iterator]

    found = asyncio.run(sizes())

    assert sum(found) > 3_000_000
    assert max(found) <= PIECE_BYTES


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
    monkeypatch.setattr(downloads, "ROWS_READ", 4)
    for count in (0, 3, 4, 5, 8, 13):
        served.records.dataset(f"sales_{count}", [(n, "x", True) for n in range(count)])
        lines = served.client.get(f"/datasets/sales_{count}/rows.csv").text.splitlines()

        assert lines == ["id,name,paid", *(f"{n},x,yes" for n in range(count))]


def test_rows_of_a_dataset_with_a_key_come_in_its_order(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ROWS_READ", 2)
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
