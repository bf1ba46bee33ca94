"""The HTML pages of datasets."""

import re
from datetime import date
from html import unescape
from itertools import chain
from typing import Any

import pytest

from jobs.datasets import Dataset, Mode, Position
from tests.support.databases import ONE_DATABASE, insert_rows
from tests.support.serving import Served, links
from webapp import rows_view
from webapp.routes import dataset_pages
from webapp.rows_view import ROWS_SHOWN


def numbers(html: str) -> list[int]:
    """The row numbers that a page shows."""
    return [int(each.replace(",", "")) for each in re.findall(r'<th scope="row"[^>]*>(.*?)</th>', html)]


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


def test_datasets_are_listed(served: Served) -> None:
    assert "No datasets yet" in served.page("/datasets")

    dataset = served.records.dataset("sales", [(1, "one", True), (None, "", False)])
    html = served.page("/datasets")

    assert {"/datasets/sales", f"/uploads/{dataset.upload_id}"} <= set(links(html))
    assert '<td class="num nowrap">2</td>' in html
    assert '<span class="badge">Completed</span> <span class="outcome-file">sales.csv</span>' in html


def test_a_dataset_shows_its_rows_and_columns(served: Served) -> None:
    served.records.dataset("sales", [(1, "one", True), (None, "", False)])
    html = served.page("/datasets/sales")

    assert re.findall(r'<th scope="row"[^>]*>(.*?)</th>', html) == ["1", "2"]
    assert re.findall(r'<span class="(?:value|none)"[^>]*>(.*?)</span>', html) == [
        "1", "one", "yes", "empty", "empty", "no"
    ]  # fmt: skip
    assert "each is one" in html
    assert "2 rows, 3 columns" in html
    assert "/datasets/sales/rows.csv" in links(html)


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

    assert "0 rows, 1 column<" in html
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
    html = served.page("/datasets/sales")

    assert "0 rows, 5 columns; a new row replaces the row with the same key" in html
    assert columns(html) == [
        ("sku  Article", "string", "required; key; at most 9 characters; matches [A-Z]+", ""),
        ("sum", "number", "required; at least 0", ""),
        ("day", "date", "format %d.%m.%Y", "Of the sale"),
        ("kind", "string", "unique; one of a, &lt;b&gt;", ""),
        ("note", "string", "", ""),
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
    assert f"`{direction}` is not a position in this dataset. Start again from its first page." in answer.text


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
    for path, parameter in (
        ("/datasets/sales", "after"),
        ("/datasets/sales", "before"),
        ("/api/v1/datasets/sales/rows", "cursor"),
    ):
        answer = served.client.get(path, params={parameter: str(position)})

        assert answer.status_code == 422
        assert f"`{parameter}` is not a position in this dataset. Start again from its first page." in answer.text


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
    return re.findall(r"(c[0-9]+)</a> <small>", html)


def test_a_page_shows_200_characters_of_a_cell_and_a_link_to_the_whole(served: Served) -> None:
    served.records.dataset("sales", [(1, "x" * 201, True), (2, "y" * 200, True)])
    html = served.page("/datasets/sales")

    assert re.findall(r">([xy]+…?)</span>", html) == ["x" * 200 + "…", "y" * 200]
    assert [link for link in links(html) if "/rows/" in link and "column=name" in link] == [
        link for link in links(html) if "/rows/" in link
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
        assert [name for name, *_ in columns(html)] == found[-1]

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
    assert "`columns` must be the number of a column, from 1 to 3." in answer.text


@ONE_DATABASE
def test_a_page_of_rows_with_long_keys_can_be_left_in_both_directions(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_pages, "ROWS_SHOWN", 2)
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
def test_the_form_adds_a_filter_which_the_page_shows_and_removes(served: Served) -> None:
    served.records.dataset("sales", [(n, f"name {n}", n % 2 == 0) for n in range(5)])
    form = {"_column": "id", "_operator": "gte", "_value": "3", "paid": "yes", "sort": "-id"}
    address = served.client.get("/datasets/sales/filter", params=form).headers["location"]
    html = served.page(address)

    assert address == "/datasets/sales?paid=yes&sort=-id&id__gte=3"
    assert numbers(html) == [5]
    assert "1 of 5 match" in html
    assert "paid is “yes”" in html
    assert "id is at least “3”" in html
    assert "Sorted by id, descending" in html
    addresses = {unescape(found) for found in re.findall(r'href="([^"]*)"', html)}
    without = ["id__gte=3&sort=-id", "paid=yes&sort=-id", "paid=yes&id__gte=3", "sort=-id"]
    assert {f"/datasets/sales?{query}" for query in without} <= addresses
    for extension in ("csv", "xlsx", "parquet", "jsonl"):
        assert f"/datasets/sales/rows.{extension}?paid=yes&amp;id__gte=3&amp;sort=-id" in html


@ONE_DATABASE
def test_a_wrong_value_in_the_form_is_a_problem_with_a_sentence(served: Served) -> None:
    served.records.dataset("sales", [(1, "one", True)])
    for form, sentence in [
        ({"_column": "id", "_operator": "gte", "_value": "x"}, "`id__gte` must be a whole number"),
        ({"_column": "no", "_operator": "eq", "_value": "x"}, "`no__eq` is neither a parameter"),
        ({"_column": "id", "_operator": "like", "_value": "x"}, "`_operator` must be one of"),
    ]:
        answer = served.client.get("/datasets/sales/filter", params=form)

        assert answer.status_code == 422
        assert sentence in answer.text


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
    assert "`filters` are longer than the 4,000 characters that a page has room for." in refused.text
