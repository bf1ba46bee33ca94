"""Finds out who sends a request, by a token, a cookie or the header of a proxy."""

import hmac
from datetime import UTC, datetime

import sqlalchemy as sa
from starlette.requests import Request

from jobs.database import Database
from jobs.people import accounts, secrets, sessions, tokens
from jobs.people.policy import REPORTER, SINGLE_USER, Caller, Policy
from jobs.people.sessions import Lifetime
from jobs.settings import Settings
from webapp.access import cookie
from webapp.access.proxy_header import ProxyHeader
from webapp.database_access import read, write
from webapp.errors import InvalidCredentialsError


class Identity:
    """Asks the database for each request: what it says about a session or a token may change at any moment."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._notify_token = settings.notify_token
        self._proxy_header = ProxyHeader(database, settings)
        self.lifetime = Lifetime(settings.session_idle, settings.session_age)

    async def policy(self, request: Request, *, is_team: bool) -> Policy | None:
        """What the sender may do; None: nobody who is known. is_team: whether there are accounts.

        Raises InvalidCredentialsError for a token that is not valid, RefusedNameError for a user whom the proxy names
        and who may not use this server.
        """
        bearer = _bearer(request)
        if bearer is not None and self._is_notify_token(bearer):
            return Policy(REPORTER)
        if not is_team:
            if bearer is not None and bearer.startswith(secrets.TOKEN_PREFIX):  # there is none that could be valid
                raise InvalidCredentialsError
            return Policy(SINGLE_USER)
        if bearer is None and (name := self._proxy_header.name(request)) is not None:
            account = await self._proxy_header.account(request, name)
            caller = Caller.signed_in(account)
            if accounts.is_due(account, datetime.now(UTC)):
                await self._note_use(caller)
            return await read(self._database, lambda connection: Policy.of(connection, caller))
        if bearer is None and cookie.read(request) is None:
            return None
        found, due = await read(self._database, lambda connection: self._find(connection, request, bearer))
        if due is not None:
            await self._note_use(due)
        return found

    def _find(
        self, connection: sa.Connection, request: Request, bearer: str | None
    ) -> tuple[Policy | None, Caller | None]:
        """The policy, and the caller if its use of a session or a token is to be noted."""
        now = datetime.now(UTC)
        if bearer is not None:
            token = tokens.find(connection, bearer)
            owner = None if token is None else accounts.by_id(connection, token.account_id)
            if token is None or owner is None:
                raise InvalidCredentialsError
            caller = Caller.with_token(owner, token)
            return Policy.of(connection, caller), caller if tokens.is_due(token, now) else None
        session = sessions.find(connection, cookie.read(request) or "", self.lifetime)
        account = None if session is None else accounts.by_id(connection, session.account_id)
        if session is None or account is None:
            return None, None
        caller = Caller.signed_in(account, session.id)
        return Policy.of(connection, caller), caller if sessions.is_due(session, now, self.lifetime) else None

    async def _note_use(self, caller: Caller) -> None:
        def note(connection: sa.Connection) -> None:
            if caller.token_id is not None:
                tokens.note_use(connection, caller.token_id)
            elif caller.session_id is not None:
                sessions.note_use(connection, caller.session_id)
            elif caller.account_id is not None:
                accounts.note_use(connection, caller.account_id)

        await write(self._database, note)

    def _is_notify_token(self, bearer: str) -> bool:
        return self._notify_token is not None and hmac.compare_digest(bearer.encode(), self._notify_token.encode())


def is_secret(request: Request) -> bool:
    """Whether a request has a secret that is no API token."""
    bearer = _bearer(request)
    return bearer is not None and not bearer.startswith(secrets.TOKEN_PREFIX)


def _bearer(request: Request) -> str | None:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" and secret.strip() else None
