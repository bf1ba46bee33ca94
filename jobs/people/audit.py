"""Who did what, or was refused. Entries are written in the transaction of the change and never altered; retention may
remove old ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.excerpt import excerpt
from jobs.people import names
from jobs.tables import accounts, audit

#: Characters that are kept of an object and of a detail.
LONGEST = 300
#: Characters that are kept of a name that somebody typed.
TYPED = 64
#: Entries that may have got their numbers in another order than their times, because they were written at once.
_DISORDER = 1_000


class Via(StrEnum):
    WEB = "web"
    API = "api"
    CLI = "cli"


class Result(StrEnum):
    OK = "ok"
    REFUSED = "refused"


@dataclass(frozen=True)
class Actor:
    """Who makes a change, and how. name: None for nobody who is known. address: of the client, "" on the machine."""

    name: str | None
    via: Via
    address: str = ""


@dataclass(frozen=True)
class Entry:
    id: int
    at: datetime
    actor: str | None
    via: str
    address: str
    action: str
    object: str
    result: str
    detail: str

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        return cls(**row._asdict())


@dataclass(frozen=True)
class AuditQuery:
    """Which entries: those that have all of these. actor: an account, in any case. since, until: the first moment
    included, the last one not."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None
    result: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> sa.ColumnElement[bool]:
        conditions: list[sa.ColumnElement[bool]] = [
            audit.c[name] == _storable(value)
            for name in ("action", "object", "result")
            if (value := getattr(self, name)) is not None
        ]
        if self.actor is not None:
            conditions.append(audit.c.actor == _as_written(self.actor))
        if self.since is not None:
            conditions += [audit.c.at >= self.since, audit.c.id > _number_at(self.since) - _DISORDER]
        if self.until is not None:
            # Without an entry since then, none is left out.
            last = sa.func.coalesce(_number_at(self.until), 2**62)
            conditions += [audit.c.at < self.until, audit.c.id < last + _DISORDER]
        return sa.and_(sa.true(), *conditions)


def _as_written(actor: str) -> sa.ColumnElement[str]:
    """The name of the account as entries have it; unchanged if there is no such account, as for commands."""
    typed = _storable(actor)
    account = sa.select(accounts.c.name).where(accounts.c.name_key == names.key(typed))
    return sa.func.coalesce(account.scalar_subquery(), typed)


def _number_at(moment: datetime) -> sa.ColumnElement[int]:
    """The number of the first entry since then: pages are in the order of numbers, and need not read all times."""
    first = sa.select(audit.c.id).where(audit.c.at >= moment).order_by(audit.c.at).limit(1)
    return first.scalar_subquery()


def write(
    connection: sa.Connection,
    actor: Actor,
    action: str,
    object_: str = "",
    *,
    result: Result = Result.OK,
    detail: str = "",
) -> None:
    """action: such as `upload.cancel`. object_: such as `upload 7`, `dataset sales`. No secret may be in any of it."""
    statement = sa.insert(audit).values(
        at=utc_now(),
        actor=actor.name,
        via=actor.via,
        address=actor.address,
        action=action,
        object=_storable(object_),
        result=result,
        detail=_storable(detail),
    )
    connection.execute(statement)


def _storable(text: str) -> str:
    """What somebody typed may hold characters that databases do not take."""
    return excerpt(text, LONGEST).replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def delete_old(connection: sa.Connection, days: float, limit: int) -> int:
    """Delete entries that are older, the oldest first. Returns how many were deleted, at most so many as the limit."""
    old = sa.select(audit.c.id).where(audit.c.at < utc_now(-days * 86_400)).order_by(audit.c.at).limit(limit)
    deleted = sa.delete(audit).where(audit.c.id.in_(old.with_for_update(skip_locked=True))).returning(audit.c.id)
    return len(connection.execute(deleted).all())


def page(connection: sa.Connection, query: AuditQuery, *, limit: int, before: int | None = None) -> list[Entry]:
    """Entries, the newest first. before: the id that all of them are below."""
    statement = sa.select(audit).where(query.condition()).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.id < before)
    return [Entry.from_row(row) for row in connection.execute(statement)]


def each(connection: sa.Connection, query: AuditQuery, *, at_once: int = 1_000) -> Iterator[Entry]:
    """All of them, the newest first, with bounded memory."""
    before: int | None = None
    while found := page(connection, query, limit=at_once, before=before):
        yield from found
        before = found[-1].id
