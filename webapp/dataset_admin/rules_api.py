"""The rules of a dataset in the API, for administrators."""

from http import HTTPStatus
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import JSONResponse, Response

from jobs.repair import repairs, rules
from jobs.repair.repairs import Repair
from jobs.repair.rules import Rule, Wanted
from webapp.access.needs import ADMIN, GuardedRoute
from webapp.database_access import read
from webapp.dataset_admin.api import require
from webapp.openapi import answers
from webapp.operation import DONE, JSON, Operation, answer, made
from webapp.people import change
from webapp.routes import json_body
from webapp.state import AppRequest

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)
#: The largest position that a body may name; a larger one than that of the last rule means the last.
_LAST = 1_000_000
_Text = Annotated[str, Field(max_length=repairs.LONGEST)]
_Side = _Text | list[_Text | None] | None
_Position = Annotated[int, Field(ge=1, le=_LAST)]


class RuleBody(BaseModel):
    """A new rule. from, to: what they mean depends on the kind. position: 1 is applied first; by default the last."""

    model_config = _STRICT

    column: Annotated[str, Field(max_length=1_000)]
    kind: Annotated[str, Field(max_length=100)]
    source: Annotated[_Side, Field(alias="from")] = None
    target: Annotated[_Side, Field(alias="to")] = None
    enabled: bool = True
    position: _Position | None = None


class RuleChange(BaseModel):
    """What is to be changed of a rule."""

    model_config = _STRICT

    column: Annotated[str, Field(max_length=1_000)] | None = None
    kind: Annotated[str, Field(max_length=100)] | None = None
    source: Annotated[_Side, Field(alias="from")] = None
    target: Annotated[_Side, Field(alias="to")] = None
    enabled: bool | None = None
    position: _Position | None = None


_RULE, _CHANGE = TypeAdapter(RuleBody), TypeAdapter(RuleChange)
#: What a rule is, apart from its place and whether it is on.
_OF_REPAIR = ("column", "kind", "source", "target")


async def listed(request: AppRequest) -> Response:
    """The rules in their order."""

    def find(connection: sa.Connection) -> Response:
        found = rules.of_dataset(connection, require(request, connection))
        return JSONResponse({"items": [each.to_json() for each in found], "links": {"next": None}})

    return await read(request.state["database"], find)


async def add(request: AppRequest) -> Response:
    """Add a rule. One that the dataset has already is switched on."""
    body = json_body.parse(_RULE, await json_body.read(request))
    repair = Repair.from_json(body.model_dump(by_alias=True))
    actor = request.state["actor"]

    def make(connection: sa.Connection) -> dict[str, Any]:
        name = require(request, connection)
        return rules.add(connection, actor, name, repair, enabled=body.enabled, position=body.position).to_json() | {
            "dataset": name
        }

    made_rule = await change.make(request, make)
    address = f"/api/v1/datasets/{made_rule.pop('dataset')}/rules/{made_rule['id']}"
    return JSONResponse(made_rule, HTTPStatus.CREATED, {"Location": address})


async def modify(request: AppRequest) -> Response:
    """Change a rule, switch it on or off, or move it."""
    body = json_body.parse(_CHANGE, await json_body.read(request))
    given = {name: value for name, value in body.model_dump(by_alias=True).items() if name in _given(body)}
    rule_id, actor = request.path_params["rule_id"], request.state["actor"]

    def modified(connection: sa.Connection) -> Rule:
        name = require(request, connection)
        present = rules.get(connection, name, rule_id)
        repair = Repair.from_json({**present.repair.to_json(), **given}) if given else None
        return rules.change(connection, actor, name, rule_id, Wanted(repair, body.enabled, body.position))

    return JSONResponse((await change.make(request, modified)).to_json())


def _given(body: RuleChange) -> set[str]:
    """The properties of the repair that a body names, as JSON calls them."""
    fields = RuleChange.model_fields
    return {fields[name].alias or name for name in _OF_REPAIR if name in body.model_fields_set}


async def remove(request: AppRequest) -> Response:
    rule_id = request.path_params["rule_id"]

    def gone(connection: sa.Connection) -> None:
        rules.remove(connection, request.state["actor"], require(request, connection), rule_id)

    await change.make(request, gone)
    return Response(status_code=HTTPStatus.NO_CONTENT)


routes = [
    GuardedRoute(
        "/api/v1/datasets/{name}/rules",
        listed,
        ADMIN,
        operation=Operation(
            "List the rules of a dataset: repairs that every import applies, in their order.",
            answer(answers.Whole[answers.Rule]),
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/rules",
        add,
        ADMIN,
        methods=["POST"],
        operation=Operation("Add a rule.", made(answers.Rule, "Location"), body={JSON: _RULE}),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/rules/{rule_id:id}",
        modify,
        ADMIN,
        methods=["PATCH"],
        operation=Operation(
            "Change a rule, switch it on or off, or move it.", answer(answers.Rule), body={JSON: _CHANGE}
        ),
    ),
    GuardedRoute(
        "/api/v1/datasets/{name}/rules/{rule_id:id}",
        remove,
        ADMIN,
        methods=["DELETE"],
        operation=Operation("Remove a rule.", DONE),
    ),
]
