"""Signing in: from a password, or from what else says who somebody is, to a session."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa
from starlette.responses import Response

from jobs.people import accounts, audit, passwords, sessions
from jobs.people.accounts import Account
from webapp import threads
from webapp.access import cookie
from webapp.database_access import read, write
from webapp.state import AppRequest


@dataclass(frozen=True)
class SignedIn:
    """An account, and the secret of its new session."""

    account: Account
    secret: str

    def put(self, request: AppRequest, response: Response) -> None:
        """Hand the session to the browser."""
        cookie.put(request, response, self.secret, max_age=request.state["identity"].lifetime.absolute)


async def with_password(request: AppRequest, name: str, password: str) -> SignedIn | None:
    """None: there is no account with this name and password that may sign in. It always takes as long.

    Raises TooManyAttemptsError.
    """
    attempts = request.state["attempts"]
    await attempts.check(request, name)
    try:
        signed_in = await _verified(request, name, password)
    except BaseException:
        await attempts.note_success(request, name)  # nobody learnt anything of the password
        raise
    if signed_in is None:
        await attempts.note_failure(request, name)
    else:
        await attempts.note_success(request, name)
    return signed_in


async def _verified(request: AppRequest, name: str, password: str) -> SignedIn | None:
    found = await read(request.state["database"], lambda connection: accounts.credentials(connection, name))
    if not await threads.hashes.run(lambda: passwords.verify(password, found.hashed)):
        return None
    return await begin(request, lambda connection: accounts.confirmed(connection, found))


async def begin(
    request: AppRequest, identify: Callable[[sa.Connection], Account | None], *, identity_token: str | None = None
) -> SignedIn | None:
    """Begin a session, and end the one that this browser had.

    identify: whose; it runs in the same transaction. None: nobody's.
    """
    state = request.state

    def change(connection: sa.Connection) -> SignedIn | None:
        account = identify(connection)
        if account is None:
            return None
        sessions.end_of_browser(connection, cookie.read(request) or "")
        secret = sessions.begin(
            connection,
            account.id,
            state["identity"].lifetime,
            address=state["actor"].address,
            agent=request.headers.get("user-agent", ""),
            identity_token=identity_token,
        )
        audit.write(connection, replace(state["actor"], name=account.name), "sign_in", f"user {account.name}")
        return SignedIn(account, secret)

    signed_in = await write(state["database"], change)
    if signed_in is not None:
        await state["mode"].refresh()
    return signed_in


async def end(request: AppRequest) -> None:
    """End the session of this browser, if it has one."""
    state = request.state
    caller = state["policy"].caller
    account_id, session_id = caller.account_id, caller.session_id
    if account_id is None or session_id is None:
        return

    def change(connection: sa.Connection) -> None:
        if sessions.end(connection, account_id, session_id):
            audit.write(connection, state["actor"], "sign_out", f"user {caller.name}")

    await write(state["database"], change)
    await state["mode"].refresh()
