"""Accounts with API tokens, for tests of what each of them may see and do."""

from collections.abc import Collection, Iterable, Mapping

import httpx
import sqlalchemy as sa

from jobs import tables
from jobs.database import Database
from jobs.people import access, accounts, passwords, tokens
from jobs.people.access import Access, Grant
from jobs.people.roles import Role, Scope
from tests.support.clients import client_of

PASSWORD = "quite long and seldom"


def add(
    database: Database,
    name: str,
    role: Role = Role.VIEWER,
    *,
    scopes: Collection[Scope] = frozenset(Scope),
    dataset: str | None = None,
    password: str | None = None,
) -> str:
    """The secret of an API token of a new account."""
    with database.transaction() as connection:
        account = accounts.add(connection, name, role, hashed=passwords.hashed(password, name) if password else None)
        return tokens.add(connection, account.id, name="of a test", scopes=scopes, dataset=dataset)[1]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def client(url: str, secret: str) -> httpx.Client:
    """Of whoever has this token."""
    return client_of(url, headers=bearer(secret))


def restrict(database: Database, dataset: str, grants: Mapping[str, Role] = {}) -> None:  # never changed
    """Hide a dataset from all but these accounts, by name."""
    put(database, dataset, True, (Grant(name, None, role) for name, role in grants.items()))


def open_to_all(database: Database, dataset: str) -> None:
    put(database, dataset, False, ())


def put(database: Database, dataset: str, restricted: bool, grants: Iterable[Grant]) -> None:
    with database.transaction() as connection:
        access.put(connection, dataset, Access(restricted, list(grants)))


def give(database: Database, upload_id: int, name: str) -> None:
    """Make an upload one that this account sent."""
    with database.transaction() as connection:
        account = accounts.get(connection, name)
        owner = {"account_id": account.id, "uploaded_by": account.name}
        connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == upload_id).values(**owner))
