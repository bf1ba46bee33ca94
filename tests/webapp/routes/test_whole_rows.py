"""Whole rows and cells as plain text."""

import re

import pytest

from jobs.failed_rows import FailedRow, Reason
from jobs.row_excerpts import LONGEST_ADDRESS
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.serving import Served, links
from webapp.templating import coded

LONG = "<b>é</b>\n" * 100_000


def linked(served: Served, page: str) -> list[str]:
    """The links of a page to whole rows and cells."""
    return [link for link in links(served.page(page)) if re.search(r"/(failed-)?rows/", link)]


def test_a_cell_of_a_dataset_is_shown_whole_behind_its_link(served: Served) -> None:
    served.records.dataset("sales", [(1, "short", True), (2, LONG, True)])
    [link] = [link for link in linked(served, "/datasets/sales") if ".txt" in link]
    answer = served.client.get(link)

    assert answer.text == LONG
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"


def test_a_row_of_a_dataset_is_shown_with_all_cells(served: Served) -> None:
    dataset = served.records.dataset("sales", [(2, LONG, True)])
    [link] = [link for link in linked(served, "/datasets/sales") if ".txt" in link]
    text = served.client.get(link.partition("?")[0]).text

    assert text == f"Row 1 of upload #{dataset.upload_id}\n\n[id]\n2\n\n[name]\n{LONG}\n\n[paid]\nyes\n"


def test_a_failed_row_is_shown_with_its_reasons_and_all_cells(served: Served) -> None:
    row = FailedRow(3, ["x", LONG, "surplus"], [Reason("a", "is wrong", "x"), Reason("b", "is long")])
    upload = served.records.advance(served.records.processing(header=["a", "b & c"]), 1, [row])
    [cell] = [link for link in linked(served, f"/uploads/{upload.id}") if "?" in link]

    assert served.client.get(cell).text == LONG
    assert served.client.get(cell.partition("?")[0]).text == (
        f"Failed row 3 of upload #{upload.id}\na: “x” is wrong\nb: is long\n"
        f"\n[a]\nx\n\n[b & c]\n{LONG}\n\n[Surplus cell 3]\nsurplus\n"
    )


@ONE_DATABASE
def test_a_cell_beyond_those_that_a_page_shows_is_behind_a_link_to_its_row(served: Served) -> None:
    row = FailedRow(3, [f"cell {n}" for n in range(1, 1501)], [Reason("a", "is wrong")])
    upload = served.records.advance(served.records.processing(header=[f"c{n}" for n in range(1, 1501)]), 1, [row])
    [link] = linked(served, f"/uploads/{upload.id}")

    assert "Columns 1 to 12 of 1,500" in served.page(f"/uploads/{upload.id}")
    assert "[c1500]\ncell 1500\n" in served.client.get(link).text
    assert served.client.get(f"{link}?column=c1500").text == "cell 1500"


@ONE_DATABASE
def test_a_row_with_a_long_key_is_found_by_its_origin(served: Served) -> None:
    dataset = served.records.declare("notes", {"name": "id"}, primaryKey="id")
    with served.records.database.transaction() as connection:
        insert_rows(connection, dataset, *({"id": f"{number}{'x' * 1_000_000}"} for number in range(1, 4)))
    found = [link for link in linked(served, "/datasets/notes") if ".txt" in link]

    assert max(map(len, found)) <= LONGEST_ADDRESS + 100
    assert [served.client.get(link).text[:2] for link in found] == ["1x", "2x", "3x"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/datasets/sales/rows/x.txt", 404, "There is no such row."),
        ("/datasets/sales/rows/~1.99.txt", 404, "There is no such row."),
        ("/datasets/sales/rows/WzEsOTld.txt", 404, "There is no such row."),
        ("/datasets/none/rows/~1.1.txt", 404, "There is no dataset called “none”."),
        ("/datasets/sales/rows/~1.1.txt?column=no", 422, "`column` is not a column of this row."),
        ("/uploads/1/failed-rows/9", 404, "There is no such row."),
        ("/uploads/9/failed-rows/1", 404, "There is no upload #9."),
        ("/uploads/2/failed-rows/1?column=no", 422, "`column` is not a column of this row."),
    ],
)
@ONE_DATABASE
def test_what_is_not_there_is_said(served: Served, path: str, status: int, words: str) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    served.records.advance(served.records.processing(), 1, [FailedRow(1, ["x"], [Reason("a", "is wrong")])])
    answer = served.client.get(path)

    assert answer.status_code == status
    assert coded(words) in answer.text
