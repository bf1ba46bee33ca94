"""The review of a held upload, as JSON: look at it, change how it is read and mapped, check it, import it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from starlette.responses import JSONResponse, Response

from jobs import review, uploads
from jobs.excerpt import excerpt
from jobs.people import audit
from jobs.people.roles import Role, Scope
from jobs.schema import KeyNames
from jobs.uploads import Status, Task, Upload
from webapp import threads
from webapp.access.needs import READ, UPLOAD, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import JSON, Answer, Operation, answer
from webapp.routes import actions, json_body, options_body, upload_json, visible
from webapp.state import AppRequest

#: Seconds that a request waits for a worker to look at a file again, and between two looks at the record.
PATIENCE, PAUSE = 2.0, 0.05


class NewField(BaseModel):
    """A field that the import adds to the dataset, as in a Table Schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    field: dict[str, Any]


def _checked(chosen: object) -> object:
    """What is chosen for a column. So that one sentence says what is wrong, not one for each of what it could be."""
    is_new = isinstance(chosen, dict) and chosen.keys() == {"field"} and isinstance(chosen["field"], dict)
    if not (chosen is None or isinstance(chosen, str) or is_new):
        raise ValueError("must be the name of a field, null, or an object with a `field` to add")
    return chosen


class ChosenFields(BaseModel):
    """Which fields some columns fill, by name, or described if they are to be added; null: none. remember: also for
    the next files of the dataset."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    columns: dict[str, Annotated[str | NewField | None, BeforeValidator(_checked)]]
    remember: bool = False

    @property
    def new_fields(self) -> list[dict[str, Any]]:
        """By default they are called like their columns."""
        return [{"name": name} | each.field for name, each in self.columns.items() if isinstance(each, NewField)]

    @property
    def names(self) -> dict[str, str | None]:
        """Column → the name of its field."""
        return {
            column: str(each.field.get("name", column)) if isinstance(each, NewField) else each
            for column, each in self.columns.items()
        }


class Plan(BaseModel):
    """The fields of a new dataset, as in a Table Schema, each with the `column` that fills it. name: of the dataset;
    "": named after the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    name: str = ""
    fields: list[dict[str, Any]]
    primary_key: KeyNames = Field(default=[], alias="primaryKey")

    @property
    def table_schema(self) -> dict[str, Any]:
        return {"fields": self.fields, "primaryKey": self.primary_key}


MAPPING, PLAN = TypeAdapter(ChosenFields), TypeAdapter(Plan)


async def show(request: AppRequest) -> Response:
    upload_id = request.path_params["upload_id"]

    def look(connection: sa.Connection) -> dict[str, Any]:
        policy = request.state["policy"]
        return review.as_json(connection, policy.upload(connection, upload_id), policy.view)

    return JSONResponse(await read(request.state["database"], look))


async def approve(request: AppRequest) -> Response:
    return JSONResponse(upload_json.as_json(await actions.approve(request)))


async def check(request: AppRequest) -> Response:
    return JSONResponse(upload_json.as_json(await actions.check(request)), HTTPStatus.ACCEPTED)


async def map_columns(request: AppRequest) -> Response:
    """Raises InvalidBodyError, UploadNotFoundError, TransitionError, InvalidMappingError, NotAllowedError."""
    await visible.upload(request, request.path_params["upload_id"])
    return await _answer(
        request, await change_mapping(request, json_body.parse(MAPPING, await json_body.read(request)))
    )


async def change_mapping(request: AppRequest, wanted: ChosenFields) -> bool:
    """Choose the fields of some columns of a held upload. Returns whether what that needs of a worker is done. Raises
    what `map_columns` raises."""
    state, upload_id = request.state, request.path_params["upload_id"]

    def change(connection: sa.Connection) -> Upload:
        upload = state["policy"].upload(connection, upload_id)
        state["policy"].require_change_of(upload)
        if wanted.new_fields and upload.dataset is not None:
            state["policy"].require(Role.ADMIN, (Scope.ADMIN,))
        changed = review.map_columns(
            connection,
            upload,
            wanted.names,
            remember=wanted.remember,
            new_fields=wanted.new_fields,
            how=review.Choice(state["settings"].quick_bytes, actions.asked_by(request)),
        )
        detail = f"{len(wanted.columns):,} columns of {upload.filename}{', remembered' if wanted.remember else ''}"
        if wanted.new_fields:
            detail += f"; new: {', '.join(excerpt(str(each.get('name')), 80) for each in wanted.new_fields[:10])}"
        audit.write(connection, state["actor"], "upload.map", f"upload {upload_id}", detail=detail)
        return changed

    return await _wait_for_worker(request, await threads.writes.run(lambda: state["changes"].make(change)))


async def read_otherwise(request: AppRequest) -> Response:
    """The review of the file as it is read with other options; 202 if a worker needs longer for that."""
    return await _answer(
        request, await look_again(request, await options_body.read(request, options_body.HELD_OPTIONS))
    )


