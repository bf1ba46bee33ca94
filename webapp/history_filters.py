"""The filters of the history as its page shows them: what can be chosen, and what is chosen."""

from dataclasses import dataclass, replace

from jobs.history_query import Outcome
from jobs.uploads import IMPORT, REPAIR, UNDO, Status
from webapp.history import HistoryView

#: What the menu of states offers, in the words of the badges.
_STATES: list[tuple[str, Status | None, Outcome | None]] = [
    ("Any", None, None),
    ("Pending", Status.PENDING, None),
    ("Processing", Status.PROCESSING, None),
    ("Needs review", Status.HELD, None),
    ("Completed", Status.COMPLETED, None),
    ("Completed with failed rows", None, Outcome.FAILED_ROWS),
    ("Completed with warnings", None, Outcome.WARNINGS),
    ("Completed without either", None, Outcome.CLEAN),
    ("Failed", Status.FAILED, None),
    ("Cancelled", Status.CANCELLED, None),
    ("Undone", None, Outcome.UNDONE),
]
#: What the menu of kinds offers.
_KINDS = [("Any", ""), ("Imports", IMPORT), ("Repairs", REPAIR), ("Undos", UNDO)]
_TIMES = [("Any time", ""), ("Last 24 hours", "24h"), ("Last 7 days", "7d"), ("Last 30 days", "30d")]


@dataclass(frozen=True)
class Choice:
    """One of those that a menu offers."""

    text: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Chosen:
    """A filter that is set. url: of the page without it."""

    text: str
    url: str


class HistoryFilters:
    """kept: for each form, what it does not set, as names and values of hidden fields."""

    def __init__(self, view: HistoryView, visitor: str | None = None) -> None:
        """visitor: the name of whoever reads the page, if it has one."""
        first = view.at(None)
        self.view = view
        self.states = [
            Choice(text, _url(replace(first, status=status, outcome=outcome)), (status, outcome) == _state(view))
            for text, status, outcome in _STATES
        ]
        self.times = [
            Choice(text, _url(replace(first, since=since, until="")), (since, "") == (view.since, view.until))
            for text, since in _TIMES
        ]
        self.kinds = [Choice(text, _url(replace(first, kind=kind)), kind == view.kind) for text, kind in _KINDS]
        #: Of the visitor's own uploads; None if the page shows those, or the visitor has no name.
        self.mine_url = _url(replace(first, uploaded_by=visitor)) if visitor and not view.uploaded_by else None
        self.state = _state_text(view)
        self.time = _time_text(view)
        self.kind = next((text for text, kind in _KINDS[1:] if kind == view.kind), "")
        set_ = {
            "search": (view.search and f"“{view.search}”", replace(first, search="")),
            "state": (self.state, replace(first, status=None, outcome=None)),
            "dataset": (view.dataset, replace(first, dataset="")),
            "time": (self.time, replace(first, since="", until="")),
            "kind": (self.kind, replace(first, kind="")),
            "person": (view.uploaded_by, replace(first, uploaded_by="")),
        }
        self.chosen = {name: Chosen(text, _url(without)) for name, (text, without) in set_.items() if text}
        self.kept = {name: list(without.parameters.items()) for name, (_, without) in set_.items()}

    @property
    def is_day(self) -> bool:
        """Whether the time is given by days, which the fields for days show."""
        return all(not text or text[4:5] == "-" for text in (self.view.since, self.view.until))

    @property
    def sentence(self) -> str:
        """Which filters no upload matches."""
        view = self.view
        parts = [
            f"named like “{view.search}”" if view.search else "",
            f"among the {self.kind.lower()}" if self.kind else "",
            f"with the state “{self.state}”" if self.state else "",
            f"in the dataset “{view.dataset}”" if view.dataset else "",
            f"uploaded {_in_sentence(self.time)}" if self.time else "",
            f"uploaded by {view.uploaded_by}" if view.uploaded_by else "",
        ]
        return f"No upload {', '.join(filter(None, parts))}."


def _url(view: HistoryView) -> str:
    return view.url("/uploads")


def _state(view: HistoryView) -> tuple[Status | None, Outcome | None]:
    return view.status, view.outcome


def _state_text(view: HistoryView) -> str:
    """In words; "" for any. An address may combine a status with an outcome, which no choice does."""
    words = {(status, outcome): text for text, status, outcome in _STATES[1:]}
    words[None, Outcome.HELD] = words[Status.HELD, None]
    if known := words.get(_state(view)):
        return known
    implied = Status.HELD if view.outcome is Outcome.HELD else Status.COMPLETED
    status = None if view.status is implied else view.status
    return ", ".join(words[each] for each in ((status, None), (None, view.outcome)) if each in words)


def _time_text(view: HistoryView) -> str:
    """In words; "" for any time."""
    known = {(since, ""): text for text, since in _TIMES[1:]}
    if text := known.get((view.since, view.until)):
        return text
    return " ".join(
        f"{word} {_moment(text)}" for word, text in (("Since", view.since), ("until", view.until)) if text
    ).capitalize()


def _in_sentence(time: str) -> str:
    return f"in the {time.lower()}" if time.startswith("Last") else time.lower()


def _moment(text: str) -> str:
    return text if text[4:5] == "-" else f"{text} ago"
