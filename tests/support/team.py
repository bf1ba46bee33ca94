"""Accounts for tests, and clients that act for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import sqlalchemy as sa

from jobs.database import Database
from jobs.people import accounts, audit, sessions, tokens
from jobs.people.accounts import Account
from jobs.people.audit import Actor, AuditQuery, Entry, Via
from jobs.people.passwords import Hashed
from jobs.people.roles import Role, Scope
from jobs.people.sessions import Lifetime
from jobs.settings import Settings
from tests.support.clients import client_of
from tests.support.serving import Served

#: Stands for a hash where nobody signs in: a real one takes time.
HASHED = Hashed("a hash")
#: Of sessions that outlive every test.
LIFETIME = Lifetime(3600, 7200)
ACTOR = Actor("root", Via.API, "192.0.2.1")
#: Is neither common nor like a name.
PASSWORD = "violet harbour 29"
#: What browsers send along with the forms of a page.
BROWSER = {
    "Sec-Fetch-Site": "same-origin",
    "Accept": "text/html,*/*",
    "User-Agent": "Firefox/140.0 (X11; Linux x86_64)",
}


def add_account(connection: sa.Connection, name: str, role: Role = Role.VIEWER) -> Account:
    return accounts.add(connection, name, role, hashed=HASHED)


class Team:
    """A server with accounts, one of them the administrator `root`."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.database = served.records.database
        self._clients: list[httpx.Client] = []

    def add(self, name: str, role: Role = Role.VIEWER, hashed: Hashed | None = HASHED) -> Account:
        with self.database.transaction() as connection:
            return accounts.add(connection, name, role, hashed=hashed)

    def session_of(self, name: str) -> str:
        """The secret of a new session."""
        with self.database.transaction() as connection:
            account = accounts.get(connection, name)
            return sessions.begin(connection, account.id, LIFETIME, address="192.0.2.9", agent="Test")

    def browser(self, name: str | None = None) -> httpx.Client:
        """A browser, signed in if a name is given. It follows no redirects."""
        client = self._client(headers=BROWSER)
        if name is not None:
            client.cookies.set("session", self.session_of(name), domain="127.0.0.1")
        return client

    def program(
        self, name: str | None = None, scopes: Sequence[Scope] = tuple(Scope), dataset: str | None = None
    ) -> httpx.Client:
        """A program, with an API token if a name is given."""
        if name is None:
            return self._client()
        with self.database.transaction() as connection:
            account = accounts.get(connection, name)
            _, secret = tokens.add(connection, account.id, name="test", scopes=scopes, dataset=dataset)
        return self._client(headers={"Authorization": f"Bearer {secret}"})

    def _client(self, **options: Any) -> httpx.Client:
        self._clients.append(client_of(self.served.url, **options))
        return self._clients[-1]

    def get(self, name: str) -> Account:
        with self.database.reading() as connection:
            return accounts.get(connection, name)

    def audit(self, **query: Any) -> list[Entry]:
        """The newest first."""
        with self.database.reading() as connection:
            return audit.page(connection, AuditQuery(**query), limit=99)

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def a_team(settings: Settings) -> Iterator[Team]:
    database = Database(settings.database)
    with database.transaction() as connection:
        add_account(connection, "root", Role.ADMIN)
    database.close()
    with Served(settings) as served:
        team = Team(served)
        yield team
        team.close()
