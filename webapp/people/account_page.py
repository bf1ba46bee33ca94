"""The page of one's own account: its sessions, its API tokens, its password."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import sqlalchemy as sa
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from jobs.errors import InvalidGrantError, TokenNotFoundError, UnsafePasswordError
from jobs.people import administration, sessions, tokens
from jobs.people.roles import Scope
from webapp.access.needs import PERSON, GuardedRoute
from webapp.database_access import read
from webapp.page import page
from webapp.people import change
from webapp.people.form import Form
from webapp.state import AppRequest

#: By the value of a choice: for how many days a token is valid.
EXPIRIES = {"30": 30, "90": 90, "365": 365, "": None}

_BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
_SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


async def show(request: AppRequest) -> Response:
    if request.state["policy"].caller.account_id is None:
        return RedirectResponse("/people", HTTPStatus.SEE_OTHER)
    return await _page(request)


async def change_password(request: AppRequest) -> Response:
    """Asks for the current one, and ends the other sessions. Raises TooManyAttemptsError."""
    fields, caller = await Form.read(request), request.state["policy"].caller
    name = caller.name or ""
    if not await change.knows_password(request, name, fields["current"]):
        return await _refuse(request, {"current": "This is not your current password."})
    try:
        hashed = await change.hashed(fields["password"], name)
    except UnsafePasswordError as error:
        return await _refuse(request, {"password": str(error)})

    def set_password(connection: sa.Connection) -> None:
        administration.set_password(connection, request.state["actor"], name, hashed, except_session=caller.session_id)

    await change.make(request, set_password)
    return _done("password")


async def end_session(request: AppRequest) -> Response:
    session_id, actor = request.path_params["session_id"], request.state["actor"]

    def end(connection: sa.Connection) -> bool:
        return administration.end_session(connection, actor, change.own_account(request, connection), session_id)

    if not await change.make(request, end):
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such session, or no longer.")
    return _done("session")


async def end_other_sessions(request: AppRequest) -> Response:
    caller, actor = request.state["policy"].caller, request.state["actor"]

    def end(connection: sa.Connection) -> None:
        account = change.own_account(request, connection)
        administration.end_other_sessions(connection, actor, account, caller.session_id)

    await change.make(request, end)
    return _done("sessions")


async def add_token(request: AppRequest) -> Response:
    """The answer is the page with the secret, which is never shown again."""
    fields = await Form.read(request)
    values = {"name": fields["name"][:200], "dataset": fields["dataset"], "expires": fields["expires"]}
    wanted: dict[str, Any] = {**values, "scopes": list(fields.all("scope"))}
    scopes = [Scope(each) for each in Scope if each in wanted["scopes"]]
    if not scopes:
        return await _refuse(request, {"scope": "Choose what the token may be used for."}, wanted)
    days = EXPIRIES.get(fields["expires"], 30)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    actor = request.state["actor"]

    def add(connection: sa.Connection) -> tuple[tokens.Token, str]:
        dataset = change.known_dataset(request, connection, fields["dataset"])
        account = change.own_account(request, connection)
        return administration.add_token(
            connection, actor, account, name=fields["name"], scopes=scopes, dataset=dataset, expires_at=expires_at
        )

    try:
        token, secret = await change.make(request, add)
    except InvalidGrantError as error:
        field = "dataset" if "dataset" in str(error) else "token-name"
        return await _refuse(request, {field: str(error)}, wanted)
    return await _page(request, {"made": token, "secret": secret}, HTTPStatus.CREATED)


async def revoke_token(request: AppRequest) -> Response:
    token_id, actor = request.path_params["token_id"], request.state["actor"]

    def revoke(connection: sa.Connection) -> None:
        account = change.own_account(request, connection)
        administration.revoke_token(connection, actor, token_id, account_id=account.id)

    try:
        await change.make(request, revoke)
    except TokenNotFoundError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such API token, or no longer.") from None
    return _done("token")


def _done(what: str) -> RedirectResponse:
    return RedirectResponse(f"/account?done={what}", HTTPStatus.SEE_OTHER)


async def _refuse(request: AppRequest, errors: Mapping[str, str], wanted: Mapping[str, Any] | None = None) -> Response:
    context = {"errors": errors, **({"wanted": wanted} if wanted else {})}
    return await _page(request, context, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _page(request: AppRequest, more: Mapping[str, Any] | None = None, status: int = HTTPStatus.OK) -> Response:
    policy, lifetime = request.state["policy"], request.state["identity"].lifetime

    def find(connection: sa.Connection) -> dict[str, Any]:
        account = change.own_account(request, connection)
        return {
            "account": account,
            "sessions": [
                {"of": each, "browser": browser(each.agent), "is_own": each.id == policy.caller.session_id}
                for each in sessions.of_account(connection, account.id, lifetime)
            ],
            "tokens": tokens.of_account(connection, account.id),
            "datasets": change.offered_datasets(request, connection),
        }

    context = {
        "errors": {},
        "wanted": {"name": "", "scopes": ["upload", "read"], "dataset": "", "expires": "90"},
        "scopes": list(Scope),
        "done": request.query_params.get("done", ""),
        "now": datetime.now(UTC),
        **await read(request.state["database"], find),
        **(more or {}),
    }
    return await page(request, "account.html", context, status)


def browser(agent: str) -> str:
    """What a browser calls itself, as people call it: Firefox on Linux."""
    name = next((name for sign, name in _BROWSERS.items() if sign in agent), "")
    system = next((name for sign, name in _SYSTEMS.items() if sign in agent), "")
    if name:
        return f"{name} on {system}" if system else name
    return re.split(r"[/ ]", agent, maxsplit=1)[0] or "An unknown program"


routes = [
    GuardedRoute("/account", show, PERSON),
    GuardedRoute("/account/password", change_password, PERSON, methods=["POST"]),
    GuardedRoute("/account/sessions/{session_id:id}/end", end_session, PERSON, methods=["POST"]),
    GuardedRoute("/account/sessions/end-others", end_other_sessions, PERSON, methods=["POST"]),
    GuardedRoute("/account/tokens", add_token, PERSON, methods=["POST"]),
    GuardedRoute("/account/tokens/{token_id:id}/revoke", revoke_token, PERSON, methods=["POST"]),
]
