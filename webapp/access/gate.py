"""Gate: middleware that lets nobody pass who is unknown, and tells the routes who asks. Plain ASGI, no buffering."""

from http import HTTPStatus
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.people.audit import Actor, Via
from jobs.people.policy import Policy
from jobs.process import log_context
from webapp.access.attempts import Attempts
from webapp.access.identity import Identity, is_secret
from webapp.access.mode import Mode
from webapp.access.proxy_header import RefusedNameError
from webapp.errors import InvalidCredentialsError
from webapp.problem_details import MEDIA_TYPE, problem, wants_json

#: What everybody may ask for: whether the server is up, and what the page to sign in needs.
ALWAYS_OPEN = ("/healthz", "/readyz", "/static")
#: What people may ask for who cannot have signed in yet: before there is an account, and once there is one.
SET_UP_PATHS = ("/sign-in", "/set-up")
#: And what decides itself who may ask: programs on this machine need not sign in.
METRICS = "/metrics"
SIGN_IN_PATHS = (*SET_UP_PATHS, "/invitation", METRICS)
SIGN_IN_API = {("POST", "/api/v1/session")}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """`scope["state"]` gets `policy`, which is None on open paths only, and `actor`, for the audit log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        path = scope["path"]
        mode, identity = scope["state"]["mode"], scope["state"]["identity"]
        if _begins(path, ALWAYS_OPEN):
            self._note(scope, None)
            await self._app(scope, receive, send)
            return
        answer = await self._answer(request, mode, identity)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _answer(self, request: Request, mode: Mode, identity: Identity) -> Response | None:
        """The response to somebody who may not pass; None for others. Raises TooManyAttemptsError, RefusedNameError."""
        attempts: Attempts = request.scope["state"]["attempts"]
        is_open = _is_open(request.scope, mode)
        if mode.needs_set_up and not is_open:
            return _unknown(request, "Nobody has set up this server yet. Its log shows the link with which to begin.")
        if is_secret(request):
            attempts.check_secret(request)
        try:
            policy = await identity.policy(request, is_team=mode.is_team or mode.needs_set_up)
        except InvalidCredentialsError as error:
            await attempts.note_refused_token(request)
            return _unknown(request, str(error))
        except RefusedNameError as error:
            await attempts.note_refused_name(request, error.name, str(error))
            raise
        if policy is None and not is_open:
            return _unknown(request, "Sign in, or send an API token.")
        if policy is not None and _is_person(policy) and _is_blind(request):
            reason = "A browser says where a request comes from; this one did not. Programs send an API token instead."
            return _refusal(request, HTTPStatus.FORBIDDEN, "Request not allowed", reason)
        self._note(request.scope, policy)
        return None

    def _note(self, scope: Scope, policy: Policy | None) -> None:
        name = policy.caller.name if policy is not None else None
        via = Via.API if scope["path"].startswith("/api/") else Via.WEB
        scope["state"]["policy"] = policy
        log_context.user_id.set(policy.caller.account_id if policy is not None else None)
        client = scope.get("client")
        scope["state"]["actor"] = Actor(name, via, client[0] if client else "")


def _is_open(scope: Scope, mode: Mode) -> bool:
    """Whether people may ask for this who have not signed in."""
    if mode.needs_set_up:
        return _begins(scope["path"], SET_UP_PATHS)
    return _begins(scope["path"], SIGN_IN_PATHS) or (scope["method"], scope["path"]) in SIGN_IN_API


def _begins(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or below one."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def _is_person(policy: Policy) -> bool:
    """Whether a browser speaks for somebody by itself, with its cookie or through a proxy."""
    return policy.caller.account_id is not None and policy.caller.token_id is None


def _is_blind(request: Request) -> bool:
    """Whether a change does not tell which page asked for it."""
    headers = request.headers
    return request.method not in _SAFE_METHODS and "sec-fetch-site" not in headers and "origin" not in headers


def _unknown(request: Request, detail: str) -> Response:
    """401 for programs, scripts and streams; people are led to the page to sign in."""
    is_stream = "text/event-stream" in request.headers.get("accept", "") or request.url.path.endswith("/events")
    is_script = request.headers.get("sec-fetch-dest", "document") != "document"
    if not (wants_json(request) or is_stream or is_script or request.url.path == METRICS):
        if request.method in _SAFE_METHODS:
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", HTTPStatus.SEE_OTHER)
        if "text/html" in request.headers.get("accept", ""):  # the form of somebody whose session ended
            return RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    response = _refusal(request, HTTPStatus.UNAUTHORIZED, "Not signed in", detail)
    response.headers["www-authenticate"] = "Bearer"
    return response


def _refusal(request: Request, status: HTTPStatus, title: str, detail: str) -> Response:
    if wants_json(request):
        return JSONResponse(problem(status, title, detail), status, media_type=MEDIA_TYPE)
    return PlainTextResponse(f"{title}: {detail}\n", status)
