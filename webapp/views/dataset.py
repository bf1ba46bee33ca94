"""What the page of a dataset says above its rows: how many there are, what is imported now, what is new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

import sqlalchemy as sa

from jobs.dataset_admin import catalogue
from jobs.dataset_admin.catalogue import Entry
from jobs.events import timestamp
from jobs.uploads import Upload

#: Uploads that run which the page names.
RUNNING_SHOWN = 1
#: Digits of the largest number of rows.
_DIGITS = 15


@dataclass(frozen=True)
class DatasetState:
    """A dataset without its rows. running: the newest uploads into it that have not ended, at most RUNNING_SHOWN and
    one more."""

    entry: Entry
    running: Sequence[Upload]

    @classmethod
    def read(cls, connection: sa.Connection, name: str) -> Self:
        """Raises DatasetNotFoundError."""
        return cls(catalogue.entry(connection, name), catalogue.running(connection, name, limit=RUNNING_SHOWN + 1))

    @property
    def key(self) -> tuple[object, ...]:
        """Changes with everything that the page says."""
        entry = self.entry
        return entry.name, entry.rows, entry.changed_at, *((each.id, each.seq) for each in self.running)


@dataclass(frozen=True)
class News:
    """What changed since the page was made, in words, and where to see it."""

    text: str
    url: str


@dataclass(frozen=True)
class Shown:
    """The state of a dataset when its page was made. changed_at: "" if it had no rows."""

    rows: int
    changed_at: str

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(entry.rows, timestamp(entry.changed_at) if entry.changed_at else "")

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self | None:
        """None if the query does not say it."""
        rows = query.get("rows", "")
        return cls(int(rows), query.get("changed", "")) if rows.isdecimal() and len(rows) <= _DIGITS else None

    @property
    def query(self) -> str:
        return urlencode({"rows": self.rows, "changed": self.changed_at})

    def news(self, entry: Entry) -> News | None:
        """What the page does not show yet."""
        added, last = entry.rows - self.rows, entry.last_upload
        if Shown.of(entry) == self:
            return None
        text = "Rows have changed" if added <= 0 else "1 new row" if added == 1 else f"{added:,} new rows"
        here = f"/datasets/{entry.name}"
        is_of_last = last is not None and last.rows_success >= max(added, 1)
        return News(text, f"{here}?{urlencode({'upload': last.id})}" if last is not None and is_of_last else here)
