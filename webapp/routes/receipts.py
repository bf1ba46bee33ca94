"""The receipt of an upload: as JSON, and as a page for print; and whether its rows are still as it says."""

import sqlalchemy as sa
from starlette.responses import HTMLResponse, JSONResponse, Response

from jobs import receipts
from jobs.receipts import Receipt
from jobs.uploads import Upload
from webapp import threads
from webapp.access.needs import READ, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import Operation, answer
from webapp.page import Visitor
from webapp.state import AppRequest
from webapp.views.receipt import ReceiptView

#: Seconds that a request waits for a worker to read all rows of an upload.
VERIFY_SECONDS = 300.0


async def _found(request: AppRequest) -> tuple[Upload, Receipt]:
    """Raises UploadNotFoundError, NoReceiptError."""
    upload_id, policy = request.path_params["upload_id"], request.state["policy"]

    def find(connection: sa.Connection) -> tuple[Upload, Receipt]:
        upload = policy.upload(connection, upload_id)
        return upload, receipts.get(connection, upload)

    return await read(request.state["database"], find)


async def receipt(request: AppRequest) -> Response:
    return JSONResponse((await _found(request))[1])


async def page(request: AppRequest) -> Response:
    _, found = await _found(request)
    context = {"receipt": ReceiptView(found), "visitor": Visitor.of(request.state["policy"])}
    return HTMLResponse(request.state["templates"].render("receipt.html", context))


async def verify(request: AppRequest) -> Response:
    """Let a worker compute the digest of the rows as they are now, and wait for it."""
    upload, _ = await _found(request)
    found = await threads.questions.run(
        lambda: request.state["questions"].ask("verify", seconds=VERIFY_SECONDS, upload_id=upload.id)
    )
    return JSONResponse(found)


routes = [
    GuardedRoute("/uploads/{upload_id:id}/receipt", page, READ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/receipt",
        receipt,
        READ,
        operation=Operation("Return the receipt of a completed import.", answer(answers.Receipt), problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/verification",
        verify,
        READ,
        operation=Operation(
            "Compare the rows with the receipt, as they are now.", answer(answers.Verdict), problems=(409,)
        ),
    ),
]