async def _answer(request: AppRequest, is_done: bool) -> Response:  # what it waited for
    if is_done:
        return await show(request)
    upload_id = request.path_params["upload_id"]
    upload = await read(request.state["database"], lambda connection: uploads.get(connection, upload_id))
    return JSONResponse(upload_json.as_json(upload), HTTPStatus.ACCEPTED)


async def look_again(request: AppRequest, given: Mapping[str, str]) -> bool:
    """Let a worker look at a held upload with other import options. Returns whether it already did. given: also a mode;
    where nothing else is given, the file is not read again. And the name of a dataset, which may be a new one.

    Raises InvalidImportOptionError, UploadNotFoundError, TransitionError, NotAllowedError, InvalidDatasetNameError,
    RefusedError.
    """
    state, upload_id = request.state, request.path_params["upload_id"]

    def change(connection: sa.Connection) -> Upload:
        upload = state["policy"].upload(connection, upload_id)
        state["policy"].require_change_of(upload)
        options, by = upload.options.changed(given), actions.asked_by(request)
        name, target = given.get("mode"), actions.target_of(connection, request, upload, given)
        mode = actions.mode_of(connection, name, target.dataset if target else upload.dataset) if name else None
        if target is not None:
            target = replace(target, mode=mode or target.mode)
            ordered = uploads.order(connection, upload_id, Task.LOOK, options=options, target=target, by=by)
        elif mode is not None and options == upload.options:
            quick_bytes = state["settings"].quick_bytes
            ordered = review.choose_mode(connection, upload, mode, quick_bytes=quick_bytes, by=by)
        else:
            ordered = uploads.order(connection, upload_id, Task.LOOK, options=options, mode=mode, by=by)
        audit.write(connection, state["actor"], "upload.options", f"upload {upload_id}", detail=upload.filename)
        return ordered

    return await _wait_for_worker(request, await threads.writes.run(lambda: state["changes"].make(change)))


async def choose_fields(request: AppRequest) -> Response:
    """The review with other fields of the new dataset; 202 if a worker needs longer to check the file with them.

    Raises InvalidBodyError, and what `plan` raises.
    """
    await visible.upload(request, request.path_params["upload_id"])
    wanted = json_body.parse(PLAN, await json_body.read(request))
    return await _answer(request, await plan(request, wanted.name, wanted.table_schema))


async def plan(request: AppRequest, name: str, schema: Mapping[str, Any]) -> bool:
    """Choose name and fields of the new dataset that a held upload makes. Returns whether it is already checked.

    Raises UploadNotFoundError, TransitionError, NotAllowedError, InvalidMappingError, InvalidDatasetNameError,
    SchemaError.
    """
    state, upload_id = request.state, request.path_params["upload_id"]

    def change(connection: sa.Connection) -> Upload:
        upload = state["policy"].upload(connection, upload_id)
        state["policy"].require_change_of(upload)
        planned = review.plan(
            connection,
            upload,
            name,
            schema,
            quick_bytes=state["settings"].quick_bytes,
            by=actions.asked_by(request),
        )
        audit.write(connection, state["actor"], "upload.schema", f"upload {upload_id}", detail=upload.filename)
        return planned

    return await _wait_for_worker(request, await threads.writes.run(lambda: state["changes"].make(change)))


async def _wait_for_worker(request: AppRequest, ordered: Upload) -> bool:
    """Whether a worker did soon what was ordered."""
    state = request.state
    if ordered.is_held:
        return True
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        await asyncio.sleep(PAUSE)
        found = await read(state["database"], lambda connection: uploads.get(connection, ordered.id))
        if found.seq > ordered.seq and found.status not in (Status.PENDING, Status.PROCESSING):
            return True
    return False


#: A worker has to do what was asked for first.
_LATER = {202: Answer("A worker does it; the stream of the upload tells.", {JSON: answers.Upload})}

routes = [
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/review",
        show,
        READ,
        operation=Operation("Return what is known of a file before its import.", answer(answers.Review)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/import",
        approve,
        UPLOAD,
        methods=["POST"],
        operation=Operation("Import a held upload.", answer(answers.Upload), problems=(409, 422)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/check",
        check,
        UPLOAD,
        methods=["POST"],
        operation=Operation("Check what the import of a held upload would do.", _LATER, problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/mapping",
        map_columns,
        UPLOAD,
        methods=["PUT"],
        operation=Operation(
            "Choose which fields the columns of a held upload fill.",
            answer(answers.Review) | _LATER,
            body={JSON: MAPPING},
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/options",
        read_otherwise,
        UPLOAD,
        methods=["PUT"],
        operation=Operation(
            "Read the file of a held upload with other import options.",
            answer(answers.Review) | _LATER,
            body={JSON: options_body.HELD_OPTIONS},
            body_needed=False,
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/uploads/{upload_id:id}/schema",
        choose_fields,
        UPLOAD,
        methods=["PUT"],
        operation=Operation(
            "Choose the name and the fields of the new dataset that a held upload makes.",
            answer(answers.Review) | _LATER,
            body={JSON: PLAN},
            problems=(409,),
        ),
    ),
]
