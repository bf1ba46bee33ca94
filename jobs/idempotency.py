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

#: Seconds an answer is stored: clients do not repeat a request for longer than a day.
KEPT_SECONDS = 24 * 3600.0


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
    _delete_expired(connection)
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


def _delete_expired(connection: sa.Connection) -> None:
    """Delete old keys, except those that another transaction is deleting: waiting for it could deadlock."""
    old = sa.select(idempotency_keys.c.key).where(idempotency_keys.c.created_at < utc_now(-KEPT_SECONDS))
    expired = idempotency_keys.c.key.in_(old.with_for_update(skip_locked=True))
    connection.execute(sa.delete(idempotency_keys).where(expired))
