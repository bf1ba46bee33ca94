"""What an upload's page shows beside its figures: pictures of its course, its log and attempts, related uploads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup, escape

from jobs.attempts import ENDS, Attempt, UploadLog
from jobs.excerpt import excerpt
from jobs.failed_rows import FailureCount
from jobs.failure_map import FailureMap, Stretch
from jobs.repair import rules
from jobs.repair.rules import Rule
from jobs.siblings import Sibling
from jobs.upload_log import By, Entry, Kind, Via
from jobs.uploads import Phase, Status, Task, Upload
from webapp.templating import duration

#: Cells of the strip that shows where in a file rows fail.
STRIP_CELLS = 100
#: Height of the sparkline, in units of its own.
SPARK_HEIGHT = 32.0
#: Entries that the log shows, the last ones; the others are folded.
ENTRIES_SHOWN = 8
#: Entries and attempts that a page has at most.
MAX_ENTRIES, MAX_ATTEMPTS = 60, 30
#: Rules of which it says what they changed.
RULES_SHOWN = 20
#: Shares of a file at which a milestone is worth a line in the log.
_QUARTERS = (0.25, 0.5, 0.75)
#: Characters of a reason in the log.
_WHY_LENGTH = 200


@dataclass(frozen=True)
class Records:
    """What the page of an upload is made of, beside its record.

    counts: the reasons, the most frequent first. last: the last uploads of its dataset, newest first. parent, children:
    uploads whose failed rows it corrects, and that correct its own. rules: those that its dataset has now.
    has_receipt: whether there is one.
    """

    log: UploadLog
    counts: Sequence[FailureCount] = ()
    map: FailureMap = field(default_factory=FailureMap)
    last: Sequence[Sibling] = ()
    parent: Sibling | None = None
    children: Sequence[Sibling] = ()
    rules: Sequence[Rule] = ()
    has_receipt: bool = False


class RunView:
    """The course of an import."""

    def __init__(self, upload: Upload, records: Records) -> None:
        self._upload = upload
        self.reasons = [ReasonView.of(upload, count) for count in records.counts]
        self.spark = Sparkline.of(upload, records.log.entries)
        self.strip = Strip.of(upload, records.map)
        entries = list(_worth_a_line(upload, records.log.entries))[-MAX_ENTRIES:]
        self.earlier, self.entries = entries[:-ENTRIES_SHOWN], entries[-ENTRIES_SHOWN:]
        self.attempts = [AttemptView.of(attempt) for attempt in records.log.attempts[-MAX_ATTEMPTS:]]
        self.attempts_left_out = len(records.log.attempts) - len(self.attempts)
        self.has_incident = len(self.attempts) > 1 or any(each.is_incident for each in self.attempts)
        self.last = _compared(upload, records.last)
        self.parent, self.children = records.parent, records.children
        self.ruled = RuledView.all_of(upload, records.rules)
        self.has_receipt = records.has_receipt


@dataclass(frozen=True)
class RuledView:
    """What a rule changed. title: of the rule as it is now; None if it was removed."""

    id: int
    column: str | None
    title: str | None
    cells: int
    samples: list[list[str]]

    @classmethod
    def all_of(cls, upload: Upload, present: Sequence[Rule]) -> "list[RuledView]":
        by_id = {rule.id: rule.repair for rule in present}
        samples: dict[int, list[list[str]]] = {}
        for each in upload.rules:
            samples.setdefault(each["id"], []).extend(each["samples"])
        found = [(counted["id"], counted["cells"]) for counted in rules.cells(upload.rules)]
        return [
            cls(
                number,
                repair.column if repair else None,
                repair.title if repair else None,
                cells,
                samples[number][: rules.SAMPLES],
            )
            for number, cells in found[:RULES_SHOWN]
            for repair in [by_id.get(number)]
        ]


@dataclass(frozen=True)
class ReasonView:
    """A reason for which rows failed. share: percent of the failed rows. url: of the rows that failed for it."""

    column: str | None
    rule: str
    rows: int
    share: float
    url: str

    @classmethod
    def of(cls, upload: Upload, count: FailureCount) -> "ReasonView":
        query = urlencode({"column": count.column or "", "rule": count.rule})
        share = min(100.0, count.rows * 100 / (upload.rows_failed or 1))
        column = count.column and excerpt(count.column)
        return cls(column, excerpt(count.rule), count.rows, share, f"/uploads/{upload.id}?{query}#failed-rows")


@dataclass(frozen=True)
class Sparkline:
    """Rows per second over the time of all attempts, as points of a line from 0 to 100 and SPARK_HEIGHT to 0.

    line, area: "" if the import was too short for a curve. text: the picture in words. fastest: rows per second.
    """

    line: str
    area: str
    text: str
    fastest: int

    @classmethod
    def of(cls, upload: Upload, entries: Sequence[Entry]) -> "Sparkline":
        rates = list(_rates(upload, entries))
        total = sum(seconds for seconds, _ in rates)
        if len(rates) < 3 or not total:
            return cls("", "", "", 0)
        fastest = max(rate for _, rate in rates) or 1.0
        points, passed = [], 0.0
        for seconds, rate in rates:
            y = SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 3) * rate / fastest
            points += [f"{passed * 100 / total:.2f},{y:.1f}", f"{(passed + seconds) * 100 / total:.2f},{y:.1f}"]
            passed += seconds
        words = f"Rows per second: {rates[0][1]:,.0f} at first, {fastest:,.0f} at most, {rates[-1][1]:,.0f} at last."
        line = " ".join(points)
        return cls(line, f"0,{SPARK_HEIGHT:g} {line} 100,{SPARK_HEIGHT:g}", words, round(fastest))


def _rates(upload: Upload, entries: Sequence[Entry]) -> Iterator[tuple[float, float]]:
    """The seconds between two entries of an attempt, and the rows per second in them. Checks import no row."""
    checks = _checks(upload, entries)
    marks = [(entry.attempt, entry.at, entry.rows_processed, entry.kind) for entry in entries]
    if upload.status is Status.PROCESSING:
        marks.append((upload.attempt, upload.updated_at, upload.rows_processed, Kind.MILESTONE))
    for (attempt, before, rows, kind), (later_attempt, after, more_rows, _) in pairwise(marks):
        seconds = (after - before).total_seconds()
        is_import = attempt not in checks and kind not in ENDS and kind is not Kind.RETRIED
        if attempt == later_attempt and is_import and seconds > 0:
            yield seconds, max(0, more_rows - rows) / seconds


def _checks(upload: Upload, entries: Sequence[Entry]) -> set[int]:
    """The attempts that only looked at the file or checked it."""
    running = {upload.attempt} if upload.status is Status.PROCESSING and upload.phase is Phase.CHECK else set()
    ended = {each.attempt for each in entries if each.kind in (Kind.HELD, Kind.ORDERED) and not each.rows_processed}
    return ended | running


class Cell(NamedTuple):
    """A stretch of a file. height: percent of the cell that is filled, by the share of its rows that failed. is_read:
    whether the import has reached it. url: of its failed rows, "" if there are none to show."""

    first: int
    last: int
    failed: int
    height: int
    is_read: bool
    url: str

    @property
    def name(self) -> str:
        """For the middle of a sentence."""
        return f"row {self.first:,}" if self.first == self.last else f"rows {self.first:,} to {self.last:,}"

    @property
    def title(self) -> str:
        where = self.name.capitalize()
        if not self.is_read:
            return f"{where}: not read yet"
        return f"{where}: {self.failed:,} failed" if self.failed else f"{where}: none failed"

    def drawn(self, x: int) -> str:
        """Its SVG, in a picture that is as wide as there are cells, and 100 high."""
        place = f'x="{x}" width=".8"'
        whole = f'<rect class="{"cell-read" if self.is_read else "cell-left"}" {place} height="100"/>'
        if not self.failed:
            return f"<g><title>{self.title}</title>{whole}</g>"
        part = f'<rect class="cell-bad" {place} y="{100 - self.height}" height="{self.height}"/>'
        found = f"<g><title>{self.title}</title>{whole}{part}</g>"
        return f'<a href="{escape(self.url)}" tabindex="-1">{found}</a>' if self.url else found


#: Percent of a cell of the strip that can be seen.
_LEAST_HEIGHT = 24


@dataclass(frozen=True)
class Strip:
    """Where in the file rows fail. worst: the cell with the most of them. Without cells, nobody knows."""

    cells: Sequence[Cell]
    worst: Cell | None

    @property
    def drawing(self) -> Markup:
        """The SVG of the cells. Here and not in the template, which takes four times as long for a hundred of them: a
        sixth of a page view."""
        return Markup("".join([cell.drawn(x) for x, cell in enumerate(self.cells)]))

    @classmethod
    def of(cls, upload: Upload, failed: FailureMap) -> "Strip":
        if upload.rows_failed and not failed.rows:  # an earlier release did not count them, or removed the counts
            return cls([], None)
        stretches = failed.stretches(_rows_expected(upload), STRIP_CELLS)
        read = upload.rows_processed if upload.is_active else stretches[-1].last if stretches else 0
        cells = [_cell(upload, stretch, read) for stretch in stretches]
        worst = max(cells, key=lambda cell: cell.failed, default=None)
        return cls(cells, worst if worst and worst.failed else None)


def _rows_expected(upload: Upload) -> int:
    """The rows of the file: counted, or estimated from what was read of it."""
    if upload.rows_total:
        return upload.rows_total
    if upload.bytes_total and upload.next_byte and upload.rows_processed:
        return max(upload.rows_processed, upload.rows_processed * upload.bytes_total // upload.next_byte)
    return upload.rows_processed


def _cell(upload: Upload, stretch: Stretch, read: int) -> Cell:
    """read: rows that the import has reached."""
    first, last, failed = stretch
    if not failed:
        return Cell(first, last, 0, 0, first <= read, "")
    height = max(_LEAST_HEIGHT, round(100 * min(1.0, failed / (last - first + 1))))
    url = f"/uploads/{upload.id}?after={first - 1}#failed-rows" if upload.failed_rows_removed_at is None else ""
    return Cell(first, last, failed, height, first <= read, url)


@dataclass(frozen=True)
class EntryView:
    """A line of the log. tone: of its dot. text, detail: for people."""

    seq: int
    at: datetime
    tone: str
    text: str
    detail: str


_TONES = {
    Kind.COMPLETED: "good",
    Kind.FAILED: "bad",
    Kind.CUT: "warn",
    Kind.LEASE_LOST: "warn",
    Kind.SILENT: "warn",
    Kind.CLAIMED: "active",
    Kind.RESUMED: "active",
    Kind.STARTED: "active",
    Kind.APPROVED: "active",
}
_VIA = {
    Via.WEB: "in the browser",
    Via.API: "by the API",
    Via.COMMAND: "on the command line",
    Via.SCRIPT: "by its script",
}


def _worth_a_line(upload: Upload, entries: Sequence[Entry]) -> Iterator[EntryView]:
    """The entries for people: of the milestones, one for each quarter of the file."""
    total = _rows_expected(upload)
    quarters, checks = list(_QUARTERS), _checks(upload, entries)
    for entry in entries:
        if entry.kind is Kind.MILESTONE:
            passed = [quarter for quarter in quarters if total and entry.rows_processed >= quarter * total]
            if not passed or entry.rows_processed == total:
                continue
            quarters = [quarter for quarter in quarters if quarter not in passed]
        tone = "warn" if entry.kind is Kind.COMPLETED and (upload.rows_failed or upload.warnings) else None
        words = _in_words(entry, is_undo=upload.is_undo, is_check=entry.attempt in checks)
        yield EntryView(entry.seq, entry.at, tone or _TONES.get(entry.kind, "muted"), *words)


def _in_words(entry: Entry, *, is_undo: bool = False, is_check: bool = False) -> tuple[str, str]:
    rows = f"{entry.rows_processed:,} {'row' if entry.rows_processed == 1 else 'rows'}"
    failed = f"{entry.rows_failed:,} failed" if entry.rows_failed else ""
    detail = excerpt(entry.detail or "", _WHY_LENGTH)
    worker = f"{entry.worker}, attempt {entry.attempt}" if entry.worker else f"attempt {entry.attempt}"
    match entry.kind:
        case Kind.CREATED:
            return (f"Ordered{_by(entry.by)}" if is_undo else f"Uploaded{_by(entry.by, sent=True)}"), ""
        case Kind.CLAIMED:
            return f"{'Undo' if is_undo else 'Check' if is_check else 'Import'} started", worker
        case Kind.RESUMED:
            return f"Continued after {rows}", worker
        case Kind.STARTED:
            return "First report of the external script", ""
        case Kind.MILESTONE:
            return rows, failed
        case Kind.HANDED_BACK:
            return f"Interrupted after {rows}", detail
        case Kind.LEASE_LOST:
            return f"Worker lost after {rows}", detail
        case Kind.CUT:
            return f"Stopped by the watchdog after {rows}", detail
        case Kind.SILENT:
            return "No reports from the external script", ""
        case Kind.HELD:
            return "Waits for a review", detail
        case Kind.ORDERED:
            return f"{'Check' if entry.detail == Task.CHECK else 'Another look'} asked for{_by(entry.by)}", ""
        case Kind.APPROVED:
            return f"Reviewed: to be imported{_by(entry.by)}", ""
        case Kind.CANCELLED:
            return f"Cancelled{_by(entry.by)}", detail
        case Kind.RETRIED:
            return f"Retried{_by(entry.by)}", detail
        case Kind.COMPLETED:
            return "Completed", f"{rows}, {failed}" if failed else rows
        case Kind.UNDONE:
            return f"Undone {detail}", ""
        case Kind.REDONE:
            return "In effect again: its undo was undone", ""
        case Kind.FAILED:
            return f"Failed after {rows}" if entry.rows_processed else "Failed", detail


def _by(by: By | None, *, sent: bool = False) -> str:
    if by is None:
        return ""
    if by.name is not None:
        return f" by {by.name}"
    if sent and by.via is Via.COMMAND:
        return " by bulk-upload load"
    return f" {_VIA[by.via]}"


@dataclass(frozen=True)
class AttemptView:
    """An attempt. rows: from which row to which. end: how it ended; is_incident: not by itself."""

    number: int
    worker: str
    began_at: datetime
    seconds: str | None
    began_at_row: int
    ended_at_row: int | None
    end: str
    is_incident: bool

    @classmethod
    def of(cls, attempt: Attempt) -> "AttemptView":
        seconds = (attempt.ended_at - attempt.began_at).total_seconds() if attempt.ended_at else None
        why = excerpt(attempt.why or "", _WHY_LENGTH)
        end = "Running" if attempt.end is None else _ENDS_IN_WORDS[attempt.end]
        is_early = attempt.end in (Kind.HANDED_BACK, Kind.LEASE_LOST, Kind.CUT)
        return cls(
            attempt.number,
            attempt.worker or "External script",
            attempt.began_at,
            None if seconds is None else duration(max(0.0, seconds)),
            attempt.began_at_row,
            attempt.ended_at_row,
            f"{end}: {why}" if why and is_early else end,
            is_early,
        )


_ENDS_IN_WORDS: Mapping[Kind, str] = {
    Kind.HANDED_BACK: "Interrupted",
    Kind.LEASE_LOST: "Worker lost",
    Kind.CUT: "Stopped by the watchdog",
    Kind.HELD: "Held for a review",
    Kind.CANCELLED: "Cancelled",
    Kind.COMPLETED: "Completed",
    Kind.FAILED: "Failed",
}


@dataclass(frozen=True)
class SiblingView:
    """An upload of the same dataset. is_this: the one of the page. width: percent of the longest duration."""

    sibling: Sibling
    is_this: bool
    width: float
    duration: str | None
    failed_percent: str
    tone: str
    label: str


def _compared(upload: Upload, last: Sequence[Sibling]) -> list[SiblingView]:
    """The last uploads of the dataset with this one among them; [] if it is the only one."""
    this = Sibling.from_upload(upload)
    found = sorted([this, *(each for each in last if each.id != upload.id)], key=lambda each: -each.id)
    if len(found) == 1:
        return []
    longest = max((each.seconds or 0.0 for each in found), default=0.0) or 1.0
    return [
        SiblingView(
            each,
            each.id == upload.id,
            (each.seconds or 0.0) * 100 / longest,
            None if each.seconds is None else duration(each.seconds),
            _percent(each.failed_share),
            *_outcome(each),
        )
        for each in found
    ]


def _percent(share: float | None) -> str:
    if share is None:
        return "\u2013"
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if 0 < share < 0.995 else f"{share * 100:.0f} %"


def _outcome(sibling: Sibling) -> tuple[str, str]:
    if sibling.is_undone:
        return "muted", "Undone"
    if sibling.status is Status.COMPLETED:
        if sibling.rows_failed:
            return "warn", "Completed with failed rows"
        return ("warn", "Completed with warnings") if sibling.has_warnings else ("good", "Completed")
    tones = {Status.FAILED: "bad", Status.PROCESSING: "active", Status.PENDING: "pending"}
    return tones.get(sibling.status, "muted"), sibling.status.capitalize()
