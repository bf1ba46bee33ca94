"""The attempts of an upload, from its log; and the log of an upload that an earlier release kept no log of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import sqlalchemy as sa

from jobs import upload_log
from jobs.upload_log import Entry, Kind
from jobs.uploads import TERMINAL, Status, Upload, in_words_as_seen

#: Entries with which an attempt begins, and with which it can end.
BEGINNINGS = frozenset({Kind.CLAIMED, Kind.RESUMED, Kind.STARTED})
ENDS = frozenset({Kind.HANDED_BACK, Kind.LEASE_LOST, Kind.CUT, Kind.HELD, Kind.CANCELLED, Kind.COMPLETED, Kind.FAILED})


@dataclass(frozen=True)
class Attempt:
    """One attempt to import an upload.

    began_at_row, ended_at_row: rows that were processed before it and after it. end, why: how it ended, None while it
    runs; why is for people.
    """

    number: int
    worker: str | None
    began_at: datetime
    began_at_row: int
    ended_at: datetime | None = None
    ended_at_row: int | None = None
    end: Kind | None = None
    why: str | None = None

    def ended(self, entry: Entry) -> Self:
        return replace(self, ended_at=entry.at, ended_at_row=entry.rows_processed, end=entry.kind, why=entry.detail)


@dataclass(frozen=True)
class UploadLog:
    """The entries of a log, oldest first, and the attempts that they tell of."""

    entries: list[Entry]
    attempts: list[Attempt]

    @classmethod
    def read(cls, connection: sa.Connection, upload: Upload) -> Self:
        """upload: as whoever asks may see it."""
        entries = [] if upload.is_deleted else _completed(upload, upload_log.read(connection, upload.id))
        entries = [replace(each, detail=each.detail and in_words_as_seen(each.detail, upload)) for each in entries]
        return cls(entries, _attempts(entries))


def _completed(upload: Upload, entries: Sequence[Entry]) -> list[Entry]:
    """With what the record tells, if processes of an earlier release logged neither its beginning nor its end."""
    found = list(entries)
    if not found or found[0].seq > 1:
        found.insert(0, Entry(1, upload.created_at, Kind.CREATED, 0, 0, 0))
    ended = [entry for entry in found if entry.kind not in (Kind.MILESTONE, Kind.UNDONE, Kind.REDONE)]
    if upload.status in TERMINAL and upload.finished_at and ended[-1].kind not in ENDS:
        if upload.attempt == 1 and upload.started_at and not any(entry.kind in BEGINNINGS for entry in found):
            kind = Kind.STARTED if upload.is_external else Kind.CLAIMED
            found.append(Entry(2, upload.started_at, kind, 1, 0, 0))
        detail = upload.error if upload.status is not Status.COMPLETED else None
        found.append(
            Entry(
                upload.seq, upload.finished_at, Kind(upload.status), upload.attempt, upload.rows_processed,
                upload.rows_failed, detail=detail,
            )
        )  # fmt: skip
    return found


def _attempts(entries: Sequence[Entry]) -> list[Attempt]:
    found: list[Attempt] = []
    for entry in entries:
        runs = bool(found) and found[-1].end is None and found[-1].number == entry.attempt
        if entry.kind in BEGINNINGS:
            found.append(Attempt(entry.attempt, entry.worker, entry.at, entry.rows_processed))
        elif entry.kind in ENDS and runs:
            found[-1] = found[-1].ended(entry)
        elif entry.kind in ENDS and entry.attempt and (not found or found[-1].number < entry.attempt):
            # The first report of a script can be its last one.
            found.append(Attempt(entry.attempt, None, entry.at, 0).ended(entry))
    return found
