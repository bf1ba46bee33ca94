"""The header in which a trusted proxy names the user."""

from ipaddress import ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request

from jobs.database import Database
from jobs.errors import AccountNotFoundError, InvalidNameError, NameTakenError, NotAllowedError
from jobs.people import accounts, audit, names
from jobs.people.accounts import Account
from jobs.people.audit import Actor, Via
from jobs.people.roles import Role
from jobs.settings import Settings
from webapp.database_access import read
from webapp.threads import writes


class RefusedNameError(NotAllowedError):
    """The proxy names somebody who may not use this server. name: as it came."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class ProxyHeader:
    """Off unless the settings name a header."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._header = settings.auth_header
        self._proxies = [ip_network(each) for each in settings.trusted_proxies.split(",") if each]

    def name(self, request: Request[Any]) -> str | None:
        """Whom the proxy names; None: nobody, or no proxy sent this. Raises RefusedNameError for several names."""
        if self._header is None or not self._is_from_proxy(request):
            return None
        found = [_text(each) for each in request.headers.getlist(self._header)]
        if len(found) > 1:
            raise RefusedNameError("The proxy named several users.", ", ".join(found))
        return found[0] if found and found[0] else None

    async def account(self, request: Request[Any], name: str) -> Account:
        """The account with this name, made now if there is none. Raises RefusedNameError."""
        try:
            account = await read(self._database, lambda connection: accounts.get(connection, name))
        except AccountNotFoundError:
            account = await writes.run(lambda: self._make(request, name))
        if account.is_disabled:
            raise RefusedNameError(f"The account “{account.name}” is disabled.", name)
        return account

    def _make(self, request: Request[Any], name: str) -> Account:
        client = request.client
        actor = Actor(None, Via.WEB, client.host if client else "")

        def make(connection: sa.Connection) -> Account:
            account = accounts.add(connection, names.checked(name), Role.VIEWER)
            audit.write(connection, actor, "user.add", f"user {account.name}", detail="Named by the proxy.")
            return account

        try:
            with self._database.transaction() as connection:
                return make(connection)
        except InvalidNameError as error:
            raise RefusedNameError(str(error), name) from None
        except (NameTakenError, IntegrityError):  # another request of the same user was first
            with self._database.reading() as connection:
                return accounts.get(connection, name)

    def _is_from_proxy(self, request: Request[Any]) -> bool:
        """By the address of the connection. `request.client` is the address that a proxy says it forwards from."""
        peer = getattr(request.scope["state"].get("connection"), "client", None)
        if peer is None:
            return False
        try:
            address = ip_address(peer[0].partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def _text(value: str) -> str:
    """Proxies send UTF-8; Starlette decodes headers as Latin-1."""
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        return value.strip()
