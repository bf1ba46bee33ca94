"""The filters and the page of the history that a request asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from jobs.events import Event
from jobs.history_query import HistoryQuery
from jobs.uploads import Status
from webapp.errors import InvalidQueryError

#: Uploads on a page of the history.
PAGE_SIZE = 25
#: Uploads in the list of those that ended lately.
RECENT = 20


@dataclass(frozen=True)
class HistoryView(HistoryQuery):
    """A query and one page of its results. cursor: the newest id on the page, None for the first page."""

    cursor: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """From `q`, `status` and `cursor`; others are ignored. Raises InvalidQueryError."""
        status, cursor = query.get("status"), query.get("cursor")
        if status is not None and status not in list(Status):
            raise InvalidQueryError("status", f"must be one of {', '.join(Status)}.")
        if cursor is not None and not (cursor.isdecimal() and len(cursor) < 19):
            raise InvalidQueryError("cursor", "must be the id of an upload.")
        return cls(
            search=query.get("q", "").replace("\x00", "").strip()[:200],  # PostgreSQL rejects NUL
            status=None if status is None else Status(status),
            cursor=None if cursor is None else int(cursor),
        )

    @property
    def is_newest(self) -> bool:
        """Whether this is the first page without filters, which shows every new upload at the top."""
        return self == HistoryView()

    @property
    def is_filtered(self) -> bool:
        """Whether a change of an upload can add it to the view or remove it."""
        return bool(self.search or self.status)

    def includes(self, event: Event) -> bool:
        """Whether the upload now belongs on this page, or on a later one if this page is full."""
        is_behind = self.cursor is None or event.file_id <= self.cursor
        return is_behind and self.matches(event.filename, event.dataset, event.status)

    def at(self, cursor: int | None) -> "HistoryView":
        return replace(self, cursor=cursor)

    def url(self, path: str, **more: str) -> str:
        given = {"q": self.search, "status": self.status or "", "cursor": str(self.cursor or ""), **more}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{path}?{query}" if query else path
