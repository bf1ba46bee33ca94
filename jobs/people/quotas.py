"""Quotas: how much each account may upload in a day, how many of its uploads may wait or run, and how much all files
together may take."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from jobs import incoming
from jobs.errors import QuotaExceededError, QuotaTooSmallError
from jobs.tables import incoming_files, uploads


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
        mine, today = _Uses(connection, account_id), _Today()
        self._require_active(mine)
        self._require_uploads(mine, today)
        left = [self._bytes_of_day(mine, today, size), self._bytes_of_all(mine, size)]
        return min((each for each in left if each is not None), default=None)

    def require_room(self, connection: sa.Connection, account_id: int | None, more: int) -> None:
        """Raises QuotaExceededError unless so many more uploads of an account may wait or run: parts of a file that
        was counted when it arrived."""
        self._require_active(_Uses(connection, account_id), more)

    def _require_active(self, mine: "_Uses", more: int = 1) -> None:
        if self.active_uploads is None:
            return
        active = mine.count(uploads.c.status.in_(("pending", "processing")))
        if active + more > self.active_uploads:
            raise QuotaExceededError(
                f"{active:,} of your uploads wait or run, and {self.active_uploads:,} may at once. Try again when one"
                " has ended."
            )

    def _require_uploads(self, mine: "_Uses", today: "_Today") -> None:
        if self.uploads_per_day is None:
            return
        if mine.count(_IS_FILE & (uploads.c.created_at >= today.begin)) >= self.uploads_per_day:
            limit = f"You may upload {self.uploads_per_day:,} files a day, and none of them is left."
            raise QuotaExceededError(f"{limit} {today.next_in_words}", retry_after=today.seconds_left)

    def _bytes_of_day(self, mine: "_Uses", today: "_Today", size: int) -> int | None:
        if self.bytes_per_day is None:
            return None
        left = max(0, self.bytes_per_day - mine.bytes(_IS_FILE & (uploads.c.created_at >= today.begin)))
        if left < max(1, size):
            kind = QuotaTooSmallError if left else QuotaExceededError
            limit = f"You may upload {self.bytes_per_day:,} bytes a day, and {left:,} of them are left."
            raise kind(f"{limit} {today.next_in_words}", retry_after=today.seconds_left)
        return left

    def _bytes_of_all(self, uses: "_Uses", size: int) -> int | None:
        if self.total_bytes is None:
            return None
        left = max(0, self.total_bytes - uses.bytes_of_all())
        if left < max(1, size):
            raise QuotaTooSmallError(
                f"All files on this server may take {self.total_bytes:,} bytes, and {left:,} of them are left. Ask an"
                " administrator for more."
            )
        return left


#: Whether an upload is a file of its own, not a part of another one, whose bytes it shares.
_IS_FILE = uploads.c.part_of.is_(None)


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


class _Uses:
    """What an account has used. A file that is still arriving counts as if it were complete."""

    def __init__(self, connection: sa.Connection, account_id: int | None) -> None:
        self._connection = connection
        self._uploads = uploads.c.account_id.is_(None) if account_id is None else uploads.c.account_id == account_id
        self._arriving = incoming.of_account(account_id) & incoming.arriving

    def count(self, these: sa.ColumnElement[bool]) -> int:
        """These uploads, and the files that are arriving."""
        return self._sum(sa.func.count(), self._uploads & these, sa.func.count(), self._arriving)

    def bytes(self, these: sa.ColumnElement[bool]) -> int:
        """Of these uploads, and of the files that are arriving."""
        return self._bytes(self._uploads & these, self._arriving)

    def bytes_of_all(self) -> int:
        """Of everybody's files."""
        return self._bytes(_IS_FILE & (uploads.c.stored_as != ""), incoming.arriving)

    def _bytes(self, these: sa.ColumnElement[bool], arriving: sa.ColumnElement[bool]) -> int:
        return self._sum(sa.func.sum(uploads.c.size), these, sa.func.sum(incoming_files.c.size), arriving)

    def _sum(
        self,
        of_uploads: sa.ColumnElement[int],
        these: sa.ColumnElement[bool],
        of_arriving: sa.ColumnElement[int],
        arriving: sa.ColumnElement[bool],
    ) -> int:
        recorded = sa.select(of_uploads).select_from(uploads).where(these)
        others = sa.select(of_arriving).select_from(incoming_files).where(arriving)
        return sum(int(self._connection.execute(each).scalar() or 0) for each in (recorded, others))
