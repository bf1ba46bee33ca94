"""Accounts and groups in the API."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.responses import JSONResponse, Response

from jobs.errors import NotAllowedError
from jobs.events import timestamp
from jobs.people import accounts, administration, groups, names
from jobs.people.accounts import Account
from jobs.people.groups import Group
from jobs.people.roles import Role, Scope
from webapp import parameters
from webapp.access.needs import OWN, SERVER, GuardedRoute
from webapp.database_access import read
from webapp.errors import InvalidBodyError
from webapp.openapi import answers
from webapp.operation import DONE, JSON, Operation, answer, made
from webapp.parameters import LIMIT
from webapp.people import change, links
from webapp.people.people_pages import inviting
from webapp.routes import json_body
from webapp.state import AppRequest

#: No name is longer.
LONGEST_NAME = 400
AFTER = parameters.text("cursor", "The name before the page.", longest=LONGEST_NAME)

RoleName = Literal["viewer", "uploader", "admin"]


class NewUser(BaseModel):
    """password: without one, the answer has an invitation link."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    role: RoleName
    password: str | None = None


class UserChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    role: RoleName | None = None
    disabled: bool | None = None


class NewPassword(BaseModel):
    """current: needed of those who change their own."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    password: str
    current: str | None = None


class NewGroup(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str


_NEW_USER, _USER_CHANGE = TypeAdapter(NewUser), TypeAdapter(UserChange)
_NEW_PASSWORD, _NEW_GROUP = TypeAdapter(NewPassword), TypeAdapter(NewGroup)


async def users(request: AppRequest) -> Response:
    return await _page(request, accounts.all_accounts, user_json)


async def add_user(request: AppRequest) -> Response:
    body, actor = json_body.parse(_NEW_USER, await json_body.read(request)), request.state["actor"]
    names.checked(body.name)
    hashed = None if body.password is None else await change.hashed(body.password, body.name)

    def add(connection: sa.Connection) -> tuple[Account, str | None]:
        account = administration.add_account(connection, actor, body.name, Role(body.role), hashed)
        return account, None if hashed else administration.invite(connection, actor, account)

    account, secret = await change.make(request, add)
    found = user_json(account)
    if secret is not None:
        found["invitation"] = links.invitation(request, secret)
    return JSONResponse(found, HTTPStatus.CREATED, {"Location": found["links"]["self"]})


async def change_user(request: AppRequest) -> Response:
    body, actor = json_body.parse(_USER_CHANGE, await json_body.read(request)), request.state["actor"]
    role = None if body.role is None else Role(body.role)

    def make(connection: sa.Connection) -> Account:
        name = request.path_params["name"]
        return administration.change_account(connection, actor, name, role=role, disabled=body.disabled)

    return JSONResponse(user_json(await change.make(request, make)))


async def set_password(request: AppRequest) -> Response:
    """Administrators set that of others; people their own, if they know the current one."""
    body = json_body.parse(_NEW_PASSWORD, await json_body.read(request))
    name, caller, actor = request.path_params["name"], request.state["policy"].caller, request.state["actor"]
    is_own = caller.session_id is not None and names.key(caller.name or "") == names.key(name)
    if is_own:
        await _check_current(request, caller.name or "", body.current)
    else:
        request.state["policy"].require(Role.ADMIN, [Scope.ADMIN])
    account = await read(request.state["database"], lambda connection: accounts.get(connection, name))
    hashed = await change.hashed(body.password, account.name)
    kept = caller.session_id if is_own else None

    def make(connection: sa.Connection) -> None:
        administration.set_password(connection, actor, name, hashed, except_session=kept)

    await change.make(request, make)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _check_current(request: AppRequest, name: str, current: str | None) -> None:
    """Raises InvalidBodyError, NotAllowedError, TooManyAttemptsError."""
    if current is None:
        raise InvalidBodyError([("current", "is missing: it is your current password")])
    if not await change.knows_password(request, name, current):
        raise NotAllowedError("This is not your current password.")


async def invite(request: AppRequest) -> Response:
    secret = await change.make(request, inviting(request.path_params["name"], request.state["actor"]))
    return JSONResponse({"invitation": links.invitation(request, secret)}, HTTPStatus.CREATED)


async def all_groups(request: AppRequest) -> Response:
    return await _page(request, groups.all_groups, group_json)


async def add_group(request: AppRequest) -> Response:
    body, actor = json_body.parse(_NEW_GROUP, await json_body.read(request)), request.state["actor"]
    group = await change.make(request, lambda connection: administration.add_group(connection, actor, body.name))
    return JSONResponse(group_json(group), HTTPStatus.CREATED)


async def remove_group(request: AppRequest) -> Response:
    name, actor = request.path_params["group"], request.state["actor"]
    await change.make(request, lambda connection: administration.remove_group(connection, actor, name))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def put_member(request: AppRequest) -> Response:
    return await _change_member(request, administration.put_member)


async def remove_member(request: AppRequest) -> Response:
    return await _change_member(request, administration.remove_member)


async def _change_member(request: AppRequest, make: Callable[..., None]) -> Response:
    group, user, actor = request.path_params["group"], request.path_params["user"], request.state["actor"]
    await change.make(request, lambda connection: make(connection, actor, group, user))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _page(request: AppRequest, find: Callable[..., list[Any]], as_json: Callable[[Any], Any]) -> Response:
    """A page of what has names, in their order."""
    limit, after = LIMIT.read(request.query_params), AFTER.read(request.query_params)
    found = await read(request.state["database"], lambda connection: find(connection, after=after, limit=limit + 1))
    cursor = found[limit - 1].name if len(found) > limit else None
    following = f"{request.url.path}?{urlencode({'cursor': cursor, 'limit': limit})}" if cursor else None
    items = [as_json(each) for each in found[:limit]]
    return JSONResponse({"items": items, "cursor": cursor, "links": {"next": following}})


def user_json(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": account.role,
        "disabled": account.is_disabled,
        "has_password": account.has_password,
        "created_at": timestamp(account.created_at),
        "last_used_at": account.used_at and timestamp(account.used_at),
        "links": {"self": f"/api/v1/users/{quote(account.name, safe='')}"},
    }


def group_json(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "members": group.members,
        "links": {"self": f"/api/v1/groups/{quote(group.name, safe='')}"},
    }


_LISTED = (LIMIT, AFTER)
_MEMBERS = "/api/v1/groups/{group}/members/{user}"
routes = [
    GuardedRoute(
        "/api/v1/users",
        users,
        SERVER,
        operation=Operation("List accounts by name.", answer(answers.Page[answers.User]), query=_LISTED),
    ),
    GuardedRoute(
        "/api/v1/users",
        add_user,
        SERVER,
        methods=["POST"],
        operation=Operation("Add an account.", made(answers.User, "Location"), body={JSON: _NEW_USER}, problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/users/{name}",
        change_user,
        SERVER,
        methods=["PATCH"],
        operation=Operation(
            "Change an account's role, or disable it.",
            answer(answers.User),
            body={JSON: _USER_CHANGE},
            problems=(409,),
        ),
    ),
    GuardedRoute(
        "/api/v1/users/{name}/password",
        set_password,
        OWN,
        methods=["POST"],
        operation=Operation("Set a password and end the account's sessions.", DONE, body={JSON: _NEW_PASSWORD}),
    ),
    GuardedRoute(
        "/api/v1/users/{name}/invitation",
        invite,
        SERVER,
        methods=["POST"],
        operation=Operation("Make a new link with which a person chooses a password.", made(answers.Invitation)),
    ),
    GuardedRoute(
        "/api/v1/groups",
        all_groups,
        SERVER,
        operation=Operation("List groups by name.", answer(answers.Page[answers.Group]), query=_LISTED),
    ),
    GuardedRoute(
        "/api/v1/groups",
        add_group,
        SERVER,
        methods=["POST"],
        operation=Operation("Add a group.", made(answers.Group), body={JSON: _NEW_GROUP}, problems=(409,)),
    ),
    GuardedRoute(
        "/api/v1/groups/{group}",
        remove_group,
        SERVER,
        methods=["DELETE"],
        operation=Operation("Remove a group, and what was granted to it.", DONE),
    ),
    GuardedRoute(_MEMBERS, put_member, SERVER, methods=["PUT"], operation=Operation("Make an account a member.", DONE)),
    GuardedRoute(_MEMBERS, remove_member, SERVER, methods=["DELETE"], operation=Operation("End a membership.", DONE)),
]
