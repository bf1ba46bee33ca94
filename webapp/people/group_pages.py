"""The pages of groups, for administrators."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from jobs.errors import AccountNotFoundError, InvalidNameError, NameTakenError
from jobs.people import access, accounts, administration, groups
from jobs.people.groups import Group
from webapp.access.needs import SERVER, GuardedRoute
from webapp.database_access import read
from webapp.page import page
from webapp.people import change
from webapp.people.form import Form
from webapp.state import AppRequest

#: Groups on a page.
SHOWN = 100
#: Members that the list of groups names, and that the page of a group shows.
MEMBERS_NAMED, MEMBERS_SHOWN = 8, 1_000
#: Accounts whose names a form offers.
OFFERED = 1_000


async def index(request: AppRequest) -> Response:
    return await _index(request)


async def _index(request: AppRequest, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK) -> Response:
    after = request.query_params.get("after", "")
    found = await read(
        request.state["database"],
        lambda connection: groups.all_groups(connection, after=after, limit=SHOWN + 1),
    )
    following = f"/people/groups?{urlencode({'after': found[SHOWN - 1].name})}" if len(found) > SHOWN else None
    context = {
        "groups": found[:SHOWN],
        "named": MEMBERS_NAMED,
        "is_first": not after,
        "next_url": following,
        "errors": {},
        "name": "",
    }
    return await page(request, "groups.html", {**context, **(more or {})}, status)


async def add(request: AppRequest) -> Response:
    fields, actor = await Form.read(request), request.state["actor"]
    try:
        group = await change.make(
            request, lambda connection: administration.add_group(connection, actor, fields["name"])
        )
    except (InvalidNameError, NameTakenError) as error:
        is_taken = isinstance(error, NameTakenError)
        status = HTTPStatus.CONFLICT if is_taken else HTTPStatus.UNPROCESSABLE_ENTITY
        return await _index(request, {"errors": {"name": str(error)}, "name": fields["name"][:200]}, status)
    return RedirectResponse(_url(group), HTTPStatus.SEE_OTHER)


async def show(request: AppRequest) -> Response:
    return await _show(request)


async def _show(request: AppRequest, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK) -> Response:
    name = request.path_params["group"]

    def find(connection: sa.Connection) -> dict[str, Any]:
        group = groups.get(connection, name)
        people = accounts.all_accounts(connection, limit=OFFERED)
        members = set(group.members)
        return {
            "group": group,
            "members": group.members[:MEMBERS_SHOWN],
            "others": [each.name for each in people if each.name not in members],
            "datasets": access.granted_to_group(connection, group.id),
        }

    context = {"errors": {}, "user": ""}
    found = await read(request.state["database"], find)
    return await page(request, "group.html", {**context, **found, **(more or {})}, status)


async def add_member(request: AppRequest) -> Response:
    fields, actor, name = await Form.read(request), request.state["actor"], request.path_params["group"]
    user = fields["user"]

    def put(connection: sa.Connection) -> Group:
        administration.put_member(connection, actor, name, user)
        return groups.get(connection, name)

    try:
        group = await change.make(request, put)
    except AccountNotFoundError as error:
        return await _show(
            request, {"errors": {"user": str(error)}, "user": user[:200]}, HTTPStatus.UNPROCESSABLE_ENTITY
        )
    return RedirectResponse(_url(group), HTTPStatus.SEE_OTHER)


async def remove_member(request: AppRequest) -> Response:
    fields, actor, name = await Form.read(request), request.state["actor"], request.path_params["group"]

    def remove(connection: sa.Connection) -> Group:
        administration.remove_member(connection, actor, name, fields["user"])
        return groups.get(connection, name)

    return RedirectResponse(_url(await change.make(request, remove)), HTTPStatus.SEE_OTHER)


async def remove(request: AppRequest) -> Response:
    actor, name = request.state["actor"], request.path_params["group"]
    await change.make(request, lambda connection: administration.remove_group(connection, actor, name))
    return RedirectResponse("/people/groups", HTTPStatus.SEE_OTHER)


def _url(group: Group) -> str:
    return f"/people/groups/{quote(group.name, safe='')}"


routes = [
    GuardedRoute("/people/groups", index, SERVER),
    GuardedRoute("/people/groups", add, SERVER, methods=["POST"]),
    GuardedRoute("/people/groups/{group}", show, SERVER),
    GuardedRoute("/people/groups/{group}/members", add_member, SERVER, methods=["POST"]),
    GuardedRoute("/people/groups/{group}/remove-member", remove_member, SERVER, methods=["POST"]),
    GuardedRoute("/people/groups/{group}/remove", remove, SERVER, methods=["POST"]),
]
