"""The HTML pages of datasets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from jobs import catalogue, datasets, row_excerpts, row_filters
from jobs.catalogue import Entry
from jobs.datasets import Dataset, Row
from jobs.excerpt import excerpt
from jobs.row_filters import RowFilters
from jobs.schema import SchemaField
from webapp.catalogue_view import CatalogueView
from webapp.cells import Cell
from webapp.database_access import read
from webapp.errors import InvalidQueryError
from webapp.filter_view import FORM_FIELDS, OPERATORS, ROWS_COUNTED, FilterView
from webapp.routes import actions, row_position
from webapp.state import AppRequest
from webapp.threads import in_thread

#: Rows on a page of a dataset, at most.
ROWS_SHOWN = 50
#: Columns on a page of a dataset. With the longest names and descriptions they take 450 kB.
COLUMNS_SHOWN = 100
#: Bytes of HTML for the rows, so that the page stays below 1 MB. One row always has room.
ROWS_BYTES = 300_000
#: Parameters of a dataset's page that choose no rows.
OWN_PARAMETERS = ("after", "before", "columns")
#: Datasets on a page of their list.
DATASETS_SHOWN = 100


async def index(request: AppRequest) -> Response:
    """The list of datasets."""
    state, view = request.state, CatalogueView.from_query(request.query_params)

    def query(connection: sa.Connection) -> list[Entry]:
        skipped = (view.page - 1) * DATASETS_SHOWN
        return catalogue.entries(connection, view.query, limit=DATASETS_SHOWN + 1, skipped=skipped)

    found = await read(state["database"], query)
    listed = [
        (entry, entry.last_upload and state["renderer"].view(entry.last_upload)) for entry in found[:DATASETS_SHOWN]
    ]
    context = {
        "datasets": listed,
        "view": view,
        "previous_url": view.at(view.page - 1) if view.page > 1 else None,
        "next_url": view.at(view.page + 1) if len(found) > DATASETS_SHOWN else None,
    }
    render = partial(state["templates"].render, "datasets.html", context)
    return HTMLResponse(await in_thread(render))


@dataclass(frozen=True)
class _ShownRow:
    """url: of the whole row. html_bytes: what it adds to a page at most."""

    number: int
    address: str
    cells: list[Cell]
    html_bytes: int

    @classmethod
    def from_row(cls, dataset: Dataset, fields: Sequence[SchemaField], row: Row) -> "_ShownRow":
        address = row_excerpts.address(row)
        url = f"/datasets/{dataset.name}/rows/{address}"
        cells = [Cell.of(cell, field.name, url) for cell, field in zip(row.cells, fields, strict=True)]
        return cls(row.row_number, address, cells, sum(cell.html_bytes for cell in cells))


async def detail(request: AppRequest) -> Response:
    name, query_params = request.path_params["name"], request.query_params
    backwards = "before" in query_params
    parameter = "before" if backwards else "after"

    def page(connection: sa.Connection) -> dict[str, Any]:
        dataset = datasets.get(connection, name)
        first = _first_column(query_params, len(dataset.schema.fields))
        fields = dataset.schema.fields[first - 1 : first - 1 + COLUMNS_SHOWN]
        filters = row_filters.parse(query_params.multi_items(), dataset.schema, others=OWN_PARAMETERS)
        position = row_position.locate(connection, dataset, query_params, parameter)
        found = row_excerpts.read(
            connection,
            dataset,
            fields,
            position,
            limit=ROWS_SHOWN + 1,
            backwards=backwards,
            selection=filters.selection,
        )
        rows, has_more = _fitting(_ShownRow.from_row(dataset, fields, row) for row in found)
        total = datasets.row_count(connection, dataset)
        links = _links(rows, has_more, query_params, first, len(dataset.schema.fields), filters)
        shown = _context(dataset, first, fields, rows[::-1] if backwards else rows, total)
        names = [field.name for field in fields]
        view = FilterView.of(connection, dataset, filters, names, first)
        return shown | {"page": links, "filters": view, "operators": OPERATORS, "counted": ROWS_COUNTED}

    with row_position.reported_as(parameter):
        context = await read(request.state["database"], page)
    return HTMLResponse(await in_thread(partial(request.state["templates"].render, "dataset.html", context)))


def _first_column(query: Mapping[str, str], count: int) -> int:
    """The number of the first column to show, from 1. Raises InvalidQueryError."""
    text = query.get("columns", "1")
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= count:
        raise InvalidQueryError("columns", f"must be the number of a column, from 1 to {count:,}.")
    return int(text)


def _fitting(rows: Iterable[_ShownRow]) -> tuple[list[_ShownRow], bool]:
    """As many rows as a page has room for, and whether there are more."""
    shown: list[_ShownRow] = []
    total = 0
    for row in rows:
        total += row.html_bytes
        if shown and (len(shown) == ROWS_SHOWN or total > ROWS_BYTES):
            return shown, True
        shown.append(row)
    return shown, False


def _links(
    rows: Sequence[_ShownRow],
    has_more: bool,
    query: Mapping[str, str],
    first_column: int,
    columns: int,
    filters: RowFilters,
) -> dict[str, str | None]:
    """The addresses of the adjacent pages. rows: the nearest to the position that the page begins or ends at first."""
    backwards = "before" in query
    here = {name: query[name] for name in ("after", "before") if name in query}
    beyond, back = ("before", "after") if backwards else ("after", "before")

    def url(position: Mapping[str, str], column: int) -> str:
        shown = {"columns": column} if column > 1 else {}
        return f"?{urlencode([*position.items(), *shown.items(), *filters.query])}"

    onwards = url({beyond: rows[-1].address}, first_column) if rows and has_more else None
    returning = url({back: rows[0].address}, first_column) if rows and here else None
    following = first_column + COLUMNS_SHOWN
    return {
        "previous_url": onwards if backwards else returning,
        "next_url": returning if backwards else onwards,
        "previous_columns_url": url(here, max(1, first_column - COLUMNS_SHOWN)) if first_column > 1 else None,
        "next_columns_url": url(here, following) if following <= columns else None,
    }


def _context(
    dataset: Dataset, first: int, fields: Sequence[SchemaField], rows: Sequence[_ShownRow], total: int
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "columns": [
            {
                "name": field.name,
                "title": field.title and excerpt(field.title),
                "type": field.type,
                "evidence": field.description and excerpt(field.description),
                "near_type": field.near_type if dataset.upload_id is not None else None,
                "rules": excerpt("; ".join(dataset.schema.rules(field))),
            }
            for field in fields
        ],
        "first_column": first,
        "last_column": first - 1 + len(fields),
        "column_count": len(dataset.schema.fields),
        "rows": rows,
        "total": total,
    }


async def add_filter(request: AppRequest) -> Response:
    """The form's target: leads to the page with the filters that it has already, and one more."""
    name, query = request.path_params["name"], request.query_params
    dataset = await read(request.state["database"], lambda connection: datasets.get(connection, name))
    kept = [(each, value) for each, value in query.multi_items() if each not in FORM_FIELDS]
    added = FilterView.added(*(query.get(field, "") for field in FORM_FIELDS))
    row_filters.parse([*kept, added], dataset.schema, others=OWN_PARAMETERS)
    return RedirectResponse(f"/datasets/{name}?{urlencode([*kept, added])}", 303)


async def change_type(request: AppRequest) -> Response:
    """Import the file again, with a column as the type that most of its values have."""
    upload = await actions.import_as_near_type(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


routes = [
    Route("/datasets", index),
    Route("/datasets/{name}/filter", add_filter),
    Route("/datasets/{name}/change-type", change_type, methods=["POST"]),
    Route("/datasets/{name}", detail),
]
