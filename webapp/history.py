"""The filters and the page of the history that a request asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlencode

from jobs.events import Event
from jobs.history_query import Facts, HistoryQuery, Outcome, outcomes
from jobs.uploads import IMPORT, REPAIR, UNDO, Status
from webapp import moments, parameters
from webapp.parameters import MOST_DIGITS, Parameter

#: Uploads on a page of the history.
PAGE_SIZE = 25
#: Uploads in the list of those that ended lately.
RECENT = 20
#: Characters of a search, and of the name of a dataset.
LONGEST_TEXT = 200
#: The stream's name of the filter `since`: its own `since` is the moment up to which a page is complete.
_STREAM_SINCE = "uploaded_since"

SEARCH = parameters.text("q", "Part of the name of the file or of the dataset, in any case.", longest=LONGEST_TEXT)
STATUS = parameters.choice("status", "Only uploads with this status.", Status, empty_too=False)
OUTCOME = parameters.choice("outcome", "Only uploads that ended like this.", Outcome)
DATASET = parameters.text("dataset", "Only uploads into this dataset.", longest=LONGEST_TEXT)
SINCE = parameters.moment("since", "Only uploads that were created at this time or later.")
UNTIL = parameters.moment("until", "Only uploads that were created before this time, of a day before its end.")
UPLOADED_BY = parameters.text("uploaded_by", "Only uploads of this account.", longest=LONGEST_TEXT)
KIND = parameters.choice("kind", "Only uploads of this kind.", (IMPORT, REPAIR, UNDO))
CURSOR = parameters.number(
    "cursor",
    "Where the page begins.",
    least=0,
    most=10**MOST_DIGITS - 1,
    default=None,
    wanted="must be the id of an upload.",
)
PARAMETERS: tuple[Parameter[Any], ...] = (SEARCH, STATUS, OUTCOME, DATASET, SINCE, UNTIL, UPLOADED_BY, KIND, CURSOR)


@dataclass(frozen=True)
class HistoryView:
    """The filters of the history, and one page of what matches.

    search: part of a name; "" for any. since, until: as in the URL ("7d", "2026-01-31", a time); "" for any. cursor:
    the newest id on the page, None for the first page.
    """

    search: str = ""
    status: Status | None = None
    cursor: int | None = None
    outcome: Outcome | None = None
    dataset: str = ""
    since: str = ""
    until: str = ""
    uploaded_by: str = ""
    kind: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """From `q`, `status`, `outcome`, `dataset`, `since`, `until`, `uploaded_by`, `kind` and `cursor`; others are
        ignored.

        Raises InvalidQueryError.
        """
        status, outcome = STATUS.read(query), OUTCOME.read(query)
        return cls(
            search=SEARCH.read(query),
            status=None if status is None else Status(status),
            outcome=None if outcome is None else Outcome(outcome),
            dataset=DATASET.read(query),
            since=SINCE.read(query),
            until=UNTIL.read(query),
            uploaded_by=UPLOADED_BY.read(query),
            kind=KIND.read(query) or "",
            cursor=CURSOR.read(query),
        )

    @classmethod
    def from_stream_query(cls, query: Mapping[str, str]) -> Self:
        """From the parameters of the stream of a page (`stream_url`). Raises InvalidQueryError."""
        others = {name: value for name, value in query.items() if name != "since"}
        return cls.from_query({**others, "since": others.get(_STREAM_SINCE, "")})

    @property
    def is_newest(self) -> bool:
        """Whether this is the first page without filters, which shows every new upload at the top."""
        return self == HistoryView()

    @property
    def is_filtered(self) -> bool:
        """Whether a change of an upload can add it to the view or remove it."""
        return self.at(None) != HistoryView()

    @property
    def query(self) -> HistoryQuery:
        """What is to be searched now."""
        return HistoryQuery(
            self.search,
            self.status,
            self.outcome,
            self.dataset or None,
            moments.beginning(self.since) if self.since else None,
            moments.end(self.until) if self.until else None,
            self.uploaded_by or None,
            self.kind or None,
        )

    def includes(self, event: Event) -> bool:
        """Whether the upload now belongs on this page, or on a later one if this page is full."""
        is_behind = self.cursor is None or event.file_id <= self.cursor
        return is_behind and self.query.matches(_facts(event))

    def at(self, cursor: int | None) -> "HistoryView":
        return replace(self, cursor=cursor)

    def url(self, path: str, **more: str) -> str:
        return _url(path, {**self.parameters, **more})

    def stream_url(self, since: str) -> str:
        """The address of the stream of this page. since: the moment up to which the page is complete."""
        return _url("/uploads/events", {**self.parameters, _STREAM_SINCE: self.since, "since": since})

    @property
    def parameters(self) -> dict[str, str]:
        """Of the URL, without those that are not set."""
        found = {
            "q": self.search,
            "status": self.status or "",
            "outcome": self.outcome or "",
            "dataset": self.dataset,
            "since": self.since,
            "until": self.until,
            "uploaded_by": self.uploaded_by,
            "kind": self.kind,
            "cursor": str(self.cursor or ""),
        }
        return {name: value for name, value in found.items() if value}


def _url(path: str, parameters: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{path}?{query}" if query else path


def _facts(event: Event) -> Facts:
    """What filters look at. An event of an earlier release has no time: it is shown as if it were new."""
    created_at = datetime.fromisoformat(event.created_at) if event.created_at else datetime.now(UTC)
    found = outcomes(event.status, event.rows_failed, event.warnings, event.attempt, event.error, event.undone_by)
    return Facts(event.filename, event.dataset, event.status, found, created_at, event.uploaded_by, event.kind)
