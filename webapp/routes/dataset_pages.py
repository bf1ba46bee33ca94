"""The HTML pages of datasets."""

import sqlalchemy as sa
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from jobs import datasets
from jobs.datasets import Dataset, Row
from webapp.database_access import read
from webapp.routes import row_position
from webapp.state import AppRequest

#: Rows on a page of a dataset.
ROWS_SHOWN = 50


async def index(request: AppRequest) -> Response:
    found = await read(request.state["database"], datasets.all_with_row_counts)
    listed = [
        {
            "name": dataset.name,
            "rows": rows,
            "columns": len(dataset.schema.fields),
            "created_at": dataset.created_at,
            "upload_id": dataset.upload_id,
        }
        for dataset, rows in found
    ]
    return HTMLResponse(request.state["templates"].render("datasets.html", {"datasets": listed}))


async def detail(request: AppRequest) -> Response:
    name = request.path_params["name"]
    after, before = (row_position.parse(request.query_params, parameter) for parameter in ("after", "before"))

    def query(connection: sa.Connection) -> tuple[Dataset, list[Row], int]:
        found = datasets.get(connection, name)
        if before:
            rows = datasets.rows_before(connection, found, before, limit=ROWS_SHOWN + 1)
        else:
            rows = datasets.rows_after(connection, found, after, limit=ROWS_SHOWN + 1)
        return found, rows, datasets.row_count(connection, found)

    with row_position.reported_as("before" if before else "after"):
        found, rows, total = await read(request.state["database"], query)
    more = len(rows) > ROWS_SHOWN
    shown = rows[-ROWS_SHOWN:] if before else rows[:ROWS_SHOWN]
    has_previous, has_next = (more, True) if before else (after is not None, more)
    context = {
        "dataset": found,
        "columns": [
            {
                "name": field.name,
                "title": field.title,
                "type": field.type,
                "evidence": field.description,
                "rules": found.schema.rules(field),
            }
            for field in found.schema.fields
        ],
        "rows": [[cell or None for cell in row.cells] for row in shown],
        "row_numbers": [row.row_number for row in shown],
        "total": total,
        "page": {
            "previous_url": f"?before={shown[0].position}" if has_previous and shown else None,
            "next_url": f"?after={shown[-1].position}" if has_next and shown else None,
        },
    }
    return HTMLResponse(request.state["templates"].render("dataset.html", context))


routes = [
    Route("/datasets", index),
    Route("/datasets/{name}", detail),
]
