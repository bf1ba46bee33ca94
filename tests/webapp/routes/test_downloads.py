"""Downloads: an upload's original file and failed rows, a dataset's rows and template."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from jobs.corrections import wrong_dataset
from jobs.export import blocks
from jobs.export.blocks import Blocks
from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline import reader
from jobs.pipeline.source import TextFile
from jobs.upkeep.retention import Retention
from jobs.uploads import Status, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Worker, links

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
    monkeypatch.setattr(blocks, "FIRST_ROWS", 2)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
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
    assert f'Corrects <a href="/uploads/{parent.id}">upload #{parent.id}</a>' in html


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


# Size


@ONE_DATABASE
def test_failed_rows_of_a_megabyte_come_in_bounded_pieces(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [FailedRow(n, ["x" * 1_000_000], [Reason("a", "is wrong")]) for n in range(1, 13)]
    upload = with_failed(served, ["a"], bad)
    sizes: list[int] = []
    original = Blocks._make

    def recorded(self: Blocks, stretch: Any) -> Any:
        found = original(self, stretch)
        sizes.append(len(found[0]))
        return found

    monkeypatch.setattr(Blocks, "_make", recorded)
    csv.field_size_limit(2_000_000)
    rows = failed_rows(served, upload)[1:]

    assert [(len(row[0]), row[2]) for row in rows] == [(1_000_000, str(n)) for n in range(1, 13)]
    assert max(sizes) <= blocks.TOLERANCE * blocks.BLOCK_BYTES


# Retention


def test_what_retention_removed_is_gone_and_everything_says_so(served: Served) -> None:
    failed_row = FailedRow(2, ["x", ""], [Reason("a", "is not a number", "x")])
    upload = with_failed(served, ["a", "b"], [failed_row])
    unread = served.records.fail(served.records.processing("july.csv"))
    kept = served.records.settings.model_copy(update={"keep_originals_days": 1e-9, "keep_failed_rows_days": 1e-9})
    retention = Retention(served.records.database, kept)
    retention.step()
    while retention._pass is not None:  # a step takes a moment at most
        retention.step()
    client, api = served.client, f"/api/v1/uploads/{upload.id}"
    found = client.get(api).json()
    page = client.get(f"/uploads/{upload.id}").text

    assert found["original_removed_at"] is not None
    assert found["failed_rows_removed_at"] is not None
    assert not {"original", "failed_rows"} & found["links"].keys()
    assert (found["rows_failed"], found["rows_open"]) == (1, 0)
    for path in (f"/uploads/{upload.id}/original", f"/uploads/{upload.id}/failed-rows.csv",
                 f"/uploads/{upload.id}/failed-rows/2", f"{api}/failed-rows"):  # fmt: skip
        answer = client.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == 410
        assert re.search(
            r"of upload #\d+ (was|were) removed on \d{4}-\d\d-\d\d by retention\.", answer.json()["detail"]
        )
    assert client.post(f"{api}/repairs", json={"replace": []}).status_code in (410, 422)
    assert 'id="upload-original-removed"' in page
    assert 'id="upload-failed-rows-removed"' in page
    assert 'id="failed-rows-removed"' in page
    assert "repair.js" not in page
    assert "no row failed" not in page
    assert f"/uploads/{upload.id}/failed-rows.csv" not in page
    assert f"/uploads/{upload.id}/original" not in page

    refused = client.post(f"/api/v1/uploads/{unread.id}/retry")
    assert refused.status_code == 409
    assert "by retention, so it cannot be retried. Upload it again." in refused.json()["detail"]
    assert f'action="/uploads/{unread.id}/retry"' not in client.get(f"/uploads/{unread.id}").text
    assert client.get(f"/uploads/{upload.id}/repair").status_code == 410
