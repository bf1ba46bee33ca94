"""The audit log: the page, the file, and the API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response, StreamingResponse

from jobs.corrections import escape_formulas
from jobs.database import Database
from jobs.events import timestamp
from jobs.export import csv_text
from jobs.people import audit
from jobs.people.audit import AuditQuery, Entry, Result
from webapp import moments, threads
from webapp.access.needs import SERVER, GuardedRoute
from webapp.database_access import read, write
from webapp.errors import InvalidQueryError
from webapp.page import page
from webapp.routes.pieces import in_pieces
from webapp.state import AppRequest

#: Entries on a page, and on one of the API.
SHOWN, DEFAULT_LIMIT, MAX_LIMIT = 100, 50, 500
#: Entries that are read at once for a file.
ENTRIES_READ = 1_000
#: Characters of a filter.
LONGEST_FILTER = 400
COLUMNS = ("id", "at", "actor", "via", "address", "action", "object", "result", "detail")
FILTERS = ("actor", "action", "object", "result", "since", "until")
#: Spreadsheet programs read a file that begins with this as UTF-8.
_BOM = "\ufeff".encode()


@dataclass(frozen=True)
class AuditView:
    """The filters of a request, as they are in the URL, "" for none; and the entry that a page begins below."""

    filters: Mapping[str, str]
    cursor: int | None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Raises InvalidQueryError."""
        filters = {name: query.get(name, "").strip()[:LONGEST_FILTER] for name in FILTERS}
        filters |= {name: moments.parse(query, name) for name in ("since", "until")}
        if filters["result"] not in ("", *Result):
            raise InvalidQueryError("result", "must be ok or refused.")
        cursor = query.get("cursor") or None
        if cursor is not None and not (cursor.isdecimal() and len(cursor) <= 18):
            raise InvalidQueryError("cursor", "must be the cursor of a page.")
        return cls(filters, None if cursor is None else int(cursor))

    @property
    def query(self) -> AuditQuery:
        of = self.filters
        return AuditQuery(
            of["actor"] or None,
            of["action"] or None,
            of["object"] or None,
            of["result"] or None,
            moments.beginning(of["since"]) if of["since"] else None,
            moments.end(of["until"]) if of["until"] else None,
        )

    def url(self, path: str, **more: object) -> str:
        parameters = {name: value for name, value in {**self.filters, **more}.items() if value}
        return f"{path}?{urlencode(parameters)}" if parameters else path

    def page(self, connection: sa.Connection, limit: int) -> tuple[list[Entry], int | None]:
        """Entries, and the cursor of the page that follows."""
        found = audit.page(connection, self.query, limit=limit + 1, before=self.cursor)
        return found[:limit], found[limit - 1].id if len(found) > limit else None


async def show(request: AppRequest) -> Response:
    errors: dict[str, str] = {}
    try:
        view = AuditView.from_query(request.query_params)
    except InvalidQueryError as error:
        errors, view = {error.parameter: str(error)}, AuditView(dict.fromkeys(FILTERS, ""), None)
    entries, cursor = await read(request.state["database"], lambda connection: view.page(connection, SHOWN))
    shown = view.filters if not errors else {name: request.query_params.get(name, "") for name in FILTERS}
    context = {
        "entries": entries,
        "filters": {name: value[:LONGEST_FILTER] for name, value in shown.items()},
        "is_filtered": any(view.filters.values()),
        "is_first": view.cursor is None,
        "first_url": view.url("/audit"),
        "next_url": cursor and view.url("/audit", cursor=cursor),
        "csv_url": view.url("/audit.csv"),
        "errors": errors,
    }
    return await page(request, "audit.html", context, HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK)


async def download(request: AppRequest) -> Response:
    """All entries that the filters choose, the newest first."""
    view, database, actor = (
        AuditView.from_query(request.query_params),
        request.state["database"],
        request.state["actor"],
    )
    await write(database, partial(audit.write, actor=actor, action="audit.download", object_="audit"))
    body = threads.downloads.iterate(in_pieces(_lines(database, view.query)))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingResponse(body, media_type="text/csv; charset=utf-8", headers=headers)


def _lines(database: Database, query: AuditQuery) -> Iterator[bytes]:
    """One transaction for each piece: none stays open while a client reads."""
    yield _BOM + csv_text.lines([COLUMNS])
    before: int | None = None
    while True:
        with database.reading() as connection:
            found = audit.page(connection, query, limit=ENTRIES_READ, before=before)
        if not found:
            return
        before = found[-1].id
        yield csv_text.lines(escape_formulas(["" if v is None else str(v) for v in as_json(e).values()]) for e in found)


async def index(request: AppRequest) -> Response:
    view, limit = AuditView.from_query(request.query_params), _limit(request)
    entries, cursor = await read(request.state["database"], lambda connection: view.page(connection, limit))
    following = view.url("/api/v1/audit", cursor=cursor, limit=limit) if cursor else None
    items = [as_json(entry) for entry in entries]
    return JSONResponse({"items": items, "cursor": cursor and str(cursor), "links": {"next": following}})


def as_json(entry: Entry) -> dict[str, Any]:
    return {**{name: getattr(entry, name) for name in COLUMNS}, "at": timestamp(entry.at)}


def _limit(request: AppRequest) -> int:
    """Raises InvalidQueryError."""
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


#: Not compressed: it is streamed.
downloads = [GuardedRoute("/audit.csv", download, SERVER)]
routes = [
    GuardedRoute("/audit", show, SERVER),
    GuardedRoute("/api/v1/audit", index, SERVER),
]
