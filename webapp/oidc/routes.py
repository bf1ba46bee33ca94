"""Signing in and out at the issuer of OpenID Connect, each begun by a link."""

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from jobs.people import sessions
from webapp.access import cookie, signing_in
from webapp.access.needs import PERSON, PUBLIC, GuardedRoute
from webapp.access.signing_in import SignedIn
from webapp.database_access import read
from webapp.errors import IssuerUnavailableError, RejectedSignInError
from webapp.oidc.person import Person
from webapp.people import links
from webapp.people.issuer_view import Problem, sign_in_path
from webapp.state import AppRequest

if TYPE_CHECKING:
    from webapp.oidc.issuer import Issuer

log = logging.getLogger(__name__)

#: Seconds for which a browser keeps what belongs to a sign-in that is pending.
COOKIE_SECONDS = 600


async def begin(request: AppRequest) -> Response:
    """Send the browser to the issuer."""
    target = links.next_path(request.query_params.get("next", ""))
    try:
        url, pending = await _issuer(request).begin(_redirect_uri(request), target)
    except IssuerUnavailableError as error:
        log.warning("%s", error)
        return _back("unavailable", target)
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        _cookie(request), pending, max_age=COOKIE_SECONDS, path="/", secure=is_secure, httponly=True, samesite="lax"
    )
    return response


async def callback(request: AppRequest) -> Response:
    """The browser comes back: sign it in. Raises TooManyAttemptsError."""
    issuer, attempts = _issuer(request), request.state["attempts"]
    pending = request.cookies.get(_cookie(request))
    if pending is None:
        return _back("late")
    await attempts.check(request, None)
    try:
        signed_in, target = await _finish(request, issuer, pending)
    except RejectedSignInError as error:
        log.info("A sign-in with OpenID Connect was refused: %s", error)
        await attempts.note_failure(request, None, f"OpenID Connect: {error}")
        return _without_cookie(request, _back(error.kind))
    except IssuerUnavailableError as error:
        log.warning("%s", error)
        await attempts.note_success(request, None)
        return _without_cookie(request, _back("unavailable"))
    except BaseException:
        await attempts.note_success(request, None)
        raise
    await attempts.note_success(request, None)
    response = _without_cookie(request, RedirectResponse(target, HTTPStatus.SEE_OTHER))
    signed_in.put(request, response)
    return response


async def _finish(request: AppRequest, issuer: "Issuer", pending: str) -> tuple[SignedIn, str]:
    """The session, and where the browser wanted to go. Raises RejectedSignInError, IssuerUnavailableError."""
    found = await issuer.finish(_redirect_uri(request), pending, request.query_params)
    person = Person.from_claims(found.issuer, found.claims, request.state["settings"])
    actor = request.state["actor"]
    signed_in = await signing_in.begin(
        request, lambda connection: person.account(connection, actor), identity_token=found.identity_token
    )
    assert signed_in is not None, "the account exists"
    return signed_in, found.target


async def sign_out(request: AppRequest) -> Response:
    """End the session, here and at the issuer. By a link, because a form may not lead to another site; and only by one
    of our own."""
    state = request.state
    session_id = state["policy"].caller.session_id
    if session_id is None or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return RedirectResponse("/account", HTTPStatus.SEE_OTHER)
    token = await read(state["database"], lambda connection: sessions.identity_token(connection, session_id))
    await signing_in.end(request)
    target, issuer = "/sign-in", state["issuer"]
    if issuer is not None and token is not None:
        try:
            target = await issuer.sign_out_url(token, f"{_origin(request)}/sign-in") or target
        except IssuerUnavailableError as error:
            log.warning("%s Somebody has signed out here, but not there.", error)
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    cookie.remove(request, response)
    return response


def _issuer(request: AppRequest) -> "Issuer":
    """Raises HTTPException if there is none."""
    issuer = request.state["issuer"]
    if issuer is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return issuer


def _back(problem: Problem, target: str = links.HOME) -> Response:
    return RedirectResponse(sign_in_path(problem, target), HTTPStatus.SEE_OTHER)


def _cookie(request: AppRequest) -> str:
    return "__Host-sign-in" if request.url.scheme == "https" else "sign-in"


def _without_cookie(request: AppRequest, response: Response) -> Response:
    is_secure = request.url.scheme == "https"
    response.delete_cookie(_cookie(request), path="/", secure=is_secure, httponly=True, samesite="lax")
    return response


def _origin(request: AppRequest) -> str:
    """With the host by which the browser asked: the guard knows all that there are."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _redirect_uri(request: AppRequest) -> str:
    return f"{_origin(request)}/sign-in/oidc/callback"


routes = [
    GuardedRoute("/sign-in/oidc", begin, PUBLIC),
    GuardedRoute("/sign-in/oidc/callback", callback, PUBLIC),
    GuardedRoute("/sign-out/oidc", sign_out, PERSON),
]
