"""Keys that a sender gives its requests, so that one which is sent again is answered again and not done again."""

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

#: Seconds for which an answer is kept: a sender that tries again for longer than a day has other troubles.
KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Answer:
    """status: HTTP's. content: JSON."""

    status: int
    content: Any


def once(connection: sa.Connection, key: str, body: Any, answer: Callable[[], Answer]) -> Answer:
    """What `answer` returns, or returned when the key came first: it is kept in the caller's transaction.

    body: JSON; however it was spelt, the same is the same. Two requests with one key wait for each other. Raises
    KeyReusedError when the key came with another body.
    """
    _forget(connection)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(idempotency_keys).values(key=key, body=digest, status=0, answer=None, created_at=utc_now())
    this_one = idempotency_keys.c.key == key
    if connection.execute(insert.on_conflict_do_nothing().returning(idempotency_keys.c.key)).one_or_none() is None:
        kept = connection.execute(sa.select(idempotency_keys).where(this_one)).one()
        if kept.body != digest:
            raise KeyReusedError(key)
        return Answer(kept.status, kept.answer)
    given = answer()
    values = {"status": given.status, "answer": given.content}
    connection.execute(sa.update(idempotency_keys).where(this_one).values(values))
    return given


def _forget(connection: sa.Connection) -> None:
    """Delete what is too old; what somebody else is deleting is left to them, so that nobody waits in a circle."""
    old = sa.select(idempotency_keys.c.key).where(idempotency_keys.c.created_at < utc_now(-KEPT_SECONDS))
    these = idempotency_keys.c.key.in_(old.with_for_update(skip_locked=True))
    connection.execute(sa.delete(idempotency_keys).where(these))
