"""Accounts: their names, roles and passwords."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.errors import AccountNotFoundError, LastAdministratorError, NameTakenError
from jobs.people import names, passwords, policy_version
from jobs.people.roles import Role
from jobs.tables import accounts, invitations, sessions


@dataclass(frozen=True)
class Account:
    """has_password: whether it can sign in with one."""

    id: int
    name: str
    role: Role
    has_password: bool
    subject: str | None
    disabled_at: datetime | None
    created_at: datetime

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
        )

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at is not None


def exist(connection: sa.Connection) -> bool:
    """Whether there is any account, so that everybody needs one."""
    return connection.execute(sa.select(accounts.c.id).limit(1)).first() is not None


def add(
    connection: sa.Connection, name: str, role: Role, *, password: str | None = None, subject: str | None = None
) -> Account:
    """password: as it was typed; None: it is set later, or the account signs in otherwise.

    Raises InvalidNameError, UnsafePasswordError, NameTakenError.
    """
    shown = names.checked(name)
    hashed = None if password is None else passwords.hash_of(passwords.checked(password, shown))
    if _find(connection, shown) is not None:
        raise NameTakenError("account", shown)
    statement = sa.insert(accounts).values(
        name=shown, name_key=names.key(shown), role=role, password=hashed, subject=subject, created_at=utc_now()
    )
    policy_version.bump(connection)
    return Account.from_row(connection.execute(statement.returning(accounts)).one())


def get(connection: sa.Connection, name: str) -> Account:
    """Raises AccountNotFoundError."""
    row = _find(connection, name)
    if row is None:
        raise AccountNotFoundError(name)
    return Account.from_row(row)


def by_id(connection: sa.Connection, account_id: int) -> Account | None:
    row = connection.execute(sa.select(accounts).where(accounts.c.id == account_id)).one_or_none()
    return None if row is None else Account.from_row(row)


def by_subject(connection: sa.Connection, subject: str) -> Account | None:
    """The account of a person at an issuer of OpenID Connect."""
    row = connection.execute(sa.select(accounts).where(accounts.c.subject == subject)).one_or_none()
    return None if row is None else Account.from_row(row)


def all_accounts(connection: sa.Connection) -> list[Account]:
    """In the order of their names."""
    return [Account.from_row(row) for row in connection.execute(sa.select(accounts).order_by(accounts.c.name_key))]


def enabled(connection: sa.Connection, ids: Collection[int]) -> dict[int, Account]:
    """By id, those of these accounts that are not disabled."""
    statement = sa.select(accounts).where(accounts.c.id.in_(ids), accounts.c.disabled_at.is_(None))
    return {row.id: Account.from_row(row) for row in connection.execute(statement)}


def verified(connection: sa.Connection, name: str, password: str) -> Account | None:
    """The account with this name and password; None if there is none or it is disabled. It always takes as long.

    The caller holds the connection while a hash is computed, which takes tens of milliseconds.
    """
    row = _find(connection, name)
    is_right = passwords.verify(password, row.password if row else None)
    return Account.from_row(row) if row and is_right and row.disabled_at is None else None


def set_role(connection: sa.Connection, name: str, role: Role) -> Account:
    """Raises AccountNotFoundError, LastAdministratorError."""
    account = get(connection, name)
    if account.role is Role.ADMIN and role is not Role.ADMIN:
        _require_another_administrator(connection, account)
    return _change(connection, account, role=role)


def disable(connection: sa.Connection, name: str) -> Account:
    """End its sessions, and let nobody sign in or use a token of it until it is enabled again.

    Raises AccountNotFoundError, LastAdministratorError.
    """
    account = get(connection, name)
    _require_another_administrator(connection, account)
    connection.execute(sa.delete(sessions).where(sessions.c.account_id == account.id))
    connection.execute(sa.delete(invitations).where(invitations.c.account_id == account.id))
    return _change(connection, account, disabled_at=sa.func.coalesce(accounts.c.disabled_at, utc_now()))


def enable(connection: sa.Connection, name: str) -> Account:
    """Raises AccountNotFoundError."""
    return _change(connection, get(connection, name), disabled_at=None)


def set_password(connection: sa.Connection, name: str, password: str, *, except_session: int | None = None) -> Account:
    """Set it, and end all sessions but one. Raises AccountNotFoundError, UnsafePasswordError."""
    account = get(connection, name)
    hashed = passwords.hash_of(passwords.checked(password, account.name))
    others = sessions.c.account_id == account.id
    if except_session is not None:
        others &= sessions.c.id != except_session
    connection.execute(sa.delete(sessions).where(others))
    return _change(connection, account, password=hashed)


def _require_another_administrator(connection: sa.Connection, account: Account) -> None:
    """Raises LastAdministratorError if an account is the only administrator that is not disabled."""
    if account.role is not Role.ADMIN or account.is_disabled:
        return
    _lock(connection)
    others = sa.select(accounts.c.id).where(
        accounts.c.role == Role.ADMIN, accounts.c.disabled_at.is_(None), accounts.c.id != account.id
    )
    if connection.execute(others.limit(1)).first() is None:
        raise LastAdministratorError(account.name)


def _lock(connection: sa.Connection) -> None:
    """Let no other transaction change permissions until this one ends: two administrators must not disable each other
    at once."""
    policy_version.bump(connection)


def _find(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(accounts).where(accounts.c.name_key == names.key(name))).one_or_none()


def _change(connection: sa.Connection, account: Account, **values: Any) -> Account:
    policy_version.bump(connection)
    statement = sa.update(accounts).where(accounts.c.id == account.id).values(**values).returning(accounts)
    return Account.from_row(connection.execute(statement).one())
