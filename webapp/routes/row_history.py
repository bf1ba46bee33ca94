"""The history of a row in the API, and where rows are that have one."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from starlette.responses import Response

from jobs import row_excerpts
from jobs.datasets import Dataset
from jobs.errors import InvalidPositionError, RowNotFoundError
from jobs.events import timestamp
from jobs.repair import rules
from jobs.undo.row_history import History, Version
from webapp import parameters
from webapp.access.needs import READ, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidQueryError
from webapp.openapi import answers
from webapp.operation import JSON, Answer, Operation
from webapp.parameters import LIMIT
from webapp.state import AppRequest

#: Bytes of the versions on a page. A single one may have more.
VERSIONS_BYTES = 9_500_000
CURSOR = parameters.number(
    "cursor",
    "The upload whose change the page begins with.",
    least=1,
    most=10**18 - 1,
    default=None,
    wanted="must be the id of an upload that changed this row.",
)
VERSION = parameters.number(
    "version",
    "The upload whose change the page of a row begins with.",
    least=1,
    most=10**18 - 1,
    default=None,
    wanted="must be the id of an upload.",
)


def find(connection: sa.Connection, dataset: Dataset, address: str) -> History:
    """The history of the row with an address, which may be there no more. Raises RowNotFoundError if it never was, as
    far as is known."""
    try:
        found = History(connection, dataset, row_excerpts.locate(connection, dataset, address))
    except InvalidPositionError as error:
        raise RowNotFoundError from error
    if not found.changes:
        raise RowNotFoundError
    return found


async def history(request: AppRequest) -> Response:
    """What changed a row, the newest first. `Link` leads to older changes."""
    name, address = request.path_params["name"], request.path_params["position"]
    limit, cursor = LIMIT.read(request.query_params), CURSOR.read(request.query_params)

    def query(connection: sa.Connection) -> tuple[list[bytes], int | None]:
        dataset = request.state["policy"].dataset(connection, name)
        found = find(connection, dataset, address)
        changes = found.page(cursor, limit)
        if not changes:
            raise InvalidQueryError(CURSOR.name, CURSOR.wanted)
        items: list[bytes] = []
        for version in found.versions(changes):
            item = json.dumps(as_json(version), ensure_ascii=False, separators=(",", ":")).encode()
            if items and (len(items) == limit or sum(map(len, items)) + len(item) > VERSIONS_BYTES):
                return items, version.upload.id
            items.append(item)
        return items, None

    items, following = await read(request.state["database"], query)
    headers = {}
    if following is not None:
        older = urlencode({"cursor": following, "limit": limit})
        headers["Link"] = f'<{request.url.path}?{older}>; rel="next"'
    return Response(b"[" + b",".join(items) + b"]", media_type=JSON, headers=headers)


def as_json(version: Version) -> Mapping[str, Any]:
    upload = version.upload
    return {
        "upload": upload.id,
        "kind": upload.kind,
        "filename": None if upload.is_deleted else upload.filename,
        "line": version.line,
        "row_number": version.row_number,
        "at": timestamp(upload.finished_at or upload.updated_at),
        "by": upload.uploaded_by,
        "before": version.before,
        "after": version.after,
        "before_lost": version.before_lost,
        "after_lost": version.after_lost,
        "replaced_by": version.replaced_by,
        "undone_by": upload.undone_by,
        "found_by": [{"upload": who, "line": line} for who, line in version.found_by],
        "rules": rules.cells(upload.rules),
        "deleted": upload.is_deleted,
    }


routes = [
    GuardedRoute(
        "/api/v1/datasets/{name}/rows/{position}/history",
        history,
        READ,
        operation=Operation(
            "List the versions of a row, the newest first.",
            {200: Answer("What was asked for. Link: to older versions.", {JSON: list[answers.RowVersion]})},
            query=(LIMIT, CURSOR),
        ),
    ),
]
