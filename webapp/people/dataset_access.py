"""Who may do what in a dataset: the page, and the API."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import quote

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from starlette.responses import JSONResponse, RedirectResponse, Response

from jobs import datasets
from jobs.errors import AccountNotFoundError, DatasetNotFoundError, GroupNotFoundError, InvalidGrantError
from jobs.people import access, accounts, administration, groups
from jobs.people.access import MOST_GRANTS, Access
from jobs.people.roles import Role
from webapp.access.needs import ADMIN, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import JSON, Operation, answer
from webapp.page import page
from webapp.people import change
from webapp.people.form import Form
from webapp.routes import json_body
from webapp.state import AppRequest

#: Empty rows of the form, for more grants.
EMPTY_ROWS = 3
#: Accounts and groups whose names the form offers.
OFFERED = 500


async def show(request: AppRequest) -> Response:
    return await _page(request)


async def change_access(request: AppRequest) -> Response:
    """Each grant is a row of three fields; one without a name or without a role is left out."""
    name, actor, fields = _name(request), request.state["actor"], await Form.read(request)
    rows = [
        {"kind": kind, "name": who.strip(), "role": role}
        for kind, who, role in zip(fields.all("kind"), fields.all("name"), fields.all("role"), strict=False)
        if who.strip()
    ]
    kept = [row for row in rows if row["role"] in list(Role)]
    grants = [
        access.Grant(
            row["name"] if row["kind"] != "group" else None,
            row["name"] if row["kind"] == "group" else None,
            Role(row["role"]),
        )
        for row in kept
    ]
    wanted = Access(fields["access"] == "restricted", grants)

    def put(connection: sa.Connection) -> None:
        _require_dataset(request, connection, name)
        administration.put_access(connection, actor, name, wanted)

    try:
        await change.make(request, put)
    except (AccountNotFoundError, GroupNotFoundError, InvalidGrantError) as error:
        problem = str(error)
        for row in rows:
            row["error"] = problem if f"“{row['name']}”" in problem else ""
        errors = {"grants": "Nothing is saved: a grant cannot be like this." if _has_error(rows) else problem}
        context = {"errors": errors, "restricted": wanted.restricted, "rows": _with_empty(rows)}
        return await _page(request, context, HTTPStatus.UNPROCESSABLE_ENTITY)
    return RedirectResponse(f"/datasets/{quote(name, safe='')}/access?done=access", HTTPStatus.SEE_OTHER)


async def _page(request: AppRequest, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK) -> Response:
    name = _name(request)

    def find(connection: sa.Connection) -> dict[str, Any]:
        _require_dataset(request, connection, name)
        found = access.of_dataset(connection, name)
        rows = [
            {"kind": "user" if each.user else "group", "name": each.user or each.group or "", "role": each.role}
            for each in found.grants
        ]
        return {
            "restricted": found.restricted,
            "rows": _with_empty(rows),
            "users": [each.name for each in accounts.all_accounts(connection, limit=OFFERED)],
            "groups": [each.name for each in groups.all_groups(connection, limit=OFFERED)],
        }

    context = {"dataset": name, "roles": list(Role), "errors": {}, "done": request.query_params.get("done", "")}
    found = await read(request.state["database"], find)
    return await page(request, "dataset_access.html", {**context, **found, **(more or {})}, status)


def _has_error(rows: list[dict[str, str]]) -> bool:
    return any(row["error"] for row in rows)


def _with_empty(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [*rows, *({"kind": "user", "name": "", "role": ""} for _ in range(EMPTY_ROWS))]


class Grant(BaseModel):
    """For a user, or for a group."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    user: str | None = None
    group: str | None = None
    role: Literal["viewer", "uploader", "admin"]

    @model_validator(mode="after")
    def _is_for_one(self) -> "Grant":
        if (self.user is None) == (self.group is None):
            raise ValueError("is either for a `user` or for a `group`")
        return self


class AccessBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    restricted: bool
    grants: Annotated[list[Grant], Field(max_length=MOST_GRANTS)] = []


_ACCESS = TypeAdapter(AccessBody)


async def detail(request: AppRequest) -> Response:
    name = _name(request)

    def find(connection: sa.Connection) -> Access:
        _require_dataset(request, connection, name)
        return access.of_dataset(connection, name)

    return JSONResponse(as_json(await read(request.state["database"], find)))


async def put(request: AppRequest) -> Response:
    name, actor = _name(request), request.state["actor"]
    body = json_body.parse(_ACCESS, await json_body.read(request))
    wanted = Access(body.restricted, [access.Grant(each.user, each.group, Role(each.role)) for each in body.grants])

    def change_it(connection: sa.Connection) -> Access:
        _require_dataset(request, connection, name)
        administration.put_access(connection, actor, name, wanted)
        return access.of_dataset(connection, name)

    try:
        found = await change.make(request, change_it)
    except (AccountNotFoundError, GroupNotFoundError) as error:  # what does not exist is not what the path names
        raise InvalidGrantError(str(error)) from error
    return JSONResponse(as_json(found))


def as_json(found: Access) -> dict[str, Any]:
    return {
        "restricted": found.restricted,
        "grants": [
            {"user" if each.user else "group": each.user or each.group, "role": each.role} for each in found.grants
        ],
    }


def _name(request: AppRequest) -> str:
    name: str = request.path_params["name"]
    return name


def _require_dataset(request: AppRequest, connection: sa.Connection, name: str) -> None:
    """Raises DatasetNotFoundError."""
    if not (request.state["policy"].view.shows(name) and "\x00" not in name and datasets.exists(connection, name)):
        raise DatasetNotFoundError(name)


routes = [
    GuardedRoute("/datasets/{name}/access", show, ADMIN),
    GuardedRoute("/datasets/{name}/access", change_access, ADMIN, methods=["POST"]),
    GuardedRoute(
        "/api/v1/datasets/{name}/access",
        detail,
        ADMIN,
        operation=Operation("Return who may see a dataset, and as what.", answer(answers.Access)),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/access",
        put,
        ADMIN,
        methods=["PUT"],
        operation=Operation("Replace who may see a dataset.", answer(answers.Access), body={JSON: _ACCESS}),
    ),
]
