"""The API's changes of datasets: declare, settings, columns, delete. For administrators."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import JSONResponse, Response

from jobs import datasets, review
from jobs.dataset_admin import changes as dataset_changes
from jobs.dataset_admin.changes import Settings
from jobs.dataset_admin.retyping import Fit
from jobs.datasets import Dataset, Mode
from jobs.errors import DatasetNotFoundError, InvalidDatasetNameError, SchemaError
from jobs.events import timestamp
from jobs.schema import KeyNames, TableSchema
from webapp.access.needs import ADMIN, SERVER, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidBodyError
from webapp.openapi import answers
from webapp.operation import DONE, JSON, Operation, answer, made
from webapp.parameters import flag, found_by
from webapp.people import change
from webapp.routes import json_body
from webapp.routes.api import described
from webapp.state import AppRequest

#: Columns of which something is remembered that a list has.
MOST_REMEMBERED = 10_000
#: Characters of the title of a dataset.
LONGEST_TITLE = 200
_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


#: A mode that an upload may ask for.
OneMode = Literal["insert", "upsert", "only_new", "replace"]


class DatasetBody(BaseModel):
    """A new dataset. table_schema: a Table Schema. modes: that an upload may ask for; null: all that make sense."""

    model_config = _STRICT

    name: Annotated[str, Field(max_length=1_000)]
    title: Annotated[str | None, Field(max_length=LONGEST_TITLE)] = None
    table_schema: Annotated[dict[str, Any], Field(alias="schema")]
    mode: Literal["insert", "upsert"] = "insert"
    modes: Annotated[list[OneMode] | None, Field(min_length=1)] = None
    review: Literal["never", "auto", "always"] | None = None


class SettingsBody(BaseModel):
    """What is to be changed of a dataset. title: null for none. modes: null for all that make sense. review: null for
    as usual. totals: null for as usual. primary_key: the columns that identify a row; none: no columns do."""

    model_config = _STRICT

    title: Annotated[str | None, Field(max_length=LONGEST_TITLE)] = None
    mode: Literal["insert", "upsert"] | None = None
    modes: Annotated[list[OneMode] | None, Field(min_length=1)] = None
    review: Literal["never", "auto", "always"] | None = None
    totals: Literal["warn", "hold", "undo"] | None = None
    totals_required: bool | None = None
    primary_key: Annotated[KeyNames | None, Field(alias="primaryKey")] = None


_DATASET, _SETTINGS = TypeAdapter(DatasetBody), TypeAdapter(SettingsBody)
_FIELD: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_CHANGED_OR_FIT: TypeAdapter[Any] = TypeAdapter(answers.Dataset | answers.Fit)

CONFIRM = found_by("confirm", "The name of the dataset once more.", str, "", "")
DRY_RUN = flag("dry_run", "1: change nothing, and tell what would not fit.")


async def create(request: AppRequest) -> Response:
    """Declare a dataset."""
    body = json_body.parse(_DATASET, await json_body.read(request))
    actor = request.state["actor"]
    given = body.table_schema | ({"title": body.title} if body.title is not None else {})

    def declare(connection: sa.Connection) -> dict[str, Any]:
        try:
            schema = TableSchema.parse(given)
            dataset = dataset_changes.declare(
                connection, actor, body.name, schema, Mode(body.mode), body.review, _modes(body.modes)
            )
        except SchemaError as error:
            found = [(f"schema.{path}" if path else "schema", what) for path, what in dataset_changes.problems(error)]
            raise InvalidBodyError(found) from error
        except InvalidDatasetNameError as error:
            raise InvalidBodyError([("name", str(error))]) from error
        return described(connection, dataset)

    found = await change.make(request, declare)
    return JSONResponse(found, HTTPStatus.CREATED, {"Location": found["links"]["self"]})


async def configure(request: AppRequest) -> Response:
    """Change the title, the mode, the modes, the review or the primary key."""
    body = json_body.parse(_SETTINGS, await json_body.read(request))
    title = (body.title or "") if "title" in body.model_fields_set else None
    review = (body.review or "") if "review" in body.model_fields_set else None
    modes = _modes(body.modes) if "modes" in body.model_fields_set else None
    totals = (body.totals or "") if "totals" in body.model_fields_set else None
    wanted = Settings(title, body.mode and Mode(body.mode), review, modes, totals, body.totals_required)
    key, actor = body.primary_key or [], request.state["actor"]
    changes_key = "primary_key" in body.model_fields_set
    if _is_trial(request):
        if not changes_key or len(body.model_fields_set) > 1:
            raise InvalidBodyError([("", "Only a change of primaryKey can be tried, and nothing else with it.")])
        return await _tried(request, lambda connection, name: dataset_changes.try_change_of_key(connection, name, key))

    def change_it(connection: sa.Connection, name: str) -> Dataset:
        if changes_key and key:  # before a mode that needs it
            dataset_changes.change_key(connection, actor, name, key)
        dataset = dataset_changes.configure(connection, actor, name, wanted)
        return dataset if key or not changes_key else dataset_changes.change_key(connection, actor, name, key)

    return await _changed(request, change_it)


def _modes(names: list[OneMode] | None) -> list[Mode]:
    return [Mode(name) for name in names or ()]


async def delete(request: AppRequest) -> Response:
    """Delete a dataset whose name `confirm` repeats."""
    confirmed = CONFIRM.read(request.query_params)

    def remove(connection: sa.Connection) -> None:
        dataset_changes.delete(connection, request.state["actor"], require(request, connection), confirmed)

    await change.make(request, remove)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def add_field(request: AppRequest) -> Response:
    """Add a column. The body: a field of Table Schema."""
    wanted = json_body.parse(_FIELD, await json_body.read(request))
    if _is_trial(request):
        return await _tried(request, lambda connection, name: dataset_changes.try_new_field(connection, name, wanted))
    return await _changed(
        request,
        lambda connection, name: dataset_changes.add_field(connection, request.state["actor"], name, wanted),
        HTTPStatus.CREATED,
    )


async def change_field(request: AppRequest) -> Response:
    """Change properties of a column. The body: those that become others; null removes one."""
    wanted, field = json_body.parse(_FIELD, await json_body.read(request)), request.path_params["field"]
    if _is_trial(request):
        return await _tried(
            request, lambda connection, name: dataset_changes.try_change_of_field(connection, name, field, wanted)
        )
    return await _changed(
        request,
        lambda connection, name: dataset_changes.change_field(connection, request.state["actor"], name, field, wanted),
    )


async def drop_field(request: AppRequest) -> Response:
    """Drop a column with its values."""
    field = request.path_params["field"]
    if _is_trial(request):
        return await _tried(
            request, lambda connection, name: dataset_changes.try_drop_of_field(connection, name, field)
        )
    return await _changed(
        request, lambda connection, name: dataset_changes.drop_field(connection, request.state["actor"], name, field)
    )


async def mappings(request: AppRequest) -> Response:
    """What is remembered of the columns of the dataset's files."""

    def find(connection: sa.Connection) -> Response:
        found = review.all_remembered(connection, require(request, connection), limit=MOST_REMEMBERED)
        items = [
            {"column": each.column, "field": each.field, "changed_at": timestamp(each.changed_at)} for each in found
        ]
        return JSONResponse({"items": items, "links": {"next": None}})

    return await read(request.state["database"], find)


