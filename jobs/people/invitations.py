"""Links that work once: for the first administrator, and for an account whose password nobody has set."""

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.people import accounts, policy_version, secrets
from jobs.people.accounts import Account
from jobs.people.passwords import Hashed
from jobs.people.roles import Role
from jobs.tables import invitations

#: Seconds for which an invitation is valid.
VALID_SECONDS = 7 * 24 * 3600.0
#: Seconds for which a set-up link remains valid when there is a newer one: processes that start together each print
#: one.
SET_UP_OVERLAP_SECONDS = 600.0


def invite(connection: sa.Connection, account: Account) -> str:
    """The secret of a link with which a person sets the password of an account. Earlier ones end."""
    connection.execute(sa.delete(invitations).where(invitations.c.account_id == account.id))
    return _add(connection, account_id=account.id, expires_at=utc_now(VALID_SECONDS))


def make_set_up_link(connection: sa.Connection) -> str | None:
    """The secret of the link with which a person makes the first account; None if there is one. Earlier ones end
    soon."""
    if accounts.exist(connection):
        return None
    earlier = invitations.c.account_id.is_(None)
    connection.execute(sa.delete(invitations).where(earlier, invitations.c.expires_at <= utc_now()))
    ending = sa.update(invitations).where(earlier, invitations.c.expires_at.is_(None))
    connection.execute(ending.values(expires_at=utc_now(SET_UP_OVERLAP_SECONDS)))
    return _add(connection)


def _add(connection: sa.Connection, **values: object) -> str:
    secret = secrets.make()
    connection.execute(sa.insert(invitations).values(digest=secrets.digest(secret), **values))
    return secret


def invited(connection: sa.Connection, secret: str) -> Account | None:
    """Whom a link invites; None if it is unknown, used or expired."""
    row = _take(connection, secret, invitations.c.account_id.is_not(None), remove=False)
    return row and accounts.by_id(connection, row.account_id)


def is_set_up(connection: sa.Connection, secret: str) -> bool:
    """Whether a link makes the first account."""
    found = _take(connection, secret, invitations.c.account_id.is_(None), remove=False)
    return found is not None and not accounts.exist(connection)


def accept(connection: sa.Connection, secret: str, hashed: Hashed) -> Account | None:
    """Set the password of the account that a link invites. None if it is unknown, used or expired."""
    row = _take(connection, secret, invitations.c.account_id.is_not(None), remove=True)
    account = row and accounts.by_id(connection, row.account_id)
    return account and accounts.set_password(connection, account.name, hashed)


def set_up(connection: sa.Connection, secret: str, name: str, hashed: Hashed) -> Account | None:
    """Make the first administrator. None if the link is unknown or used, or there is an account already.

    Raises InvalidNameError; the link remains valid if the caller rolls back.
    """
    policy_version.lock(connection)
    if not is_set_up(connection, secret):
        return None
    connection.execute(sa.delete(invitations).where(invitations.c.account_id.is_(None)))
    return accounts.add(connection, name, Role.ADMIN, hashed=hashed)


def _take(
    connection: sa.Connection, secret: str, these: sa.ColumnElement[bool], *, remove: bool
) -> sa.Row[tuple[int | None]] | None:
    if not secret.isascii():
        return None
    valid = (
        (invitations.c.digest == secrets.digest(secret))
        & (invitations.c.expires_at.is_(None) | (invitations.c.expires_at > utc_now()))
        & these
    )
    if remove:
        statement: sa.Executable = sa.delete(invitations).where(valid).returning(invitations.c.account_id)
    else:
        statement = sa.select(invitations.c.account_id).where(valid)
    return connection.execute(statement).one_or_none()
