"""Browsers that are signed in. The browser has a secret in its cookie, the database its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.people import accounts as accounts_
from jobs.people import policy_version, secrets
from jobs.tables import accounts, sessions

#: Seconds between two notes of when a session was used last; and the share of its idle time that they may take. By so
#: much a session may end early.
NOTE_SECONDS, NOTE_SHARE = 60.0, 0.1
#: Sessions of one account; the ones that were used longest ago end when there are more.
MOST = 50
#: Characters that are kept of what a browser calls itself.
AGENT_LENGTH = 200


@dataclass(frozen=True)
class Session:
    id: int
    account_id: int
    created_at: datetime
    used_at: datetime
    address: str
    agent: str
    identity_token: str | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        return cls(row.id, row.account_id, row.created_at, row.used_at, row.address, row.agent, row.identity_token)


@dataclass(frozen=True)
class Lifetime:
    """Seconds after which a session ends: without use, and in any case."""

    idle: float
    absolute: float

    def is_alive(self) -> sa.ColumnElement[bool]:
        return (sessions.c.used_at > utc_now(-self.idle)) & (sessions.c.created_at > utc_now(-self.absolute))


def begin(
    connection: sa.Connection,
    account_id: int,
    lifetime: Lifetime,
    *,
    address: str,
    agent: str,
    identity_token: str | None = None,
) -> str:
    """The secret of a new session. Forgets those of the account that have ended."""
    secret = secrets.make()
    of_account = sessions.c.account_id == account_id
    connection.execute(sa.delete(sessions).where(of_account, sa.not_(lifetime.is_alive())))
    values = {
        "digest": secrets.digest(secret),
        "account_id": account_id,
        "created_at": utc_now(),
        "used_at": utc_now(),
        "address": address,
        "agent": agent[:AGENT_LENGTH],
        "identity_token": identity_token,
    }
    connection.execute(sa.insert(sessions).values(**values))
    newest = sessions.c.used_at.desc(), sessions.c.id.desc()
    kept = sa.select(sessions.c.id).where(of_account).order_by(*newest).limit(MOST)
    surplus = sa.delete(sessions).where(of_account, sessions.c.id.not_in(kept.scalar_subquery()))
    if connection.execute(surplus.returning(sessions.c.id)).all():
        policy_version.bump(connection)
    accounts_.note_use(connection, account_id)
    return secret


def find(connection: sa.Connection, secret: str, lifetime: Lifetime) -> Session | None:
    """The session with this secret, if it is alive and its account is not disabled."""
    statement = (
        sa.select(sessions)
        .join(accounts)
        .where(sessions.c.digest == secrets.digest(secret), lifetime.is_alive(), accounts.c.disabled_at.is_(None))
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Session.from_row(row)


def alive(connection: sa.Connection, ids: Sequence[int], lifetime: Lifetime) -> set[int]:
    """Which of these sessions are alive, and of accounts that are not disabled."""
    statement = (
        sa.select(sessions.c.id)
        .join(accounts)
        .where(sessions.c.id.in_(ids), lifetime.is_alive(), accounts.c.disabled_at.is_(None))
    )
    return set(connection.execute(statement).scalars())


def is_due(session: Session, now: datetime, lifetime: Lifetime) -> bool:
    """Whether its use should be noted."""
    return (now - session.used_at).total_seconds() >= min(NOTE_SECONDS, NOTE_SHARE * lifetime.idle)


def note_use(connection: sa.Connection, session_id: int) -> None:
    connection.execute(sa.update(sessions).where(sessions.c.id == session_id).values(used_at=utc_now()))
    owner = sa.select(sessions.c.account_id).where(sessions.c.id == session_id).scalar_subquery()
    accounts_.note_use(connection, owner)


def of_account(connection: sa.Connection, account_id: int, lifetime: Lifetime) -> list[Session]:
    """Those that are alive, the last used first."""
    statement = (
        sa.select(sessions)
        .where(sessions.c.account_id == account_id, lifetime.is_alive())
        .order_by(sessions.c.used_at.desc(), sessions.c.id.desc())
    )
    return [Session.from_row(row) for row in connection.execute(statement)]


def end(connection: sa.Connection, account_id: int, session_id: int) -> bool:
    """End a session of an account. Returns whether there was one."""
    these = (sessions.c.account_id == account_id) & (sessions.c.id == session_id)
    ended = connection.execute(sa.delete(sessions).where(these).returning(sessions.c.id)).one_or_none()
    policy_version.bump(connection)
    return ended is not None


def identity_token(connection: sa.Connection, session_id: int) -> str | None:
    """What the issuer of OpenID Connect said of who signed in; None for other sessions."""
    statement = sa.select(sessions.c.identity_token).where(sessions.c.id == session_id)
    return connection.execute(statement).scalar_one_or_none()


def end_of_browser(connection: sa.Connection, secret: str) -> None:
    """End the session with this secret, if there is one: the browser gets another."""
    if connection.execute(
        sa.delete(sessions).where(sessions.c.digest == secrets.digest(secret)).returning(sessions.c.id)
    ).all():
        policy_version.bump(connection)


def end_others(connection: sa.Connection, account_id: int, session_id: int | None) -> int:
    """End all sessions of an account but one. Returns how many."""
    these = sessions.c.account_id == account_id
    if session_id is not None:
        these &= sessions.c.id != session_id
    ended = connection.execute(sa.delete(sessions).where(these).returning(sessions.c.id)).all()
    policy_version.bump(connection)
    return len(ended)
