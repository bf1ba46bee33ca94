"""The log of an upload: what happened to it, kept with it.

`uploads.py` writes each entry in the transaction of the change that it speaks of, behind the guarded statement: a
claimant that has lost its claim logs nothing. The log of an upload is bounded: an upload that fails, is retried or
changes hands again and again keeps its first entries and its last ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

import sqlalchemy as sa

from jobs.excerpt import excerpt
from jobs.tables import upload_log

#: Milestones of an upload; when there are more, about every second one goes, and they become half as frequent.
MAX_MILESTONES = 60
#: Seconds between two milestones of an import that has just begun.
FIRST_INTERVAL = 0.2
#: Percent of an external upload between two milestones.
EXTERNAL_STEP = 2
#: The other entries that are kept of an upload.
FIRST_KEPT, LAST_KEPT = 20, 80
#: Attempts after which a claim looks for entries that go.
PRUNED_EVERY = 10
#: Characters of a detail.
DETAIL_LENGTH = 500


class Kind(StrEnum):
    CREATED = "created"
    CLAIMED = "claimed"  # a worker begins with the first row
    RESUMED = "resumed"  # a worker continues behind the last committed row
    STARTED = "started"  # the first report of an external script
    MILESTONE = "milestone"
    HANDED_BACK = "handed_back"  # the worker shut down, or its work horse ended
    LEASE_LOST = "lease_lost"  # the worker stopped responding
    CUT = "cut"  # the watchdog ended the work horse
    SILENT = "silent"  # the external script sends no reports
    HELD = "held"  # it waits for a person
    ORDERED = "ordered"  # a person wants a held upload looked at, or checked
    APPROVED = "approved"  # a person wants it imported
    CANCELLED = "cancelled"
    RETRIED = "retried"
    COMPLETED = "completed"
    FAILED = "failed"
    UNDONE = "undone"  # another upload undid it
    REDONE = "redone"  # that one was undone itself


class Via(StrEnum):
    """The way on which a person or a program asked for a change."""

    WEB = "web"
    API = "api"
    COMMAND = "cli"
    SCRIPT = "script"  # a report of the external script that imports the upload


class By(NamedTuple):
    """Who asked for a change. name: of an account; None if nobody had to sign in."""

    via: Via
    name: str | None = None


@dataclass(frozen=True)
class Entry:
    """rows_processed, rows_failed: of the upload at this moment. worker, lane: of a claim. detail: why, for people."""

    seq: int
    at: datetime
    kind: Kind
    attempt: int
    rows_processed: int
    rows_failed: int
    worker: str | None = None
    lane: str | None = None
    detail: str | None = None
    by: By | None = None

    @classmethod
    def from_row(cls, row: sa.Row[tuple[object, ...]]) -> Self:
        values = row._asdict()
        del values["upload_id"]
        via, name = values.pop("via"), values.pop("by_name")
        return cls(**{**values, "kind": Kind(values["kind"]), "by": By(Via(via), name) if via else None})


class State(NamedTuple):
    """What an entry takes from the record of an upload."""

    upload_id: int
    seq: int
    at: datetime
    attempt: int
    rows_processed: int
    rows_failed: int


def write(
    connection: sa.Connection,
    state: State,
    kind: Kind,
    *,
    worker: str | None = None,
    lane: str | None = None,
    detail: str | None = None,
    by: By | None = None,
) -> None:
    """Log a change. state: after it. At most one entry belongs to one seq."""
    values = state._asdict() | {
        "kind": kind,
        "worker": worker,
        "lane": lane,
        "detail": detail and excerpt(detail, DETAIL_LENGTH),
        "via": by and by.via,
        "by_name": by and by.name,
    }
    connection.execute(_INSERT, values)
    is_frequent = kind in (Kind.CLAIMED, Kind.RESUMED) and state.attempt % PRUNED_EVERY
    if kind in _REPEATED and not is_frequent and state.seq > FIRST_KEPT + LAST_KEPT:
        _prune(connection, state.upload_id)


#: Made once: to build it anew takes as long as to run it.
_INSERT = sa.insert(upload_log)
#: What can happen to an upload without end.
_REPEATED = frozenset({Kind.CLAIMED, Kind.RESUMED, Kind.RETRIED, Kind.SILENT})


def _prune(connection: sa.Connection, upload_id: int) -> None:
    columns = upload_log.c
    others = sa.select(columns.seq).where(columns.upload_id == upload_id, columns.kind != Kind.MILESTONE)
    first = others.order_by(columns.seq).limit(FIRST_KEPT).subquery()
    last = others.order_by(columns.seq.desc()).limit(LAST_KEPT).subquery()
    connection.execute(
        sa.delete(upload_log).where(
            columns.upload_id == upload_id,
            columns.kind != Kind.MILESTONE,
            columns.seq > sa.select(sa.func.max(first.c.seq)).scalar_subquery(),
            columns.seq < sa.select(sa.func.min(last.c.seq)).scalar_subquery(),
        )
    )


def forget_milestones(connection: sa.Connection, upload_id: int) -> None:
    """Of an upload that begins again with its first row."""
    connection.execute(
        sa.delete(upload_log).where(upload_log.c.upload_id == upload_id, upload_log.c.kind == Kind.MILESTONE)
    )


def read(connection: sa.Connection, upload_id: int) -> list[Entry]:
    """The log of an upload, oldest entry first."""
    statement = sa.select(upload_log).where(upload_log.c.upload_id == upload_id).order_by(upload_log.c.seq)
    return [Entry.from_row(row) for row in connection.execute(statement)]


class Milestones:
    """The milestones of an import: at even distances in time, and thinned out to half whenever there are too many. So
    there are always enough for a curve, and no import is long enough for more."""

    def __init__(self, begun: datetime, known: Sequence[Entry] = ()) -> None:
        """begun: when this attempt began. known: the milestones of earlier attempts."""
        self._last = begun
        self._kept = {entry.seq: entry.at for entry in known}
        self._interval = FIRST_INTERVAL
        if len(known) > 1:
            self._interval = max(FIRST_INTERVAL, _seconds(known[0].at, known[-1].at) / (len(known) - 1))

    @classmethod
    def resumed(cls, connection: sa.Connection, upload_id: int, begun: datetime) -> Self:
        """With the milestones that earlier attempts left."""
        return cls(begun, [entry for entry in read(connection, upload_id) if entry.kind is Kind.MILESTONE])

    def pass_by(self, connection: sa.Connection, state: State) -> None:
        """Log a committed chunk if it is time for a milestone. A clock that was set back counts as time."""
        if abs(_seconds(self._last, state.at)) < self._interval:
            return
        write(connection, state, Kind.MILESTONE)
        self._last = self._kept[state.seq] = state.at
        if len(self._kept) > MAX_MILESTONES:
            self._thin_out(connection, state.upload_id)

    def _thin_out(self, connection: sa.Connection, upload_id: int) -> None:
        moments = list(self._kept.values())
        lasted = abs(_seconds(moments[0], moments[-1]))
        self._interval = max(2 * lasted / (len(moments) - 1), 2 * self._interval)
        surplus, before = [], None
        for place, (seq, at) in enumerate(self._kept.items()):
            # Where the clock was set, times do not tell which of them are close together.
            is_close = before is not None and 0 <= _seconds(before, at) < self._interval * 0.9
            if is_close or (lasted == 0 and place % 2):
                surplus.append(seq)
            else:
                before = at
        columns = upload_log.c
        connection.execute(sa.delete(upload_log).where(columns.upload_id == upload_id, columns.seq.in_(surplus)))
        self._kept = {seq: at for seq, at in self._kept.items() if seq not in set(surplus)}


def _seconds(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds()
