"""What belongs to an account, in the API: its tokens and its sessions."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from jobs.events import timestamp
from jobs.people import accounts, administration, sessions, tokens
from jobs.people.roles import Role, Scope
from jobs.people.sessions import Session
from jobs.people.tokens import Token
from webapp import parameters
from webapp.access.needs import OWN, PERSON, GuardedRoute
from webapp.database_access import read
from webapp.openapi import answers
from webapp.operation import DONE, JSON, Operation, answer, made
from webapp.parameters import LIMIT, MOST_DIGITS
from webapp.people import change
from webapp.routes import json_body
from webapp.state import AppRequest

ALL = parameters.flag("all", "1: the tokens of everybody, for administrators.")
CURSOR = parameters.number(
    "cursor",
    "The id of the token before the page.",
    least=0,
    most=10**MOST_DIGITS - 1,
    default=None,
    wanted="must be the id of a token.",
)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a time as text, such as 2026-12-31T00:00:00Z")
    return value


class NewToken(BaseModel):
    """dataset: the only one that exists for it. expires_at: with a time zone; null: never."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    scopes: Annotated[list[Literal["read", "upload", "notify", "admin"]], Field(min_length=1, max_length=10)]
    dataset: str | None = None
    expires_at: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text)] | None = None


_NEW_TOKEN = TypeAdapter(NewToken)


async def add_token(request: AppRequest) -> Response:
    """The only answer that has the token itself."""
    body, actor = json_body.parse(_NEW_TOKEN, await json_body.read(request)), request.state["actor"]

    def add(connection: sa.Connection) -> tuple[Token, str, str]:
        account = change.own_account(request, connection)
        token, secret = administration.add_token(
            connection,
            actor,
            account,
            name=body.name,
            scopes=[Scope(each) for each in body.scopes],
            dataset=change.known_dataset(request, connection, body.dataset),
            expires_at=body.expires_at,
        )
        return token, secret, account.name

    token, secret, owner = await change.make(request, add)
    found = token_json(token, owner)
    shown = {"id": found.pop("id"), "token": secret, **found}
    return JSONResponse(shown, HTTPStatus.CREATED, {"Location": f"/api/v1/tokens/{token.id}"})


async def all_tokens(request: AppRequest) -> Response:
    """The caller's; with ?all=1 those of everybody, for administrators."""
    is_all, limit = ALL.read(request.query_params), LIMIT.read(request.query_params)
    before = CURSOR.read(request.query_params)
    if is_all:
        request.state["policy"].require(Role.ADMIN, [Scope.ADMIN])

    def find(connection: sa.Connection) -> list[dict[str, Any]]:
        account_id = None if is_all else change.own_account(request, connection).id
        found = tokens.page(connection, account_id, limit=limit + 1, before=before)
        owners = accounts.by_ids(connection, {each.account_id for each in found})
        return [token_json(each, owners[each.account_id].name) for each in found]

    found = await read(request.state["database"], find)
    cursor = str(found[limit - 1]["id"]) if len(found) > limit else None
    following = urlencode({**({"all": 1} if is_all else {}), "cursor": cursor, "limit": limit})
    links = {"next": f"/api/v1/tokens?{following}" if cursor else None}
    return JSONResponse({"items": found[:limit], "cursor": cursor, "links": links})


async def revoke_token(request: AppRequest) -> Response:
    """One of the caller's; any one for administrators."""
    policy, actor = request.state["policy"], request.state["actor"]
    account_id = None if policy.caller.role is Role.ADMIN else policy.caller.account_id

    def revoke(connection: sa.Connection) -> None:
        administration.revoke_token(connection, actor, request.path_params["token_id"], account_id=account_id)

    await change.make(request, revoke)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def token_json(token: Token, owner: str) -> dict[str, Any]:
    def moment(value: datetime | None) -> str | None:
        return None if value is None else timestamp(value)

    return {
        "id": token.id,
        "name": token.name,
        "user": owner,
        "scopes": sorted(token.scopes),
        "dataset": token.dataset,
        "created_at": timestamp(token.created_at),
        "expires_at": moment(token.expires_at),
        "last_used_at": moment(token.used_at),
    }


async def all_sessions(request: AppRequest) -> Response:
    caller, lifetime = request.state["policy"].caller, request.state["identity"].lifetime

    def find(connection: sa.Connection) -> list[Session]:
        return sessions.of_account(connection, change.own_account(request, connection).id, lifetime)

    items = [
        {
            "id": each.id,
            "address": each.address,
            "agent": each.agent,
            "created_at": timestamp(each.created_at),
            "last_used_at": timestamp(each.used_at),
            "is_own": each.id == caller.session_id,
        }
        for each in await read(request.state["database"], find)
    ]
    return JSONResponse({"items": items, "links": {"next": None}})


async def end_session(request: AppRequest) -> Response:
    session_id, actor = request.path_params["session_id"], request.state["actor"]

    def end(connection: sa.Connection) -> bool:
        return administration.end_session(connection, actor, change.own_account(request, connection), session_id)

    if not await change.make(request, end):
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such session, or no longer.")
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def end_other_sessions(request: AppRequest) -> Response:
    caller, actor = request.state["policy"].caller, request.state["actor"]

    def end(connection: sa.Connection) -> None:
        account = change.own_account(request, connection)
        administration.end_other_sessions(connection, actor, account, caller.session_id)

    await change.make(request, end)
    return Response(status_code=HTTPStatus.NO_CONTENT)


routes = [
    GuardedRoute(
        "/api/v1/tokens",
        all_tokens,
        OWN,
        operation=Operation(
            "List the caller's API tokens, or those of everybody.",
            answer(answers.Page[answers.Token]),
            query=(ALL, LIMIT, CURSOR),
        ),
    ),
    GuardedRoute(
        "/api/v1/tokens",
        add_token,
        OWN,
        methods=["POST"],
        operation=Operation(
            "Make an API token for the caller.", made(answers.NewToken, "Location"), body={JSON: _NEW_TOKEN}
        ),
    ),
    GuardedRoute(
        "/api/v1/tokens/{token_id:id}",
        revoke_token,
        OWN,
        methods=["DELETE"],
        operation=Operation("Revoke a token.", DONE),
    ),
    GuardedRoute(
        "/api/v1/sessions",
        all_sessions,
        PERSON,
        operation=Operation("List where the caller is signed in.", answer(answers.Whole[answers.Session])),
    ),
    GuardedRoute(
        "/api/v1/sessions",
        end_other_sessions,
        PERSON,
        methods=["DELETE"],
        operation=Operation("End the caller's other sessions.", DONE),
    ),
    GuardedRoute(
        "/api/v1/sessions/{session_id:id}",
        end_session,
        PERSON,
        methods=["DELETE"],
        operation=Operation("End one of the caller's sessions.", DONE),
    ),
]
