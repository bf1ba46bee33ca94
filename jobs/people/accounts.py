"""Accounts: their names, roles and passwords."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.errors import (
    AccountNotFoundError,
    LastAdministratorError,
    NameTakenError,
    NoAdministratorError,
    NotAllowedError,
)
from jobs.people import names, policy_version
from jobs.people.passwords import Hashed
from jobs.people.roles import Role
from jobs.tables import accounts, invitations, sessions

#: Seconds between two notes of when an account was used last that has neither a session nor a token.
NOTE_SECONDS = 60.0


@dataclass(frozen=True)
class Account:
    """has_password: whether it can sign in with one. used_at: when it was used last, within a minute."""

    id: int
    name: str
    role: Role
    has_password: bool
    subject: str | None
    disabled_at: datetime | None
    created_at: datetime
    used_at: datetime | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        return cls(
            row.id,
            row.name,
            Role(row.role),
            row.password is not None,
            row.subject,
            row.disabled_at,
            row.created_at,
            row.used_at,
        )

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at is not None


@dataclass(frozen=True)
class Credentials:
    """What a password is compared with. account, hashed: None if there is none with this name, or with a password."""

    account: Account | None
    hashed: str | None


def exist(connection: sa.Connection) -> bool:
    """Whether there is any account, so that everybody needs one."""
    return connection.execute(sa.select(accounts.c.id).limit(1)).first() is not None


def add(
    connection: sa.Connection, name: str, role: Role, *, hashed: Hashed | None = None, subject: str | None = None
) -> Account:
    """hashed: None: the password is set later, or the account signs in otherwise.

    Raises InvalidNameError, NameTakenError.
    """
    shown = names.checked(name)
    policy_version.lock(connection)
    if _find(connection, shown) is not None:
        raise NameTakenError("account", shown)
    statement = sa.insert(accounts).values(
        name=shown, name_key=names.key(shown), role=role, password=hashed, subject=subject, created_at=utc_now()
    )
    return Account.from_row(connection.execute(statement.returning(accounts)).one())


def require_administrator(connection: sa.Connection, role: Role) -> None:
    """Raises NoAdministratorError if an account with this role would be made where nobody could change it again."""
    policy_version.lock(connection)
    if role is not Role.ADMIN and connection.execute(_administrators().limit(1)).first() is None:
        raise NoAdministratorError


def require_only(connection: sa.Connection, account: Account) -> None:
    """Raises NotAllowedError if there are other accounts than one that was just added."""
    if connection.execute(sa.select(accounts.c.id).where(accounts.c.id != account.id).limit(1)).first() is not None:
        raise NotAllowedError("Somebody else was faster: there is an account now. Sign in.")


def get(connection: sa.Connection, name: str) -> Account:
    """Raises AccountNotFoundError."""
    row = _find(connection, name)
    if row is None:
        raise AccountNotFoundError(name)
    return Account.from_row(row)


def get_enabled(connection: sa.Connection, name: str) -> Account:
    """Raises AccountNotFoundError, NotAllowedError."""
    account = get(connection, name)
    if account.is_disabled:
        raise NotAllowedError(f"The account “{account.name}” is disabled. Enable it first.")
    return account


def by_ids(connection: sa.Connection, ids: Collection[int]) -> dict[int, Account]:
    found = connection.execute(sa.select(accounts).where(accounts.c.id.in_(ids)))
    return {row.id: Account.from_row(row) for row in found}


def by_id(connection: sa.Connection, account_id: int) -> Account | None:
    row = connection.execute(sa.select(accounts).where(accounts.c.id == account_id)).one_or_none()
    return None if row is None else Account.from_row(row)


def by_subject(connection: sa.Connection, subject: str) -> Account | None:
    """The account of a person at an issuer of OpenID Connect."""
    row = connection.execute(sa.select(accounts).where(accounts.c.subject == subject)).one_or_none()
    return None if row is None else Account.from_row(row)


def all_accounts(connection: sa.Connection, *, after: str = "", limit: int | None = None) -> list[Account]:
    """In the order of their names. after: only those behind this name."""
    if not names.can_exist(after):
        return []
    statement = sa.select(accounts).where(accounts.c.name_key > names.key(after)).order_by(accounts.c.name_key)
    return [Account.from_row(row) for row in connection.execute(statement.limit(limit))]


def enabled(connection: sa.Connection, ids: Collection[int]) -> dict[int, Account]:
    """By id, those of these accounts that are not disabled."""
    statement = sa.select(accounts).where(accounts.c.id.in_(ids), accounts.c.disabled_at.is_(None))
    return {row.id: Account.from_row(row) for row in connection.execute(statement)}


def credentials(connection: sa.Connection, name: str) -> Credentials:
    """Compare the password outside of the transaction, and ask `confirmed` in the one that follows."""
    row = _find(connection, name)
    return Credentials(None, None) if row is None else Credentials(Account.from_row(row), row.password)


def confirmed(connection: sa.Connection, found: Credentials) -> Account | None:
    """The account of credentials whose password was right, unless it was disabled or changed meanwhile."""
    if found.account is None or found.hashed is None:
        return None
    these = (
        (accounts.c.id == found.account.id) & (accounts.c.password == found.hashed) & accounts.c.disabled_at.is_(None)
    )
    row = connection.execute(sa.select(accounts).where(these)).one_or_none()
    return None if row is None else Account.from_row(row)


def is_due(account: Account, now: datetime) -> bool:
    """Whether its use should be noted."""
    return account.used_at is None or (now - account.used_at).total_seconds() >= NOTE_SECONDS


def note_use(connection: sa.Connection, account_id: int | sa.ScalarSelect[int]) -> None:
    connection.execute(sa.update(accounts).where(accounts.c.id == account_id).values(used_at=utc_now()))


def set_role(connection: sa.Connection, name: str, role: Role) -> Account:
    """Raises AccountNotFoundError, LastAdministratorError."""
    policy_version.lock(connection)
    account = get(connection, name)
    if role is not Role.ADMIN:
        _require_another_administrator(connection, account)
    return _change(connection, account, role=role)


def disable(connection: sa.Connection, name: str) -> Account:
    """End its sessions, and let nobody sign in or use a token of it until it is enabled again.

    Raises AccountNotFoundError, LastAdministratorError.
    """
    policy_version.lock(connection)
    account = get(connection, name)
    _require_another_administrator(connection, account)
    connection.execute(sa.delete(sessions).where(sessions.c.account_id == account.id))
    connection.execute(sa.delete(invitations).where(invitations.c.account_id == account.id))
    return _change(connection, account, disabled_at=sa.func.coalesce(accounts.c.disabled_at, utc_now()))


def enable(connection: sa.Connection, name: str) -> Account:
    """Raises AccountNotFoundError."""
    policy_version.lock(connection)
    return _change(connection, get(connection, name), disabled_at=None)


def set_password(connection: sa.Connection, name: str, hashed: Hashed, *, except_session: int | None = None) -> Account:
    """Set it, and end all sessions but one, and all invitations. Raises AccountNotFoundError."""
    policy_version.lock(connection)
    account = get(connection, name)
    others = sessions.c.account_id == account.id
    if except_session is not None:
        others &= sessions.c.id != except_session
    connection.execute(sa.delete(sessions).where(others))
    connection.execute(sa.delete(invitations).where(invitations.c.account_id == account.id))
    return _change(connection, account, password=hashed)


def _require_another_administrator(connection: sa.Connection, account: Account) -> None:
    """Raises LastAdministratorError if an account is the only administrator that is not disabled."""
    if account.role is not Role.ADMIN or account.is_disabled:
        return
    others = _administrators().where(accounts.c.id != account.id)
    if connection.execute(others.limit(1)).first() is None:
        raise LastAdministratorError(account.name)


def _administrators() -> sa.Select[tuple[int]]:
    return sa.select(accounts.c.id).where(accounts.c.role == Role.ADMIN, accounts.c.disabled_at.is_(None))


def _find(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    if not names.can_exist(name):
        return None
    return connection.execute(sa.select(accounts).where(accounts.c.name_key == names.key(name))).one_or_none()


def _change(connection: sa.Connection, account: Account, **values: Any) -> Account:
    statement = sa.update(accounts).where(accounts.c.id == account.id).values(**values).returning(accounts)
    return Account.from_row(connection.execute(statement).one())
