"""Signing in and out, on the page and in the API."""

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.responses import JSONResponse, RedirectResponse, Response

from webapp.access import cookie, signing_in
from webapp.access.needs import PERSON, PUBLIC, GuardedRoute
from webapp.openapi import answers
from webapp.operation import DONE, JSON, Operation, made
from webapp.page import Visitor, page
from webapp.people import issuer_view, links
from webapp.people.form import Form
from webapp.problem_details import MEDIA_TYPE, problem
from webapp.routes import json_body
from webapp.state import AppRequest

#: Does not tell whether there is such an account.
WRONG = "The name or the password is wrong, or the account may not sign in."


async def form(request: AppRequest) -> Response:
    wanted = request.query_params.get("next", "")
    if Visitor.of(request.state["policy"]):
        return RedirectResponse(links.next_path(wanted), HTTPStatus.SEE_OTHER)
    return await _page(request, name="", wanted=wanted)


async def sign_in(request: AppRequest) -> Response:
    fields = await Form.read(request)
    name, wanted = fields["name"], fields["next"]
    signed_in = await signing_in.with_password(request, name, fields["password"])
    if signed_in is None:
        return await _page(request, name=name, wanted=wanted, error=WRONG, status=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(links.next_path(wanted), HTTPStatus.SEE_OTHER)
    signed_in.put(request, response)
    return response


async def _page(
    request: AppRequest, *, name: str, wanted: str, error: str | None = None, status: int = HTTPStatus.OK
) -> Response:
    context = {"name": name[:200], "next": links.next_path(wanted), "error": error, "issuer": issuer_view.of(request)}
    return await page(request, "sign_in.html", context, status)


async def sign_out(request: AppRequest) -> Response:
    await signing_in.end(request)
    response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    cookie.remove(request, response)
    return response


class Session(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str
    password: str


_SESSION = TypeAdapter(Session)


async def create_session(request: AppRequest) -> Response:
    body = json_body.parse(_SESSION, await json_body.read(request))
    signed_in = await signing_in.with_password(request, body.name, body.password)
    if signed_in is None:
        details = problem(HTTPStatus.UNAUTHORIZED, "Not signed in", WRONG)
        return JSONResponse(details, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}, MEDIA_TYPE)
    account = signed_in.account
    response = JSONResponse({"name": account.name, "role": account.role}, HTTPStatus.CREATED)
    signed_in.put(request, response)
    return response


async def delete_session(request: AppRequest) -> Response:
    await signing_in.end(request)
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    cookie.remove(request, response)
    return response


routes = [
    GuardedRoute("/sign-in", form, PUBLIC),
    GuardedRoute("/sign-in", sign_in, PUBLIC, methods=["POST"]),
    GuardedRoute("/sign-out", sign_out, PERSON, methods=["POST"]),
    GuardedRoute(
        "/api/v1/session",
        create_session,
        PUBLIC,
        methods=["POST"],
        operation=Operation("Sign in.", made(answers.SignedIn), body={JSON: _SESSION}),
    ),
    GuardedRoute("/api/v1/session", delete_session, PERSON, methods=["DELETE"], operation=Operation("Sign out.", DONE)),
]
