"""Which part of the history a page shows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from jobs.events import Event
from jobs.uploads import Status

#: Uploads on a page of the history.
PAGE_SIZE = 25


@dataclass(frozen=True)
class HistoryView:
    """search: part of a name. status: only these. cursor: the newest id on the page, None for the newest there are."""

    search: str = ""
    status: Status | None = None
    cursor: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """What cannot be understood is as if it were not there."""
        status, cursor = query.get("status", ""), query.get("cursor", "")
        return cls(
            search=query.get("q", "").replace("\x00", "").strip()[:200],  # PostgreSQL takes no NUL
            status=Status(status) if status in list(Status) else None,
            cursor=int(cursor) if cursor.isdecimal() and len(cursor) < 19 else None,
        )

    @property
    def is_newest(self) -> bool:
        """Whether every new upload belongs on it, at the top."""
        return self == HistoryView()

    @property
    def is_filtered(self) -> bool:
        """Whether an upload may come to belong to it, or cease to, by what becomes of it."""
        return bool(self.search or self.status)

    def matches(self, event: Event) -> bool:
        """Whether the upload belongs to it now: on this page, or behind it if that is full."""
        words = self.search.lower()
        return (
            (self.status is None or event.status == self.status)
            and (self.cursor is None or event.file_id <= self.cursor)
            and (words in event.filename.lower() or words in (event.dataset or "").lower())
        )

    def at(self, cursor: int | None) -> "HistoryView":
        return replace(self, cursor=cursor)

    def url(self, path: str, **more: str) -> str:
        given = {"q": self.search, "status": self.status or "", "cursor": str(self.cursor or ""), **more}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{path}?{query}" if query else path
