"""The HTML pages of datasets."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from html import unescape
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import datasets
from jobs.datasets import Dataset, Mode, Position
from jobs.errors import TookTooLongError
from jobs.rows.time_limit import limited
from jobs.traces import row_lines
from jobs.traces.row_lines import LineRun
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.serving import Served, links
from webapp.routes import dataset_pages
from webapp.views import rows as rows_view
from webapp.views.rows import ROWS_SHOWN


def numbers(html: str) -> list[int]:
    """The rows that a page shows, by their numbers in the file."""
    return [int(each.replace(",", "")) for each in re.findall(r'<th scope="row".*? title="Row (\S+) of', html)]


def places(html: str) -> list[str]:
    """The numbers of the rows among what is shown."""
    return re.findall(r'<th scope="row"[^>]*><a [^>]*>([0-9,]+)</a></th>', html)


def columns(html: str) -> list[tuple[str, ...]]:
    """The table of columns: name with title, type, rules, evidence."""
    body = html.rpartition("<tbody>")[2]
    return [
        tuple(re.sub(r"<.*?>", " ", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.S))
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ]


def both_ways(served: Served, path: str) -> tuple[list[list[int]], list[list[int]]]:
    """The row numbers of each page, from the first to the last and back."""
    html = served.page(path)
    forward = [numbers(html)]
    assert links(html, "prev") == []

    while following := links(html, "next"):
        html = served.page(f"{path}{following[0]}")
        forward.append(numbers(html))
    back = [numbers(html)]
    while following := links(html, "prev"):
        html = served.page(f"{path}{following[0]}")
        back.append(numbers(html))
    return forward, back


def insert(served: Served, dataset: Dataset, rows: list[dict[str, Any]]) -> None:
    with served.records.database.transaction() as connection:
        insert_rows(connection, dataset, *rows)
        datasets.count_rows(connection, dataset.name, len(rows))


def test_datasets_are_listed(served: Served) -> None:
    assert "No datasets yet" in served.page("/datasets")

    dataset = served.records.dataset("sales", [(1, "one", True), (None, "", False)])
    html = served.page("/datasets")

    assert {"/datasets/sales", f"/uploads/{dataset.upload_id}"} <= set(links(html))
    assert '<td class="num nowrap">2</td>' in html
    assert '<span class="badge">Completed</span> <span class="outcome-file">sales.csv</span>' in html


def test_a_dataset_shows_its_rows(served: Served) -> None:
    dataset = served.records.dataset("sales", [(1, "one", True), (None, "", False)])
    html = served.page("/datasets/sales")

    assert places(html) == ["1", "2"]
    assert numbers(html) == [1, 2]
    assert html.count('title="Row 2 of sales.csv"') == 1
    assert re.findall(r'<span class="(?:value|none)"[^>]*>(.*?)</span>', html) == [
        "1", "one", "yes", "empty", "empty", "no"
    ]  # fmt: skip
    assert "2 rows</b>, 3 columns" in html
    assert "Rows 1 to 2 of 2" in html
    assert "/datasets/sales/rows.csv" in links(html)
    row = served.page(next(link for link in links(html) if "/rows/" in link))
    assert "Row 1 of sales.csv" in row
    assert {f"/uploads/{dataset.upload_id}", f"/datasets/sales?upload={dataset.upload_id}"} <= set(links(row))


def test_a_row_names_the_line_of_its_file(served: Served) -> None:
    dataset = served.records.dataset("sales", [(1, "one", True), (None, "", False)])
    with served.records.database.transaction() as connection:
        row_lines.record(connection, dataset.upload_id or 0, LineRun.of(1, [3, 7]))
    html = served.page("/datasets/sales")

    assert [html.count(f'title="Line {line} of sales.csv"') for line in (3, 7)] == [1, 1]
    row = served.page([link for link in links(html) if "/rows/" in link][1])
    assert "Line 7 of sales.csv" in row
    assert "Row 2 of the file" in row


@ONE_DATABASE
def test_a_dataset_can_be_paged_in_both_directions(served: Served) -> None:
    served.records.dataset("sales", [(n, "x", True) for n in range(2 * ROWS_SHOWN + 3)])
    forward, back = both_ways(served, "/datasets/sales")

    assert [len(each) for each in forward] == [ROWS_SHOWN, ROWS_SHOWN, 3]
    assert [*chain(*forward)] == list(range(1, 2 * ROWS_SHOWN + 4))
    assert [*chain(*back[::-1])] == list(range(1, 2 * ROWS_SHOWN + 4))


def test_an_empty_dataset_shows_that_it_has_no_rows(served: Served) -> None:
    served.records.declare("sales", {"name": "id"})
    html = served.page("/datasets/sales")

    assert "0 rows</b>, 1 column<" in html
    assert "No rows yet" in html
    assert "a new row replaces the row with the same key" not in html


@ONE_DATABASE
def test_a_dataset_shows_the_constraints_of_its_columns(served: Served) -> None:
    served.records.declare(
        "sales",
        {"name": "sku", "title": "Article", "constraints": {"pattern": "[A-Z]+", "maxLength": 9}},
        {"name": "sum", "type": "number", "constraints": {"required": True, "minimum": 0}},
        {"name": "day", "type": "date", "format": "%d.%m.%Y", "description": "Of the sale"},
        {"name": "kind", "constraints": {"enum": ["a", "<b>"], "unique": True}},
        {"name": "note"},
        primaryKey="sku",
        mode=Mode.UPSERT,
    )
    html = served.page("/datasets/sales/columns")

    assert "0 rows</b>, 5 columns; a new row replaces the row with the same key" in html
    assert columns(html) == [
        ("sku  Article", "string", "required; key; at most 9 characters; matches [A-Z]+", "", "Edit  sku"),
        ("sum", "number", "required; at least 0", "", "Edit  sum"),
        ("day", "date", "format %d.%m.%Y", "Of the sale", "Edit  day"),
        ("kind", "string", "unique; one of a, &lt;b&gt;", "", "Edit  kind"),
        ("note", "string", "", "", "Edit  note"),
    ]


KEYS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "whole numbers": (
        [{"name": "id", "type": "integer"}],
        [{"id": n} for n in (-(2**63), -1, 0, 1, 7, 10, 2**53 + 1, 2**63 - 1)],
    ),
    "numbers": (
        [{"name": "id", "type": "number"}],
        [{"id": n} for n in (-1e300, -0.1, 0.0, 1e-300, 0.1, 0.30000000000000004, 1e15, 1e300)],
    ),
    "text": ([{"name": "id"}], [{"id": text} for text in ("", "1", "10", "9", "a&b=c", "a'b", "a/b", "aa")]),
    "dates": (
        [{"name": "id", "type": "date", "format": "%d.%m.%Y"}],
        [{"id": date(2026, month, 1)} for month in range(1, 9)],
    ),
    "several": (
        [{"name": "id"}, {"name": "n", "type": "integer"}],
        [{"id": text, "n": n} for text in ("a", "b") for n in (1, 2, 3, 10)],
    ),
}


@pytest.mark.parametrize(("fields", "rows"), KEYS.values(), ids=KEYS.keys())
def test_a_dataset_with_a_key_is_paged_in_the_order_of_the_key(
    served: Served, monkeypatch: pytest.MonkeyPatch, fields: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(rows_view, "ROWS_SHOWN", 3)
    key = [field["name"] for field in fields]
    dataset = served.records.declare("sales", *fields, primaryKey=key, mode=Mode.UPSERT)
    if served.records.database.engine.dialect.name == "sqlite":
        rows = [{name: str(v) if isinstance(v, date) else v for name, v in row.items()} for row in rows]
    insert(served, dataset, rows)
    forward, back = both_ways(served, "/datasets/sales")

    assert forward == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert [*chain(*back[::-1])] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("text", ["x", "1", "1-1", "W10", "e30", "bnVsbA", "\0", "ü", "%", "A" * 5000, "=" * 99, "/+"])
@pytest.mark.parametrize("direction", ["after", "before"])
@ONE_DATABASE
def test_an_invalid_position_is_rejected(served: Served, direction: str, text: str) -> None:
    served.records.dataset("sales", [(1, "one", True), (2, "two", True)])
    answer = served.client.get("/datasets/sales", params={direction: text})

    assert answer.status_code == 422
    assert "<h1>Invalid query parameter</h1>" in answer.text
    assert f"<code>{direction}</code> is not a position in this dataset." in answer.text


ELSEWHERE = [
    Position([1]),
    Position([1, 2, 3]),
    Position(["one", "two"]),
    Position([1, "two"]),
    Position([1, ""]),
]


@pytest.mark.parametrize("position", ELSEWHERE, ids=repr)
def test_a_position_of_another_dataset_is_rejected_with_advice(served: Served, position: Position) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    for path, parameter, quoted in (
        ("/datasets/sales", "after", "<code>after</code>"),
        ("/datasets/sales", "before", "<code>before</code>"),
        ("/api/v1/datasets/sales/rows", "cursor", "`cursor`"),
    ):
        answer = served.client.get(path, params={parameter: str(position)})

        assert answer.status_code == 422
        assert f"{quoted} is not a position in this dataset. Start again from its first page." in answer.text


#: Bytes of a page at most.
PAGE_BYTES = 1_000_000
#: A character that takes the most bytes in HTML.
LONG = '"'


def wide(served: Served, columns: int, rows: int, cell: str, **field: Any) -> None:
    """A dataset with columns c1, c2, …, whose cells are all the same."""
    fields = [{"name": f"c{n}", **field} for n in range(1, columns + 1)]
    dataset = served.records.declare("sales", *fields)
    insert(served, dataset, [{f"c{n}": cell for n in range(1, columns + 1)}] * rows)


def heads(html: str) -> list[str]:
    """The names of the columns above the rows."""
    return re.findall(r"(c[0-9]+)</a> <small", html)


def test_a_page_shows_200_characters_of_a_cell_and_a_link_to_the_whole(served: Served) -> None:
    served.records.dataset("sales", [(1, "x" * 201, True), (2, "y" * 200, True)])
    html = served.page("/datasets/sales")

    assert re.findall(r">([xy]+…?)</span>", html) == ["x" * 200 + "…", "y" * 200]
    assert [link for link in links(html) if "/rows/" in link and "column=name" in link] == [
        link for link in links(html) if ".txt" in link
    ]


def test_a_page_of_rows_of_a_megabyte_is_small(served: Served) -> None:
    served.records.dataset("sales", [(n, LONG * 1_000_000, True) for n in range(ROWS_SHOWN + 3)])
    html = served.page("/datasets/sales")

    assert len(html.encode()) < PAGE_BYTES
    assert len(numbers(html)) == ROWS_SHOWN


@ONE_DATABASE
def test_wide_rows_are_shown_in_parts_of_their_columns(served: Served) -> None:
    wide(served, columns=684, rows=3, cell="x")
    html = served.page("/datasets/sales")
    found = [heads(html)]

    assert "684 columns" in html
    assert "Columns 1 to 100 of 684" in html
    assert "Previous columns" not in html

    while address := re.search(r'<a class="button" href="([^"]*)">Next columns', html):
        html = served.page("/datasets/sales" + unescape(address[1]))
        found.append(heads(html))
        assert numbers(html) == [1, 2, 3]
        first = re.search(r"columns=([0-9]+)", address[1])
        assert first is not None
        assert [name for name, *_ in columns(served.page(f"/datasets/sales/columns?columns={first[1]}"))] == found[-1]

    assert [len(each) for each in found] == [100] * 6 + [84]
    assert list(chain(*found)) == [f"c{n}" for n in range(1, 685)]
    assert "?columns=501" in links(html)


@ONE_DATABASE
def test_a_page_of_the_largest_rows_and_columns_stays_below_a_megabyte(served: Served) -> None:
    wide(
        served, 150, 8, LONG * 300, title=LONG * 4_000, description=LONG * 4_000, constraints={"pattern": LONG * 1_000}
    )
    html = served.page("/datasets/sales")

    assert 300_000 < len(html.encode()) < PAGE_BYTES
    assert len(numbers(html)) < 8
    assert len(heads(html)) == 0  # each has its title there


@ONE_DATABASE
@pytest.mark.parametrize("query", ["", "?columns=41"])
def test_rows_for_which_a_page_has_no_room_are_on_the_next_ones(served: Served, query: str) -> None:
    wide(served, 60, 23, LONG * 300)
    html = served.page(f"/datasets/sales{query}")
    forward = [numbers(html)]
    while following := links(html, "next"):
        html = served.page(f"/datasets/sales{following[0]}")
        forward.append(numbers(html))
    back = [numbers(html)]
    while following := links(html, "prev"):
        html = served.page(f"/datasets/sales{following[0]}")
        back.append(numbers(html))

    assert list(chain(*forward)) == list(chain(*back[::-1])) == list(range(1, 24))
    assert len(forward) > 1
    assert heads(html)[0] == ("c41" if query else "c1")


@pytest.mark.parametrize("text", ["0", "4", "-1", "x", "", "9" * 5000])
@ONE_DATABASE
def test_an_invalid_first_column_is_rejected(served: Served, text: str) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    answer = served.client.get("/datasets/sales", params={"columns": text})

    assert answer.status_code == 422
    assert "<code>columns</code> must be the number of a column, from 1 to 3." in answer.text


@ONE_DATABASE
def test_a_page_of_rows_with_long_keys_can_be_left_in_both_directions(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_view, "ROWS_SHOWN", 2)
    dataset = served.records.declare("sales", {"name": "id"}, primaryKey="id", mode=Mode.UPSERT)
    insert(served, dataset, [{"id": f"{n}{'x' * 1_000_000}"} for n in range(5)])
    forward, back = both_ways(served, "/datasets/sales")

    assert forward == [[1, 2], [3, 4], [5]]
    assert [*chain(*back[::-1])] == [1, 2, 3, 4, 5]
    assert len(served.page("/datasets/sales").encode()) < 20_000


@ONE_DATABASE
def test_many_datasets_are_listed_on_several_pages(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_pages, "DATASETS_SHOWN", 2)
    for name in ("a", "b", "c", "d", "e"):
        served.records.declare(name, {"name": "id"})
    html = served.page("/datasets")
    found = [links(html)]
    while following := links(html, "next"):
        html = served.page(following[0])
        found.append(links(html))

    assert [[link[-1] for link in page if re.fullmatch("/datasets/.", link)] for page in found] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert "No more datasets" in served.page("/datasets", page=4)


# Filters


@ONE_DATABASE
def test_the_form_of_a_column_filters_it_and_the_page_shows_and_removes_the_filters(served: Served) -> None:
    served.records.dataset("sales", [(n, f"name {n}", n % 2 == 0) for n in range(5)])
    form = {"_column": "id", "_gte": "3", "_lte": "", "paid": "yes", "sort": "-id", "id__eq": "1"}
    address = served.client.get("/datasets/sales/filter", params=form).headers["location"]
    html = served.page(address)

    assert address == "/datasets/sales?paid=yes&id__gte=3&sort=-id"
    assert numbers(html) == [5]
    assert "Rows 1 of 1 that match" in html
    assert "paid is “yes”" in html
    assert "id is at least “3”" in html
    assert "Sorted by id, descending" in html
    addresses = {unescape(found) for found in re.findall(r'href="([^"]*)"', html)}
    without = ["id__gte=3&sort=-id", "paid=yes&sort=-id", "paid=yes&id__gte=3", "sort=-id"]
    assert {f"/datasets/sales?{query}" for query in without} <= addresses
    for extension in ("csv", "xlsx", "parquet", "jsonl"):
        assert f"/datasets/sales/rows.{extension}?paid=yes&amp;id__gte=3&amp;sort=-id" in html


@ONE_DATABASE
def test_the_form_of_a_column_has_what_filters_it_now(served: Served) -> None:
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(5)])
    page = served.page("/datasets/sales?name__contains=NAME&id__gte=1")
    [address] = [unescape(link) for link in links(page) if link.startswith("/datasets/sales/filter?_column=name&")]
    html = served.page(address)
    fields = dict(re.findall(r'<input [^>]*name="([^"]*)" value="([^"]*)"', html))

    assert fields == {
        "_column": "name", "id__gte": "1", "_contains": "NAME", "_eq": "", "_gte": "", "_lte": ""
    }  # fmt: skip
    assert "/datasets/sales?id__gte=1&name__empty=1" in {unescape(link) for link in links(html)}
    cleared = served.client.get("/datasets/sales/filter", params={**fields, "_contains": ""})
    assert cleared.headers["location"] == "/datasets/sales?id__gte=1"


@ONE_DATABASE
def test_a_wrong_value_stands_in_the_form_beside_what_is_wrong_with_it(served: Served) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    form = {"_column": "id", "_gte": "<x>", "_lte": "9", "name": "one"}
    answer = served.client.get("/datasets/sales/filter", params=form)
    alone = served.client.get("/datasets/sales/filter", params=form, headers={"HX-Request": "true"})
    fitting = served.client.get("/datasets/sales/filter", params={**form, "_gte": "2"}, headers={"HX-Request": "true"})

    assert answer.status_code == alone.status_code == 422
    for text in (answer.text, alone.text):
        assert 'value="&lt;x&gt;"' in text
        assert 'value="9"' in text
        assert (
            '<p id="form_gte-error" class="field-error message">This must be a whole number, because “id” is one.</p>'
            in text
        )
        assert text.count("field-error") == 1
    assert ("<html" in answer.text, "<html" in alone.text) == (True, False)
    assert (fitting.status_code, fitting.headers["hx-redirect"]) == (
        204, "/datasets/sales?name=one&id__gte=2&id__lte=9"
    )  # fmt: skip
    unknown = served.client.get("/datasets/sales/filter", params={"_column": "no", "_eq": "x"})
    assert (unknown.status_code, "<code>_column</code> must be the name of a column." in unknown.text) == (422, True)


@ONE_DATABASE
def test_a_search_looks_into_all_columns_of_text_and_is_kept(served: Served) -> None:
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(5)])
    html = served.page("/datasets/sales?search=NAME+3&id__gte=1")

    assert numbers(html) == [4]
    assert "Search: “NAME 3”" in html
    assert '<input type="search" name="search" value="NAME 3"' in html
    assert "/datasets/sales/rows.csv?search=NAME+3&amp;id__gte=1" in html
    nothing = served.page("/datasets/sales?search=nobody")
    assert "No row matches" in nothing
    assert "5 rows were compared with: <b>Search: “nobody”</b>." in nothing
    assert "/datasets/sales" in links(nothing)


# Going to a row


def test_a_row_is_gone_to_by_its_number_among_what_is_shown(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_view, "ROWS_SHOWN", 3)
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(12)])
    html = served.page("/datasets/sales", from_row="5")
    sorted_ = served.page("/datasets/sales", from_row=" 1,000 "[:2], sort="-id", id__lte=9)
    following = served.page(f"/datasets/sales{links(html, 'next')[0]}")
    before = served.page(f"/datasets/sales{links(html, 'prev')[0]}")
    first = served.page(f"/datasets/sales{links(before, 'prev')[0]}")

    assert (numbers(html), places(html)) == ([5, 6, 7], ["5", "6", "7"])
    assert "Rows 5 to 7 of 12" in html
    assert (numbers(sorted_), places(sorted_)) == ([10, 9, 8], ["1", "2", "3"])
    assert (numbers(following), places(following)) == ([8, 9, 10], ["8", "9", "10"])
    assert (numbers(before), places(before)) == ([2, 3, 4], ["2", "3", "4"])
    assert (numbers(first), places(first)) == ([1], ["1"])
    assert links(first, "prev") == []
    assert links(before, "first") == ["?"]


@ONE_DATABASE
@pytest.mark.parametrize(
    ("number", "more", "error"),
    [
        ("13", "", "There is no row 13: the dataset has 12 rows."),
        ("3", "&id__gte=10", "There is no row 3: fewer rows match."),
        ("0", "", "This must be the number of a row, from 1."),
        ("x", "", "This must be the number of a row, from 1."),
        ("9" * 16, "", "This must be the number of a row, from 1."),
    ],
)
def test_a_number_without_a_row_is_said_beside_the_field(served: Served, number: str, more: str, error: str) -> None:
    served.records.dataset("sales", [(n, f"name {n}", True) for n in range(12)])
    answer = served.client.get(f"/datasets/sales?from_row={number}{more}")

    assert answer.status_code == 422
    assert f'<p id="row-error" class="field-error">{error}</p>' in answer.text
    assert f'name="from_row" value="{number}"' in answer.text


# Time limit


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("sort=-name", "Sorting 2 rows by name took longer than 0 s. Add a filter that leaves fewer rows, or sort by"),
        ("search=a", "Looking for matches in 2 rows took longer than 0 s. Change a filter, or remove one."),
        ("from_row=2", "Going to row 2 of 2 took longer than 0 s. Add a filter, and go to a row of what it leaves."),
    ],
)
def test_a_page_says_what_took_too_long_and_keeps_its_form(
    served: Served, monkeypatch: pytest.MonkeyPatch, query: str, sentence: str
) -> None:
    served.records.dataset("sales", [(1, "a", True), (2, "b", True)])
    monkeypatch.setattr(rows_view, "limited", too_long)
    html = served.client.get(f"/datasets/sales?{query}").text

    assert sentence in html
    assert 'value="a"' in html if "search" in query else True
    assert numbers(html) == []
    assert "No row matches" not in html


@contextmanager
def too_long(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """A limit that has been reached."""
    with limited(connection, seconds):
        yield
    raise TookTooLongError(0)


@ONE_DATABASE
def test_the_number_of_matches_is_left_out_if_counting_takes_too_long(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_view, "ROWS_SHOWN", 1)
    served.records.dataset("sales", [(1, "a", True), (2, "b", True)])

    def count(*_words: object, **_more: object) -> int:
        raise TookTooLongError(5)

    monkeypatch.setattr(datasets, "matching_count", count)
    html = served.page("/datasets/sales?paid=yes")

    assert numbers(html) == [1]
    assert "Rows 1 of those that match" in html


# Columns and uploads


def test_the_uploads_into_a_dataset_are_listed_on_a_page_of_their_own(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_pages, "UPLOADS_SHOWN", 2)
    dataset = served.records.dataset("sales", [(1, "a", True)])
    failed = served.records.fail(served.records.processing("more.csv", dataset="sales"))
    running = served.records.advance(served.records.processing("now.csv", dataset="sales"), 7)
    served.records.processing("other.csv", dataset="weather")
    html = served.page("/datasets/sales/uploads")
    older = served.page(f"/datasets/sales/uploads{links(html, 'next')[0]}")

    def shown(page: str) -> list[tuple[str, str]]:
        return re.findall(r'class="file" href="/uploads/([0-9]+)".*?<span class="badge">(.*?)</span>', page, re.S)

    assert shown(html) == [(str(running.id), "Processing"), (str(failed.id), "Failed")]
    assert shown(older) == [(str(dataset.upload_id), "Completed")]
    assert f"/datasets/sales?upload={running.id}" in links(html)
    assert served.client.get("/datasets/sales/uploads?cursor=x").status_code == 422
    assert "No uploads into this dataset yet" in served.page(
        f"/datasets/{served.records.declare('empty', {'name': 'id'}).name}/uploads"
    )


def test_what_is_imported_stands_above_the_rows(served: Served) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    running = served.records.advance(served.records.processing("now.csv", dataset="sales", rows=10), 5)
    for tab in ("", "/columns", "/uploads"):
        html = served.page(f"/datasets/sales{tab}")

        assert f'<a href="/uploads/{running.id}">Processing: now.csv</a>' in html


@ONE_DATABASE
def test_pages_of_filtered_and_sorted_rows_lead_to_each_other(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_view, "ROWS_SHOWN", 3)
    served.records.dataset("sales", [(n % 4, f"name {n}", True) for n in range(12)])
    html = served.page("/datasets/sales?id__gte=1&sort=-id")
    forward = [numbers(html)]
    while following := links(html, "next"):
        html = served.page(f"/datasets/sales{following[0]}")
        forward.append(numbers(html))
    back = [numbers(html)]
    while following := links(html, "prev"):
        html = served.page(f"/datasets/sales{following[0]}")
        back.append(numbers(html))

    assert list(chain(*forward)) == [4, 8, 12, 3, 7, 11, 2, 6, 10]
    assert list(chain(*back[::-1])) == list(chain(*forward))


@ONE_DATABASE
def test_a_page_with_long_filters_stays_small_or_is_refused(served: Served) -> None:
    wide(served, 150, 23, LONG * 300)
    value = "\u6570" * 20
    fitting = served.client.get("/datasets/sales", params={f"c{n}__contains": value for n in range(1, 20)})
    refused = served.client.get("/datasets/sales", params={f"c{n}__contains": value * 3 for n in range(1, 20)})

    assert fitting.status_code == 200
    assert len(fitting.content) < PAGE_BYTES
    assert refused.status_code == 422
    assert "<code>filters</code> are longer than the 4,000 characters that a page has room for." in refused.text