async def forget_mapping(request: AppRequest) -> Response:
    """Forget what is remembered of columns of a name."""
    column = request.path_params["column"]

    def forget(connection: sa.Connection) -> None:
        dataset_changes.forget_mapping(connection, request.state["actor"], require(request, connection), column)

    await change.make(request, forget)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _is_trial(request: AppRequest) -> bool:
    return DRY_RUN.read(request.query_params)


async def _tried(request: AppRequest, try_it: Callable[[sa.Connection, str], Fit]) -> Response:
    """What would not fit after a change, which is not made."""
    fit = await change.make(request, lambda connection: try_it(connection, require(request, connection)))
    return JSONResponse(fit.as_json())


async def _changed(
    request: AppRequest, change_it: Callable[[sa.Connection, str], Dataset], status: int = HTTPStatus.OK
) -> Response:
    """The dataset after a change."""
    return JSONResponse(
        await change.make(
            request, lambda connection: described(connection, change_it(connection, require(request, connection)))
        ),
        status,
    )


def require(request: AppRequest, connection: sa.Connection) -> str:
    """The name in the path. Raises DatasetNotFoundError, also for a dataset that is hidden."""
    name: str = request.path_params["name"]
    if not (request.state["policy"].view.shows(name) and "\x00" not in name and datasets.exists(connection, name)):
        raise DatasetNotFoundError(name)
    return name


routes = [
    GuardedRoute(
        "/api/v1/datasets",
        create,
        SERVER,
        methods=["POST"],
        operation=Operation(
            "Declare a dataset.", made(answers.Dataset, "Location"), body={JSON: _DATASET}, problems=(409,)
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}",
        configure,
        ADMIN,
        methods=["PATCH"],
        operation=Operation(
            "Change the title, the modes or the primary key of a dataset.",
            answer(_CHANGED_OR_FIT),
            query=[DRY_RUN],
            body={JSON: _SETTINGS},
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}",
        delete,
        ADMIN,
        methods=["DELETE"],
        operation=Operation("Delete a dataset with its rows.", DONE, query=[CONFIRM], problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/mappings",
        mappings,
        ADMIN,
        operation=Operation(
            "List which fields columns of a name fill, as somebody chose in a review.",
            answer(answers.Whole[answers.Remembered]),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/mappings/{column:path}",
        forget_mapping,
        ADMIN,
        methods=["DELETE"],
        operation=Operation("Forget which field columns of a name fill.", DONE),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/fields",
        add_field,
        ADMIN,
        methods=["POST"],
        operation=Operation(
            "Add a column.",
            made(answers.Dataset) | answer(answers.Fit, "What would not fit."),
            query=[DRY_RUN],
            body={JSON: _FIELD},
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/fields/{field:path}",
        change_field,
        ADMIN,
        methods=["PATCH"],
        operation=Operation(
            "Change properties of a column.",
            answer(_CHANGED_OR_FIT),
            query=[DRY_RUN],
            body={JSON: _FIELD},
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/fields/{field:path}",
        drop_field,
        ADMIN,
        methods=["DELETE"],
        operation=Operation(
            "Drop a column with its values.", answer(_CHANGED_OR_FIT), query=[DRY_RUN], problems=(409,)
        ),
    ),
]
