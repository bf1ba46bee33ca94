"""The pages of accounts, for administrators. While there is no account, only the form that makes the first one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from jobs.errors import (
    InvalidNameError,
    LastAdministratorError,
    NameTakenError,
    UnsafePasswordError,
)
from jobs.people import accounts, administration, groups, names, tokens
from jobs.people.accounts import Account
from jobs.people.audit import Actor
from jobs.people.roles import Role
from webapp.access import signing_in
from webapp.access.needs import SERVER, GuardedRoute
from webapp.database_access import read
from webapp.page import page
from webapp.people import change, links
from webapp.people.first_password import errors_of
from webapp.people.form import Form
from webapp.state import AppRequest

#: Accounts on a page.
SHOWN = 200


async def index(request: AppRequest) -> Response:
    if request.state["policy"].caller.account_id is None:
        return await page(request, "first_account.html", {"name": "", "errors": {}})
    return await _index(request)


async def add(request: AppRequest) -> Response:
    """Without a password the answer is a page with an invitation link, which is never shown again."""
    fields = await Form.read(request)
    if request.state["policy"].caller.account_id is None:
        return await _add_first(request, fields)
    name, password, actor = fields["name"], fields["password"], request.state["actor"]
    role = Role(fields["role"]) if fields["role"] in list(Role) else Role.VIEWER
    try:
        names.checked(name)
        hashed = await change.hashed(password, name) if password else None

        def make(connection: sa.Connection) -> tuple[Account, str | None]:
            account = administration.add_account(connection, actor, name, role, hashed)
            return account, None if hashed else administration.invite(connection, actor, account)

        account, secret = await change.make(request, make)
    except (InvalidNameError, UnsafePasswordError, NameTakenError) as error:
        is_taken = isinstance(error, NameTakenError)
        status = HTTPStatus.CONFLICT if is_taken else HTTPStatus.UNPROCESSABLE_ENTITY
        wanted = {"name": name[:200], "role": role}
        return await _index(request, {"errors": errors_of(error), "wanted": wanted}, status)
    if secret is None:
        return RedirectResponse(_url(account), HTTPStatus.SEE_OTHER)
    link = links.invitation(request, secret)
    return await _show(request, account.name, {"link": link}, HTTPStatus.CREATED)


async def _add_first(request: AppRequest, fields: Form) -> Response:
    """Make the first administrator from the single user, and sign in."""
    name, actor = fields["name"], request.state["actor"]

    def make(connection: sa.Connection) -> Account:
        account = administration.add_account(connection, actor, name, Role.ADMIN, hashed)
        accounts.require_only(connection, account)
        return account

    try:
        names.checked(name)
        hashed = await change.hashed(fields["password"], name)
        signed_in = await signing_in.begin(request, make)
    except (InvalidNameError, UnsafePasswordError, NameTakenError) as error:
        context = {"name": name[:200], "errors": errors_of(error)}
        return await page(request, "first_account.html", context, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert signed_in is not None
    response = RedirectResponse("/people", HTTPStatus.SEE_OTHER)
    signed_in.put(request, response)
    return response


async def _index(request: AppRequest, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK) -> Response:
    after = request.query_params.get("after", "")
    found = await read(
        request.state["database"],
        lambda connection: accounts.all_accounts(connection, after=after, limit=SHOWN + 1),
    )
    following = f"/people?{urlencode({'after': found[SHOWN - 1].name})}" if len(found) > SHOWN else None
    context = {
        "people": found[:SHOWN],
        "roles": list(Role),
        "is_first": not after,
        "next_url": following,
        "errors": {},
        "wanted": {"name": "", "role": Role.UPLOADER},
    }
    return await page(request, "people.html", {**context, **(more or {})}, status)


async def show(request: AppRequest) -> Response:
    return await _show(request, request.path_params["name"])


async def _show(
    request: AppRequest, name: str, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK
) -> Response:
    def find(connection: sa.Connection) -> dict[str, Any]:
        account = accounts.get(connection, name)
        return {
            "account": account,
            "groups": groups.names_of(connection, account.id),
            "tokens": tokens.of_account(connection, account.id),
        }

    context = {
        "errors": {},
        "roles": list(Role),
        "done": request.query_params.get("done", ""),
        "now": datetime.now(UTC),
    }
    found = await read(request.state["database"], find)
    return await page(request, "person.html", {**context, **found, **(more or {})}, status)


async def change_role(request: AppRequest) -> Response:
    fields = await Form.read(request)
    role = fields["role"]
    if role not in list(Role):
        return await _refuse(request, {"role": "Choose a role."})
    return await _change(request, "role", role=Role(role))


async def disable(request: AppRequest) -> Response:
    return await _change(request, "disabled", disabled=True)


async def enable(request: AppRequest) -> Response:
    return await _change(request, "enabled", disabled=False)


async def _change(request: AppRequest, done: str, **wanted: Any) -> Response:
    name, actor = request.path_params["name"], request.state["actor"]

    def make(connection: sa.Connection) -> Account:
        return administration.change_account(connection, actor, name, **wanted)

    try:
        account = await change.make(request, make)
    except LastAdministratorError as error:
        field = "role" if "role" in wanted else "disable"
        return await _refuse(request, {field: str(error)}, HTTPStatus.CONFLICT)
    return RedirectResponse(f"{_url(account)}?done={done}", HTTPStatus.SEE_OTHER)


async def set_password(request: AppRequest) -> Response:
    name, actor = request.path_params["name"], request.state["actor"]
    fields = await Form.read(request)
    account = await read(request.state["database"], lambda connection: accounts.get(connection, name))
    try:
        hashed = await change.hashed(fields["password"], account.name)
    except UnsafePasswordError as error:
        return await _refuse(request, {"password": str(error)})
    await change.make(request, lambda connection: administration.set_password(connection, actor, name, hashed))
    return RedirectResponse(f"{_url(account)}?done=password", HTTPStatus.SEE_OTHER)


async def revoke_token(request: AppRequest) -> Response:
    name, token_id, actor = request.path_params["name"], request.path_params["token_id"], request.state["actor"]

    def revoke(connection: sa.Connection) -> Account:
        account = accounts.get(connection, name)
        administration.revoke_token(connection, actor, token_id, account_id=account.id)
        return account

    account = await change.make(request, revoke)
    return RedirectResponse(f"{_url(account)}?done=token", HTTPStatus.SEE_OTHER)


async def invite(request: AppRequest) -> Response:
    """The answer is the page with the link, which is never shown again."""
    name, actor = request.path_params["name"], request.state["actor"]
    secret = await change.make(request, inviting(name, actor))
    return await _show(request, name, {"link": links.invitation(request, secret)}, HTTPStatus.CREATED)


def inviting(name: str, actor: Actor) -> Callable[[sa.Connection], str]:
    """Raises AccountNotFoundError, and NotAllowedError for a disabled account."""

    def make(connection: sa.Connection) -> str:
        return administration.invite(connection, actor, accounts.get_enabled(connection, name))

    return make


async def _refuse(
    request: AppRequest, errors: Mapping[str, str], status: int = HTTPStatus.UNPROCESSABLE_ENTITY
) -> Response:
    return await _show(request, request.path_params["name"], {"errors": errors}, status)


def _url(account: Account) -> str:
    return f"/people/accounts/{quote(account.name, safe='')}"


routes = [
    GuardedRoute("/people", index, SERVER),
    GuardedRoute("/people", add, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}", show, SERVER),
    GuardedRoute("/people/accounts/{name}/role", change_role, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}/disable", disable, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}/enable", enable, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}/password", set_password, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}/invitation", invite, SERVER, methods=["POST"]),
    GuardedRoute("/people/accounts/{name}/tokens/{token_id:id}/revoke", revoke_token, SERVER, methods=["POST"]),
]
