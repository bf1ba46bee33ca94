"""Quotas: how much each account may upload in a day, how many of its uploads may wait or run, and how much all files
together may take."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from jobs.errors import QuotaExceededError, QuotaTooSmallError
from jobs.tables import uploads


@dataclass(frozen=True)
class Quotas:
    """Each is None for no limit. Days are those of UTC. total_bytes: of all files that the server keeps."""

    bytes_per_day: int | None = None
    uploads_per_day: int | None = None
    active_uploads: int | None = None
    total_bytes: int | None = None

    @property
    def is_unlimited(self) -> bool:
        return self == Quotas()

    def require(self, connection: sa.Connection, account_id: int | None, size: int = 0) -> int | None:
        """The bytes that one more file of an account may have; None for any number. size: that it has at least.

        Raises QuotaExceededError, QuotaTooSmallError.
        """
        if self.is_unlimited:
            return None
        mine = uploads.c.account_id.is_(None) if account_id is None else uploads.c.account_id == account_id
        today = _Today()
        self._require_active(connection, mine)
        self._require_uploads(connection, mine, today)
        left = [self._bytes_of_day(connection, mine, today, size), self._bytes_of_all(connection, size)]
        return min((each for each in left if each is not None), default=None)

    def _require_active(self, connection: sa.Connection, mine: sa.ColumnElement[bool]) -> None:
        if self.active_uploads is None:
            return
        active = _count(connection, mine & uploads.c.status.in_(("pending", "processing")))
        if active >= self.active_uploads:
            raise QuotaExceededError(
                f"{active:,} of your uploads wait or run, and {self.active_uploads:,} may at once. Try again when one"
                " has ended."
            )

    def _require_uploads(self, connection: sa.Connection, mine: sa.ColumnElement[bool], today: "_Today") -> None:
        if self.uploads_per_day is None:
            return
        if _count(connection, mine & (uploads.c.created_at >= today.begin)) >= self.uploads_per_day:
            limit = f"You may upload {self.uploads_per_day:,} files a day, and none of them is left."
            raise QuotaExceededError(f"{limit} {today.next_in_words}", retry_after=today.seconds_left)

    def _bytes_of_day(
        self, connection: sa.Connection, mine: sa.ColumnElement[bool], today: "_Today", size: int
    ) -> int | None:
        if self.bytes_per_day is None:
            return None
        left = max(0, self.bytes_per_day - _bytes(connection, mine & (uploads.c.created_at >= today.begin)))
        if left < max(1, size):
            kind = QuotaTooSmallError if left else QuotaExceededError
            limit = f"You may upload {self.bytes_per_day:,} bytes a day, and {left:,} of them are left."
            raise kind(f"{limit} {today.next_in_words}", retry_after=today.seconds_left)
        return left

    def _bytes_of_all(self, connection: sa.Connection, size: int) -> int | None:
        if self.total_bytes is None:
            return None
        left = max(0, self.total_bytes - _bytes(connection, uploads.c.stored_as != ""))
        if left < max(1, size):
            raise QuotaTooSmallError(
                f"All files on this server may take {self.total_bytes:,} bytes, and {left:,} of them are left. Ask an"
                " administrator for more."
            )
        return left


class _Today:
    """The day of UTC in which quotas count."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.begin = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._end = self.begin + timedelta(days=1)
        self.seconds_left = (self._end - now).total_seconds()

    @property
    def next_in_words(self) -> str:
        return f"The next day begins at {self._end:%Y-%m-%d %H:%M} UTC."


def _count(connection: sa.Connection, these: sa.ColumnElement[bool]) -> int:
    statement = sa.select(sa.func.count()).select_from(uploads).where(these)
    return int(connection.execute(statement).scalar_one())


def _bytes(connection: sa.Connection, these: sa.ColumnElement[bool]) -> int:
    statement = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.size), 0)).where(these)
    return int(connection.execute(statement).scalar_one())
