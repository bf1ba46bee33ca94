"""The pages behind links that work once: the set-up link, which makes the first administrator, and invitations."""

from collections.abc import Callable
from http import HTTPStatus

import sqlalchemy as sa
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from jobs.errors import BulkUploadError, InvalidNameError, UnsafePasswordError
from jobs.people import administration, invitations, names
from jobs.people.accounts import Account
from webapp.access import signing_in
from webapp.access.needs import PUBLIC, GuardedRoute
from webapp.database_access import read
from webapp.page import page
from webapp.people import change, links
from webapp.people.form import Form
from webapp.state import AppRequest

_GONE = "This link is unknown, or it was used or has expired. Ask whoever sent it for another one."


async def set_up_form(request: AppRequest) -> Response:
    await _require_set_up(request)
    return await page(request, "set_up.html", {"name": "", "errors": {}})


async def set_up(request: AppRequest) -> Response:
    """Make the first administrator, and sign in."""
    await _require_set_up(request)
    fields = await Form.read(request)
    secret, name = request.path_params["secret"], fields["name"]
    try:
        names.checked(name)
        hashed = await change.hashed(fields["password"], name)
    except (InvalidNameError, UnsafePasswordError) as error:
        context = {"name": name[:200], "errors": errors_of(error)}
        return await page(request, "set_up.html", context, HTTPStatus.UNPROCESSABLE_ENTITY)
    actor = request.state["actor"]
    return await _enter(
        request, lambda connection: administration.set_up(connection, actor, secret, name, hashed), "/people"
    )


async def _require_set_up(request: AppRequest) -> None:
    secret = request.path_params["secret"]
    if not await read(request.state["database"], lambda connection: invitations.is_set_up(connection, secret)):
        raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)


async def invitation_form(request: AppRequest) -> Response:
    return await page(request, "invitation.html", {"account": await _invited(request), "errors": {}})


async def accept(request: AppRequest) -> Response:
    """Set the password of the account that was invited, and sign in."""
    account, fields = await _invited(request), await Form.read(request)
    try:
        hashed = await change.hashed(fields["password"], account.name)
    except UnsafePasswordError as error:
        context = {"account": account, "errors": errors_of(error)}
        return await page(request, "invitation.html", context, HTTPStatus.UNPROCESSABLE_ENTITY)
    secret, actor = request.path_params["secret"], request.state["actor"]
    return await _enter(
        request, lambda connection: administration.accept(connection, actor, secret, hashed), links.HOME
    )


async def _invited(request: AppRequest) -> Account:
    secret = request.path_params["secret"]
    account = await read(request.state["database"], lambda connection: invitations.invited(connection, secret))
    if account is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)
    return account


async def _enter(
    request: AppRequest, identify: Callable[[sa.Connection], Account | None], target: str
) -> RedirectResponse:
    signed_in = await signing_in.begin(request, identify)
    if signed_in is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    signed_in.put(request, response)
    return response


def errors_of(error: BulkUploadError) -> dict[str, str]:
    """By field: what is wrong with a name or a password."""
    return {"password" if isinstance(error, UnsafePasswordError) else "name": str(error)}


routes = [
    GuardedRoute("/set-up/{secret}", set_up_form, PUBLIC),
    GuardedRoute("/set-up/{secret}", set_up, PUBLIC, methods=["POST"]),
    GuardedRoute("/invitation/{secret}", invitation_form, PUBLIC),
    GuardedRoute("/invitation/{secret}", accept, PUBLIC, methods=["POST"]),
]
