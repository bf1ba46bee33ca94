"""API tokens: secrets with which programs act for an account, within scopes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.errors import InvalidGrantError, TokenNotFoundError
from jobs.people import accounts as accounts_
from jobs.people import policy_version, secrets
from jobs.people.roles import Scope
from jobs.tables import accounts, tokens

#: Seconds between two notes of when a token was used last.
NOTE_SECONDS = 60.0
#: Characters of the longest name.
NAME_LENGTH = 100
#: Tokens that one account may have.
MOST = 100


@dataclass(frozen=True)
class Token:
    """dataset: the only one that exists for it; None: all of its owner."""

    id: int
    account_id: int
    name: str
    scopes: frozenset[Scope]
    dataset: str | None
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        return cls(
            row.id,
            row.account_id,
            row.name,
            frozenset(map(Scope, row.scopes)),
            row.dataset,
            row.created_at,
            row.expires_at,
            row.used_at,
            row.revoked_at,
        )


def add(
    connection: sa.Connection,
    account_id: int,
    *,
    name: str,
    scopes: Collection[Scope],
    dataset: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """The new token, and its secret, which is shown once. Raises InvalidGrantError."""
    shown = name.strip()
    if not 1 <= len(shown) <= NAME_LENGTH or not shown.isprintable():
        raise InvalidGrantError(f"A token needs a name of 1 to {NAME_LENGTH} printable characters.")
    if not scopes:
        raise InvalidGrantError(f"A token needs at least one scope: {', '.join(Scope)}.")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidGrantError("The token would have expired already.")
    policy_version.lock(connection)
    if len(of_account(connection, account_id)) >= MOST:
        raise InvalidGrantError(f"An account has at most {MOST} tokens. Revoke one that is no longer needed.")
    secret = secrets.make(secrets.TOKEN_PREFIX)
    statement = sa.insert(tokens).values(
        digest=secrets.digest(secret),
        account_id=account_id,
        name=shown,
        scopes=sorted(set(scopes)),
        dataset=dataset,
        created_at=utc_now(),
        expires_at=expires_at,
    )
    return Token.from_row(connection.execute(statement.returning(tokens)).one()), secret


def _is_valid() -> sa.ColumnElement[bool]:
    return (
        tokens.c.revoked_at.is_(None)
        & (tokens.c.expires_at.is_(None) | (tokens.c.expires_at > utc_now()))
        & accounts.c.disabled_at.is_(None)
    )


def find(connection: sa.Connection, secret: str) -> Token | None:
    """The token with this secret, if it is valid and its owner is not disabled."""
    if not secret.startswith(secrets.TOKEN_PREFIX) or not secret.isascii():
        return None
    statement = sa.select(tokens).join(accounts).where(tokens.c.digest == secrets.digest(secret), _is_valid())
    row = connection.execute(statement).one_or_none()
    return None if row is None else Token.from_row(row)


def valid(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    """Which of these tokens are valid, and of owners who are not disabled."""
    statement = sa.select(tokens.c.id).join(accounts).where(tokens.c.id.in_(ids), _is_valid())
    return set(connection.execute(statement).scalars())


def dataset_of(connection: sa.Connection, token_id: int) -> str | None:
    """The only dataset that exists for a token; None: all of its owner."""
    found: str | None = connection.scalar(sa.select(tokens.c.dataset).where(tokens.c.id == token_id))
    return found


def is_due(token: Token, now: datetime) -> bool:
    """Whether its use should be noted."""
    return token.used_at is None or (now - token.used_at).total_seconds() >= NOTE_SECONDS


def note_use(connection: sa.Connection, token_id: int) -> None:
    connection.execute(sa.update(tokens).where(tokens.c.id == token_id).values(used_at=utc_now()))
    owner = sa.select(tokens.c.account_id).where(tokens.c.id == token_id).scalar_subquery()
    accounts_.note_use(connection, owner)


def of_account(connection: sa.Connection, account_id: int) -> list[Token]:
    """Those that were not revoked, the newest first."""
    return _list(connection, tokens.c.account_id == account_id)


def all_tokens(connection: sa.Connection) -> list[Token]:
    """Those that were not revoked, the newest first."""
    return _list(connection, sa.true())


def page(connection: sa.Connection, account_id: int | None, *, limit: int, before: int | None = None) -> list[Token]:
    """Those of an account that were not revoked, or of all accounts if it is None: the newest first, below an id."""
    mine = sa.true() if account_id is None else tokens.c.account_id == account_id
    older = sa.true() if before is None else tokens.c.id < before
    return _list(connection, mine & older, limit)


def _list(connection: sa.Connection, these: sa.ColumnElement[bool], limit: int | None = None) -> list[Token]:
    statement = sa.select(tokens).where(these, tokens.c.revoked_at.is_(None)).order_by(tokens.c.id.desc())
    return [Token.from_row(row) for row in connection.execute(statement.limit(limit))]


def revoke(connection: sa.Connection, token_id: int, *, account_id: int | None = None) -> Token:
    """account_id: of the only account whose token it may be. Raises TokenNotFoundError."""
    these = (tokens.c.id == token_id) & tokens.c.revoked_at.is_(None)
    if account_id is not None:
        these &= tokens.c.account_id == account_id
    statement = sa.update(tokens).where(these).values(revoked_at=utc_now()).returning(tokens)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise TokenNotFoundError(token_id)
    policy_version.bump(connection)
    return Token.from_row(row)
