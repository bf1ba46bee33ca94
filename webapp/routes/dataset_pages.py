"""The HTML pages of datasets: their list; the rows, the columns and the uploads of one; and one row."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from markupsafe import escape
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs import datasets, uploads
from jobs.dataset_admin import catalogue
from jobs.dataset_admin.catalogue import Entry
from jobs.datasets import Dataset, Row
from jobs.excerpt import excerpt
from jobs.history_query import HistoryQuery
from jobs.repair import rules
from jobs.rows import filters as row_filters
from jobs.schema import SchemaField
from jobs.traces import row_lines
from jobs.undo import key_failures
from jobs.uploads import Page
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidQueryError
from webapp.live.delivery.heartbeat import HEARTBEAT_INTERVAL
from webapp.page import Visitor
from webapp.routes import actions, row_history, row_position, visible
from webapp.state import AppRequest
from webapp.threads import in_thread
from webapp.views import row_history as row_history_view
from webapp.views.catalogue import CatalogueView
from webapp.views.dataset import DatasetState, Shown
from webapp.views.filters import ColumnForm, FilterView
from webapp.views.row_history import VERSIONS_SHOWN
from webapp.views.rows import COLUMNS_SHOWN, OWN_PARAMETERS, ROWS_COUNTED, Place, RowsView

#: Datasets on a page of their list.
DATASETS_SHOWN = 100
#: Uploads on a page of those of a dataset.
UPLOADS_SHOWN = 50
#: Characters of a value on the page of a row, and bytes of HTML for all of them.
VALUE_LENGTH, VALUES_BYTES = 2_000, 400_000
#: Failed rows with its key that the page of a row lists.
FAILURES_SHOWN = 20


async def index(request: AppRequest) -> Response:
    """The list of datasets."""
    state, view = request.state, CatalogueView.from_query(request.query_params)

    def query(connection: sa.Connection) -> list[Entry]:
        skipped = (view.page - 1) * DATASETS_SHOWN
        return catalogue.entries(
            connection, view.query, limit=DATASETS_SHOWN + 1, skipped=skipped, seen=state["policy"].view
        )

    found = await read(state["database"], query)
    listed = [
        (entry, entry.last_upload and state["renderer"].view(entry.last_upload)) for entry in found[:DATASETS_SHOWN]
    ]
    context = {
        "datasets": listed,
        "view": view,
        "visitor": Visitor.of(state["policy"]),
        "previous_url": view.at(view.page - 1) if view.page > 1 else None,
        "next_url": view.at(view.page + 1) if len(found) > DATASETS_SHOWN else None,
    }
    return HTMLResponse(await in_thread(partial(state["templates"].render, "datasets.html", context)))


async def rows(request: AppRequest) -> Response:
    """The rows of a dataset, those that the filters choose, in the order of the key or in that of `sort`."""
    name, query = request.path_params["name"], request.query_params
    parameter = "before" if "before" in query else "after"

    def page(connection: sa.Connection) -> dict[str, Any]:
        dataset = request.state["policy"].dataset(connection, name)
        first = _first_column(query, len(dataset.schema.fields))
        filters = row_filters.parse(query.multi_items(), dataset.schema, others=OWN_PARAMETERS)
        position = row_position.locate(connection, dataset, query, parameter)
        wanted, error = _place(query, position)
        state = DatasetState.read(connection, name)
        columns = _columns(dataset, first)
        filter_view = FilterView.of(dataset, filters, [column["name"] for column in columns], first)
        shown = RowsView.read(connection, dataset, filters, wanted, first, state.entry.rows)
        return {
            **context_of(request, dataset, state, "rows"),
            "columns": columns,
            "view": shown,
            "page": shown.links,
            "filters": filter_view,
            "counted": ROWS_COUNTED,
            "has_text": any(field.type == "string" for field in dataset.schema.fields),
            "wanted": query.get("from_row", "") if parameter not in query else "",
            "row_error": error or (shown.problem if wanted.skipped else ""),
        } | _column_range(dataset, first)

    with row_position.reported_as(parameter):
        context = await read(request.state["database"], page)
    status = 422 if context["row_error"] else 200
    return HTMLResponse(await _rendered(request, "dataset.html", context), status)


def _place(query: Mapping[str, str], position: datasets.Position | None) -> tuple[Place, str]:
    """Where the page begins, and what is wrong with the number of a row that was entered."""
    try:
        return Place.from_query(query, position), ""
    except InvalidQueryError as error:
        return Place(position, "", False, None if position else 1), f"This {error.problem}"


async def columns(request: AppRequest) -> Response:
    """The columns of a dataset."""
    name, query = request.path_params["name"], request.query_params

    def page(connection: sa.Connection) -> dict[str, Any]:
        dataset = request.state["policy"].dataset(connection, name)
        first = _first_column(query, len(dataset.schema.fields))
        state = DatasetState.read(connection, name)
        last = len(dataset.schema.fields)
        links = {
            "previous_columns_url": f"?columns={max(1, first - COLUMNS_SHOWN)}" if first > 1 else None,
            "next_columns_url": f"?columns={first + COLUMNS_SHOWN}" if first + COLUMNS_SHOWN <= last else None,
        }
        found = {"columns": _columns(dataset, first), "page": links}
        return context_of(request, dataset, state, "columns") | found | _column_range(dataset, first)

    context = await read(request.state["database"], page)
    return HTMLResponse(await _rendered(request, "dataset_columns.html", context))


async def uploads_into(request: AppRequest) -> Response:
    """The uploads into a dataset, the newest first."""
    state, name = request.state, request.path_params["name"]
    text = request.query_params.get("cursor", "")
    if text and not (text.isdecimal() and len(text) < 19):
        raise InvalidQueryError("cursor", "must be the id of an upload.")

    def query(connection: sa.Connection) -> tuple[Dataset, DatasetState, Page]:
        dataset = request.state["policy"].dataset(connection, name)
        cursor = int(text) if text else None
        page = uploads.page(connection, HistoryQuery(dataset=name), limit=UPLOADS_SHOWN, cursor=cursor)
        return dataset, DatasetState.read(connection, name), page

    dataset, found, page = await read(state["database"], query)
    context = context_of(request, dataset, found, "uploads") | {
        "uploads": [state["renderer"].view(upload) for upload in page.items],
        "newer_url": f"?cursor={page.newer}" if page.newer else None,
        "older_url": f"?cursor={page.older}" if page.older else None,
    }
    return HTMLResponse(await _rendered(request, "dataset_uploads.html", context))


def context_of(request: AppRequest, dataset: Dataset, state: DatasetState, tab: str) -> dict[str, Any]:
    """The variables that the pages of a dataset share."""
    shown = Shown.of(state.entry)
    return request.state["renderer"].dataset_context(state, shown) | {
        "dataset": dataset,
        "title": dataset.schema.title and excerpt(dataset.schema.title),
        "tab": tab,
        "downloads": FilterView.of(dataset, row_filters.parse([], dataset.schema), [], 1).downloads,
        "events_url": f"/datasets/{dataset.name}/events?{shown.query}",
        "heartbeat_interval": HEARTBEAT_INTERVAL,
        "max_upload_bytes": request.state["settings"].max_upload_bytes,
        "visitor": Visitor.of(request.state["policy"]),
    }


async def _rendered(request: AppRequest, template: str, context: Mapping[str, Any]) -> str:
    return await in_thread(partial(request.state["templates"].render, template, context))


def _first_column(query: Mapping[str, str], count: int) -> int:
    """The number of the first column to show, from 1. Raises InvalidQueryError."""
    text = query.get("columns", "1")
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= count:
        raise InvalidQueryError("columns", f"must be the number of a column, from 1 to {count:,}.")
    return int(text)


def _column_range(dataset: Dataset, first: int) -> dict[str, int]:
    count = len(dataset.schema.fields)
    return {"first_column": first, "last_column": min(first - 1 + COLUMNS_SHOWN, count), "column_count": count}


def _columns(dataset: Dataset, first: int) -> Sequence[dict[str, Any]]:
    return [_column(dataset, field) for field in dataset.schema.fields[first - 1 : first - 1 + COLUMNS_SHOWN]]


def _column(dataset: Dataset, field: SchemaField) -> dict[str, Any]:
    return {
        "name": field.name,
        "title": field.title and excerpt(field.title),
        "type": field.type,
        "is_number": field.type in ("integer", "number"),
        "evidence": field.description and excerpt(field.description),
        "near_type": field.near_type if dataset.upload_id is not None else None,
        "rules": excerpt("; ".join(dataset.schema.rules(field))),
    }


async def filter_column(request: AppRequest) -> Response:
    """The form that sorts by a column and filters it. With values it leads to the rows that they choose; with values
    that do not fit it is shown again, each beside what is wrong with it.

    A script that shows the form at the head of the column gets the form alone, and is told where it leads to.
    """
    name, query = request.path_params["name"], request.query_params
    dataset = await visible.dataset(request, name)
    form = ColumnForm.of(dataset, query.multi_items(), OWN_PARAMETERS)
    is_alone = request.headers.get("hx-request") == "true"
    if form.is_sent and not form.has_errors:
        if is_alone:
            return Response(status_code=204, headers={"HX-Redirect": form.url})
        return RedirectResponse(form.url, 303)
    template = "_column_form.html" if is_alone else "dataset_filter.html"
    html = request.state["templates"].render(
        template, {"dataset": dataset, "form": form, "visitor": Visitor.of(request.state["policy"])}
    )
    return HTMLResponse(html, 422 if form.has_errors else 200)


async def row(request: AppRequest) -> Response:
    """One row: where it came from, its values, and its versions. A row that was removed has the latter only."""
    name, address, query = request.path_params["name"], request.path_params["position"], request.query_params
    if "column" in query:  # as addresses of cells were
        return RedirectResponse(f"{request.url.path}.txt?{request.url.query}", 301)
    first = row_history.VERSION.read(query)

    def page(connection: sa.Connection) -> dict[str, Any]:
        dataset = request.state["policy"].dataset(connection, name)
        history = row_history.find(connection, dataset, address)
        changes = history.page(first, VERSIONS_SHOWN) or history.page(None, VERSIONS_SHOWN)
        cards = row_history_view.cards(
            dataset, history.versions(changes[:VERSIONS_SHOWN]), rules.of_dataset(connection, name)
        )
        found = datasets.find(connection, dataset, history.position) if history.is_there else None
        filename = found and uploads.filenames(connection, {found.upload_id}).get(found.upload_id)
        return {
            "dataset": dataset,
            "row": found,
            "filename": filename and excerpt(filename),
            "line": found and row_lines.line_of(connection, found.upload_id, found.row_number),
            "values": _values(dataset, found, f"/datasets/{name}/rows/{address}.txt") if found else [],
            "url": f"/datasets/{name}/rows/{address}",
            "cards": cards,
            "count": len(history.changes),
            "is_cut": history.is_cut,
            "is_newest": changes[0] is history.changes[0],
            "is_missing": first is not None and changes[0].upload_id != first,
            "older": changes[VERSIONS_SHOWN].upload_id if len(changes) > VERSIONS_SHOWN else None,
            "failures": key_failures.find(connection, dataset, history.key_cells, limit=FAILURES_SHOWN),
        }

    context = await read(request.state["database"], page)
    context["visitor"] = Visitor.of(request.state["policy"])
    return HTMLResponse(await _rendered(request, "dataset_row.html", context))


def _values(dataset: Dataset, found: Row, url: str) -> list[dict[str, str]]:
    """Each value with its column; of what a page has no room for, the address only."""
    values, room = [], VALUES_BYTES
    for field, cell in zip(dataset.schema.fields, found.cells, strict=True):
        text = excerpt(cell, VALUE_LENGTH) if room > 0 else ""
        room -= len(escape(text).encode())
        is_whole = text == cell
        values.append(
            {
                "name": field.name,
                "title": excerpt(field.title or field.name),
                "type": field.type,
                "text": text,
                "url": "" if is_whole else f"{url}?{urlencode({'column': field.name})}",
            }
        )
    return values


async def change_type(request: AppRequest) -> Response:
    """Import the file again, with a column as the type that most of its values have."""
    upload = await actions.import_as_near_type(request)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


routes = [
    GuardedRoute("/datasets", index, READ),
    GuardedRoute("/datasets/{name}/filter", filter_column, READ),
    GuardedRoute("/datasets/{name}/columns", columns, READ),
    GuardedRoute("/datasets/{name}/uploads", uploads_into, READ),
    GuardedRoute("/datasets/{name}/change-type", change_type, UPLOAD, methods=["POST"]),
    GuardedRoute("/datasets/{name}/rows/{position}", row, READ),
    GuardedRoute("/datasets/{name}", rows, READ),
]
