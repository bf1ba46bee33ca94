"""Idempotency keys: a request that a client sends again gets the stored answer and is not executed again."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs.database import utc_now
from jobs.errors import KeyReusedError
from jobs.tables import idempotency_keys


@dataclass(frozen=True)
class Answer:
    """The answer to a request. status: HTTP. content: JSON."""

    status: int
    content: Any


def once(connection: sa.Connection, key: str, body: Any, answer: Callable[[], Answer], owner: str = "") -> Answer:
    """Call `answer` for a new key and store what it returns; for a known key, return the stored answer.

    All in the caller's transaction: two requests with the same key wait for each other. body: JSON, compared regardless
    of its formatting. owner: whose key it is; others may use the same. Raises KeyReusedError if the key was used with a
    different body.
    """
    wanted, key = key, f"{owner}\n{key}" if owner else key
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(idempotency_keys).values(key=key, body=digest, status=0, answer=None, created_at=utc_now())
    this_one = idempotency_keys.c.key == key
    if connection.execute(insert.on_conflict_do_nothing().returning(idempotency_keys.c.key)).one_or_none() is None:
        kept = connection.execute(sa.select(idempotency_keys).where(this_one)).one()
        if kept.body != digest:
            raise KeyReusedError(wanted)
        return Answer(kept.status, kept.answer)
    given = answer()
    values = {"status": given.status, "answer": given.content}
    connection.execute(sa.update(idempotency_keys).where(this_one).values(values))
    return given


def delete_old(connection: sa.Connection, days: float, limit: int) -> int:
    """Delete answers that are older, except those that another transaction is deleting: waiting for it could deadlock.
    Returns how many were deleted, at most so many as the limit."""
    columns = idempotency_keys.c
    old = sa.select(columns.key).where(columns.created_at < utc_now(-days * 86_400)).order_by(columns.created_at)
    some = old.limit(limit).with_for_update(skip_locked=True)
    deleted = sa.delete(idempotency_keys).where(columns.key.in_(some)).returning(columns.key)
    return len(connection.execute(deleted).all())
