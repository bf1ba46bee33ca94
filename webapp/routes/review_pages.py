"""What a person chooses on the page of a held upload. A script gets the part of the page that changes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobs import review as reviews
from jobs.errors import (
    BulkUploadError,
    InvalidDatasetNameError,
    InvalidImportOptionError,
    InvalidMappingError,
    NotAllowedError,
    RefusedError,
    SchemaError,
)
from webapp.access.needs import UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.failed_rows_query import FailedRowsQuery
from webapp.page import Visitor
from webapp.review import form
from webapp.review.view import NEW_FIELD
from webapp.routes import actions, json_body, options_body, part_uploads, review, visible
from webapp.routes.part_uploads import ChosenPart
from webapp.routes.review import ChosenFields, NewField
from webapp.state import AppRequest
from webapp.threads import in_thread
from webapp.views.form import FormView


async def read_again(request: AppRequest) -> Response:
    """Let a worker read the file in another way."""
    entered = await options_body.read(request)
    try:
        await review.look_again(request, entered)
    except InvalidImportOptionError as error:
        return await _refused(request, error, entered)
    return await _answer(request)


async def choose_dataset(request: AppRequest) -> Response:
    """Into which dataset the rows go."""
    await visible.upload(request, request.path_params["upload_id"])
    chosen = form.parse(await json_body.read_bytes(request)).get("dataset", [""])[-1]
    try:
        await review.look_again(request, {"dataset": chosen})
    except (InvalidDatasetNameError, NotAllowedError, RefusedError) as error:
        return await _part(request, None, str(error))
    return await _answer(request)


async def choose_mode(request: AppRequest) -> Response:
    """What the rows do with those of the dataset."""
    await visible.upload(request, request.path_params["upload_id"])
    chosen = form.parse(await json_body.read_bytes(request)).get("mode", [""])[-1]
    try:
        await review.look_again(request, {"mode": chosen})
    except InvalidImportOptionError as error:
        return await _part(request, None, str(error))
    return await _answer(request)


async def map_columns(request: AppRequest) -> Response:
    await visible.upload(request, request.path_params["upload_id"])
    upload_id = request.path_params["upload_id"]
    chosen = form.mapping(form.parse(await json_body.read_bytes(request)))

    def present(connection: sa.Connection) -> dict[str, Any]:
        return reviews.as_json(connection, request.state["policy"].upload(connection, upload_id))

    try:
        if chosen:
            new = {}
            if NEW_FIELD in chosen.values():
                columns = (await read(request.state["database"], present))["columns"]
                new = {each["name"]: NewField(field=each.get("new_field") or {}) for each in columns}
            wanted = {
                name: new[name] if field == NEW_FIELD and name in new else field for name, field in chosen.items()
            }
            await review.change_mapping(request, ChosenFields(columns=wanted))
    except (InvalidMappingError, NotAllowedError) as error:
        return await _refused(request, error, {})
    return await _answer(request)


async def choose_fields(request: AppRequest) -> Response:
    """Name and fields of a new dataset."""
    await visible.upload(request, request.path_params["upload_id"])
    entered, upload_id = form.parse(await json_body.read_bytes(request)), request.path_params["upload_id"]

    def present(connection: sa.Connection) -> dict[str, Any]:
        return reviews.as_json(connection, request.state["policy"].upload(connection, upload_id))

    schema = form.schema(entered, await read(request.state["database"], present))
    name = entered.get("dataset", [""])[-1]
    try:
        await review.plan(request, name, schema)
    except (InvalidDatasetNameError, InvalidMappingError, SchemaError) as error:
        return await _refused(request, error, {"dataset": name})
    return await _answer(request)


async def import_parts(request: AppRequest) -> Response:
    """Import parts of the file, each as an upload of its own."""
    await visible.upload(request, request.path_params["upload_id"])
    wanted = form.parts(form.parse(await json_body.read_bytes(request)))
    chosen = [ChosenPart(name=name, dataset=dataset or None) for name, dataset in wanted.items()]
    if not chosen:
        return await _part(request, None, "Choose at least one part of the file.")
    try:
        found = await part_uploads.divide(request, chosen)
    except (RefusedError, NotAllowedError, InvalidDatasetNameError) as error:
        return await _part(request, None, str(error))
    if found.refused:
        return await _part(request, None, part_uploads.refusals(found.refused))
    return RedirectResponse(f"/uploads/{found.uploads[0].id}" if len(found.uploads) == 1 else "/uploads", 303)


async def check(request: AppRequest) -> Response:
    await actions.check(request)
    return await _answer(request)


async def approve(request: AppRequest) -> Response:
    """Import it as it is now, and remember its columns if that is wanted."""
    wanted = form.parse(await json_body.read_bytes(request))
    try:
        await actions.approve(request, remember="remember" in wanted)
    except RefusedError as error:
        return await _refused(request, error, {})
    return await _answer(request)


async def _answer(request: AppRequest) -> Response:
    upload_id = request.path_params["upload_id"]
    if request.headers.get("hx-request") == "true":
        return await _part(request, None, "")
    query = FailedRowsQuery.parse(request.query_params)
    columns = f"?columns={query.first_column}#review" if query.first_column > 1 else ""
    return RedirectResponse(f"/uploads/{upload_id}{columns}", 303)


async def _refused(request: AppRequest, error: BulkUploadError, entered: Mapping[str, str]) -> Response:
    """The form again, with what was entered and what is wrong with it."""
    is_about_field = isinstance(error, (InvalidDatasetNameError, InvalidImportOptionError)) and error.field is not None
    view = FormView.refused(error, entered) if is_about_field else None
    return await _part(request, view, "" if view else str(error))


async def _part(request: AppRequest, refused: FormView | None, problem: str) -> Response:
    """A script shows only what is answered with success."""
    state, is_part = request.state, request.headers.get("hx-request") == "true"
    query = FailedRowsQuery.parse(request.query_params)
    page = await state["snapshots"].detail(request.path_params["upload_id"], state["policy"].view, query)
    context = page.context | {"form": refused, "problem": problem, "visitor": Visitor.of(state["policy"])}
    context |= {"events_url": None}  # which would undo what was entered
    render = partial(state["templates"].render, "_upload_progress.html" if is_part else "upload.html", context)
    return HTMLResponse(await in_thread(render), 200 if is_part or not (refused or problem) else 422)


routes = [
    GuardedRoute("/uploads/{upload_id:id}/review/options", read_again, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/review/target", choose_dataset, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/review/mode", choose_mode, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/review/mapping", map_columns, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/review/schema", choose_fields, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/parts", import_parts, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/check", check, UPLOAD, methods=["POST"]),
    GuardedRoute("/uploads/{upload_id:id}/import", approve, UPLOAD, methods=["POST"]),
]
