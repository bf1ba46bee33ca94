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
from webapp import moments, parameters, threads
from webapp.access.needs import SERVER, GuardedRoute
from webapp.database_access import read, write
from webapp.errors import InvalidQueryError
from webapp.openapi import answers
from webapp.operation import Operation, answer
from webapp.page import page
from webapp.parameters import LIMIT, MOST_DIGITS, Parameter
from webapp.routes.pieces import in_pieces
from webapp.state import AppRequest

#: Entries on a page.
SHOWN = 100
#: Entries that are read at once for a file.
ENTRIES_READ = 1_000
#: Characters of a filter.
LONGEST_FILTER = 400
COLUMNS = ("id", "at", "actor", "via", "address", "action", "object", "result", "detail")
FILTERS: tuple[Parameter[Any], ...] = (
    parameters.text("actor", "Only what this account did.", longest=LONGEST_FILTER),
    parameters.text("action", "Only this, such as sign-in.", longest=LONGEST_FILTER),
    parameters.text("object", "Only what was done to this, such as upload 7.", longest=LONGEST_FILTER),
    parameters.choice("result", "Only what was done, or only what was refused.", Result),
    parameters.moment("since", "Only since this time."),
    parameters.moment("until", "Only before this time, of a day before its end."),
)
CURSOR = parameters.number(
    "cursor",
    "Where the page begins.",
    least=0,
    most=10**MOST_DIGITS - 1,
    default=None,
    wanted="must be the cursor of a page.",
    empty_too=True,
)
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
        return cls({each.name: each.read(query) or "" for each in FILTERS}, CURSOR.read(query))

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
        errors, view = {error.parameter: str(error)}, AuditView({each.name: "" for each in FILTERS}, None)
    entries, cursor = await read(request.state["database"], lambda connection: view.page(connection, SHOWN))
    shown = view.filters if not errors else {each.name: request.query_params.get(each.name, "") for each in FILTERS}
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
    view, limit = AuditView.from_query(request.query_params), LIMIT.read(request.query_params)
    entries, cursor = await read(request.state["database"], lambda connection: view.page(connection, limit))
    following = view.url("/api/v1/audit", cursor=cursor, limit=limit) if cursor else None
    items = [as_json(entry) for entry in entries]
    return JSONResponse({"items": items, "cursor": cursor and str(cursor), "links": {"next": following}})


def as_json(entry: Entry) -> dict[str, Any]:
    return {**{name: getattr(entry, name) for name in COLUMNS}, "at": timestamp(entry.at)}


#: Not compressed: it is streamed.
downloads = [GuardedRoute("/audit.csv", download, SERVER)]
routes = [
    GuardedRoute("/audit", show, SERVER),
    GuardedRoute(
        "/api/v1/audit",
        index,
        SERVER,
        operation=Operation(
            "List who did what, or was refused, newest first.",
            answer(answers.Page[answers.AuditEntry]),
            query=(*FILTERS, LIMIT, CURSOR),
        ),
    ),
]
