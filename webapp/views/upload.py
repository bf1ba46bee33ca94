"""An upload as pages show it: its record, with labels and derived numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs import deleted_names, expectations
from jobs.excerpt import excerpt
from jobs.forecast import Place
from jobs.lanes import Lane
from jobs.modes import Mode
from jobs.queue import QueueStatus
from jobs.uploads import CANCELLABLE, TERMINAL, HoldCode, Phase, Remedy, Status, Upload
from jobs.warnings import UploadWarning
from webapp.templating import duration
from webapp.views.receipt import BalanceView

#: Characters of an error, and of a warning.
ERROR_LENGTH, WARNING_LENGTH = 2_000, 600
#: Characters of an entry that a warning lists: it may have 20, and an upload 50 warnings.
ENTRY_LENGTH = 60
#: Entries that the sentence of a warning names itself (jobs/warnings.py).
NAMED = 5
#: Percent of a bar below which a part of it could not be seen.
VISIBLE = 1.5

#: What helps with a warning, if its own sentence does not say so.
_HELP = {
    "sheets_ignored": "To import other worksheets, upload the file again and choose them.",
    "lines_skipped": "To import a second table, save it as a file of its own and upload that.",
    "fields_empty": "If the file has it under another name, rename that column and upload the file again.",
}

_DELIMITERS = {",": "Comma", ";": "Semicolon", "\t": "Tab", "|": "Pipe", " ": "Space"}

_LABELS = {
    Status.PENDING: ("Pending", "pending"),
    Status.PROCESSING: ("Processing", "active"),
    Status.HELD: ("Needs review", "muted"),
    Status.COMPLETED: ("Completed", "good"),
    Status.FAILED: ("Failed", "bad"),
    Status.CANCELLED: ("Cancelled", "muted"),
}


#: Uploads of corrections that a page links to: the newest.
LISTED_UPLOADS = 20


@dataclass(frozen=True)
class Corrections:
    """Of the failed rows of an upload.

    children: ids of the uploads that correct them, if not undone. open_elsewhere: the id of another upload in which
    some of them are open → how many.
    """

    children: Sequence[int] = ()
    open_elsewhere: Mapping[int, int] = field(default_factory=dict)


NO_CORRECTIONS = Corrections()


class UploadView:
    """An upload's record, with labels and derived numbers.

    The record's attributes keep their names. Rates are rows per second.
    """

    def __init__(
        self,
        upload: Upload,
        queue_status: QueueStatus,
        corrections: Corrections = NO_CORRECTIONS,
        *,
        open_undo: Upload | None = None,
        is_overtaken: bool = False,
    ) -> None:
        """open_undo: that waits, runs or was stopped half-way, and concerns the upload. is_overtaken: it is an undo of
        what was undone otherwise."""
        self._upload = upload
        self.open_undo, self._is_overtaken = open_undo, is_overtaken
        self.children = corrections.children[-LISTED_UPLOADS:]
        self.open_elsewhere = dict(list(corrections.open_elsewhere.items())[-LISTED_UPLOADS:])
        self.waiting, self.waiting_advice = _waiting(upload, queue_status)
        self.label, self.tone = _label(upload)
        self.warnings = [WarningView(each) for each in upload.warnings]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    @property
    def error(self) -> str | None:
        return self._upload.error and excerpt(self._upload.error, ERROR_LENGTH)

    @property
    def notes(self) -> list[str]:
        return self._upload.notes_shown

    @property
    def is_terminal(self) -> bool:
        return not self._upload.is_active

    @property
    def may_have_failed(self) -> bool:
        """Whether rows failed that can be repaired here, or may yet."""
        upload = self._upload
        if upload.is_external or upload.is_undo or self.is_undone or upload.failed_rows_removed_at is not None:
            return False
        return upload.is_active or upload.rows_failed > 0

    @property
    def is_undone(self) -> bool:
        return self._upload.undone_by is not None

    @property
    def can_undo(self) -> bool:
        """Whether it may have rows in the dataset that an undo takes back."""
        upload = self._upload
        if self.open_undo is not None:
            return False
        if upload.status not in TERMINAL or self.is_undone or upload.is_external or self.dataset_url is None:
            return False
        return upload.rows_success > 0 or (upload.is_undo and upload.status is Status.COMPLETED)

    @property
    def undo_note(self) -> str:
        """What an undo does with it that waits, runs or was stopped half-way, before its number; "" for nothing."""
        undo, upload = self.open_undo, self._upload
        if undo is None:
            return ""
        if upload.id in undo.undoes:
            return "Being undone by" if undo.is_active else "Its undo was stopped half-way:"
        if upload.undone_by in undo.undoes:
            return "Being put back by" if undo.is_active else "Putting it back was stopped half-way:"
        return ""

    @property
    def all_corrected(self) -> bool:
        """Whether rows failed, and each of them was imported since."""
        return 0 < self._upload.rows_failed == self._upload.rows_corrected

    @property
    def sum_after_repair(self) -> str:
        """1,000 rows: 982 + 18 after repair, 0 open"""
        return self.sum_of(self._upload)

    @staticmethod
    def sum_of(upload: Upload) -> str:
        again = f", {upload.rows_failed_again:,} failed again" if upload.rows_failed_again else ""
        return (
            f"{_rows(upload.rows_processed)}: {upload.rows_success:,} + {upload.rows_corrected:,} after repair,"
            f" {upload.rows_open:,} open{again}"
        )

    @property
    def can_cancel(self) -> bool:
        return self._upload.status in CANCELLABLE

    @property
    def cancel_label(self) -> str:
        if self._upload.is_undo:
            return "Stop undo"
        return "Cancel upload" if self._upload.is_held else "Cancel import"

    @property
    def can_delete(self) -> bool:
        """Whether it has ended, and nothing undoes it."""
        is_being_undone = self.open_undo is not None and self.open_undo.is_active
        return self._upload.status in TERMINAL and not is_being_undone

    @property
    def dataset_url(self) -> str | None:
        """The page of its dataset; None if it has none yet, or if it was deleted."""
        name = self._upload.dataset
        return f"/datasets/{name}" if name and not self.is_of_deleted else None

    @property
    def is_of_deleted(self) -> bool:
        """Whether its dataset was deleted."""
        return deleted_names.former(self._upload.dataset) is not None

    @property
    def can_retry(self) -> bool:
        """Whether the same again may end otherwise."""
        if self.open_undo is not None or self._is_overtaken or self.is_undone:
            return False
        if self.is_of_deleted or self._upload.original_removed_at is not None:
            return False
        failed_otherwise = self._upload.status is Status.FAILED and self._upload.remedy in (None, Remedy.RETRY)
        return failed_otherwise or self._upload.status is Status.CANCELLED

    @property
    def chosen_options(self) -> list[tuple[str, str]]:
        """The import options that the sender chose, with their values, for people."""
        options = self._upload.options
        found: list[tuple[str, str]] = []
        if options.encoding is not None:
            found.append(("Encoding", excerpt(options.encoding, ENTRY_LENGTH)))
        if options.delimiter is not None:
            found.append(("Delimiter", _DELIMITERS.get(options.delimiter, options.delimiter)))
        if options.header_row is not None:
            found.append(("Header row", f"{options.header_row:,}" if options.header_row else "None"))
        if options.member is not None:
            found.append(("File in the archive", excerpt(options.member, ENTRY_LENGTH)))
        if options.sheet is not None:
            found.append(("Worksheet", excerpt(options.sheet, ENTRY_LENGTH)))
        if options.all_text:
            found.append(("Column types", "Text"))
        elif options.types_of_columns:
            found.append(("Column types", f"Of {len(options.types_of_columns):,}"))
        return found

    @property
    def can_change_options(self) -> bool:
        """Whether the file may be read in another way: nothing of it is in the dataset yet. Corrections that fail again
        were read right."""
        upload = self._upload
        if (
            upload.is_undo
            or upload.is_external
            or upload.rows_success
            or self._was_refused_as_duplicate
            or upload.parent is not None
        ):
            return False
        if self.is_of_deleted or upload.original_removed_at is not None:
            return False
        return upload.status is Status.CANCELLED or (upload.status is Status.FAILED and upload.remedy is Remedy.OPTIONS)

    @property
    def needs_another_file(self) -> bool:
        return self._upload.status is Status.FAILED and not (self.can_retry or self.can_change_options)

    @property
    def next_step(self) -> str:
        """The one action that helps most: import, options, retry, another, failed_rows, dataset; "" while it runs."""
        upload = self._upload
        if upload.is_active:
            return ""
        if upload.is_held:
            return "import"
        if self.is_undone or (upload.is_undo and upload.status is Status.COMPLETED):
            return "dataset" if self.dataset_url else ""
        if upload.status is not Status.COMPLETED:
            if self.can_retry:
                return "retry"
            if upload.is_undo:
                return "dataset" if self.dataset_url else ""
            return "options" if self.can_change_options else "another"
        if upload.rows_open and not upload.is_external:
            return "failed_rows"
        return "dataset" if self.dataset_url else ""

    @property
    def headline(self) -> str:
        """What happened, as a sentence."""
        upload = self._upload
        into = f" into {upload.dataset}" if upload.dataset else ""
        if upload.status is Status.PENDING:
            return f"{self.waiting or 'Queued'}."
        if upload.is_undo:
            return self._undo_headline
        if upload.status is Status.PROCESSING:
            if upload.phase is Phase.CHECK:
                return "Checking the file. Nothing is imported yet."
            if upload.replaces_all:
                return f"Replacing all rows of {upload.dataset}. The old ones stay until all new ones are read."
            return "Inferring column types." if self.is_inferring else f"Importing{into}."
        if upload.holds_totals:
            return f"{_rows(upload.rows_success)} {self._waiting_for_totals}. Look at this first."
        if upload.is_held:
            return "Nothing is imported yet. Look at this first."
        if upload.status is Status.FAILED:
            return "The import failed."
        if upload.status is Status.CANCELLED:
            return "The import was cancelled."
        if upload.is_divided:
            return "Each part of this file is an upload of its own."
        if self.is_undone:
            was = "was" if upload.rows_success == 1 else "were"
            return f"{_rows(upload.rows_success)} {was} imported{into}, until upload #{upload.undone_by} undid it."
        failed = f", {upload.rows_failed:,} failed" if upload.rows_failed else ""
        if upload.replaces_all:
            removed = f"{upload.rows_removed or 0:,} removed"
            return f"Replaced all rows of {upload.dataset}: {upload.rows_added or 0:,} new, {removed}{failed}."
        if upload.mode is Mode.ONLY_NEW and upload.rows_added is not None:
            left = upload.rows_success - upload.rows_added
            return f"{_rows(upload.rows_added)} imported{into}, {left:,} there already{failed}."
        if upload.rows_unchanged:
            changed = f"{upload.rows_success - upload.rows_unchanged:,} new or changed"
            return (
                f"{_rows(upload.rows_success)} imported{into}: {changed}, {upload.rows_unchanged:,} unchanged{failed}."
            )
        return f"{_rows(upload.rows_success)} imported{into}{failed}."

    @property
    def _waiting_for_totals(self) -> str:
        """Where the rows are of an upload that does not balance."""
        upload = self._upload
        if upload.replaces_all:
            return f"{'waits' if upload.rows_success == 1 else 'wait'} to replace those of {upload.dataset}"
        return f"imported into {upload.dataset}"

    @property
    def balance(self) -> list[BalanceView]:
        """What was expected of it, and what was found."""
        return list(map(BalanceView.of, self._upload.balance))

    @property
    def balances(self) -> bool | None:
        """Whether all of that is alike; None: nothing was expected, or it was not compared yet."""
        if self._upload.holds_totals:
            return False
        return expectations.balances(self._upload.balance, self._upload.warnings)

    @property
    def _undo_headline(self) -> str:
        upload = self._upload
        if upload.status is Status.PROCESSING:
            return f"Undoing #{upload.parent} in {upload.dataset}."
        if upload.status is not Status.COMPLETED:
            return "The undo failed." if upload.status is Status.FAILED else "The undo was stopped."
        removed, added = upload.rows_removed or 0, upload.rows_added or 0
        changed = upload.rows_success - removed - added
        parts = [f"{_rows(removed)} removed"] if removed else []
        parts += [f"{_rows(added)} put back"] if added else []
        parts += [f"{_rows(changed)} got other values back"] if changed else []
        what = ", ".join(parts) or "no row had to change"
        return f"#{upload.parent} is undone: {what}."

    @property
    def retry_label(self) -> str:
        if self._upload.is_undo:
            return "Continue undo" if self._upload.rows_success else "Try again"
        if self._was_refused_as_duplicate:
            return "Import anyway"
        return "Continue import" if self._upload.rows_success and not self._upload.is_external else "Try again"

    @property
    def remaining_rows(self) -> str | None:
        """What an import that did not reach its end leaves in the dataset, as a sentence."""
        upload = self._upload
        if (
            upload.is_external
            or self._was_refused_as_duplicate
            or upload.status not in (Status.FAILED, Status.CANCELLED)
        ):
            return None
        if upload.is_undo:
            return self._undo_left_over
        if upload.replaces_all:
            return f"Nothing was replaced: the rows of {upload.dataset} are as they were."
        if not upload.rows_success:
            return "Nothing was imported." if upload.status is Status.CANCELLED else None
        what = "1 row" if upload.rows_success == 1 else f"{upload.rows_success:,} rows"
        event = "cancellation" if upload.status is Status.CANCELLED else "failure"
        return f"{what} imported before the {event} {'stays' if upload.rows_success == 1 else 'stay'} in the dataset."

    @property
    def _undo_left_over(self) -> str:
        """What an undo that was stopped leaves."""
        rows = self._upload.rows_success
        if self.is_undone or not rows:
            return "" if rows else "No row was changed."
        what = "1 row was changed" if rows == 1 else f"{rows:,} rows were changed"
        return f"{what} before, and the others are as they were. Continue it, or undo it to put them back."

    @property
    def percent(self) -> str | None:
        """Of the file while it is imported, of its rows at the end; None where a number would mislead."""
        upload = self._upload
        if upload.is_active:
            is_unknown = self.is_inferring and upload.phase is not Phase.CHECK
            return None if is_unknown else str(upload.progress)
        if upload.status is not Status.COMPLETED:
            return None
        if not upload.rows_failed:
            return "100"
        share = upload.rows_success * 100 // (upload.rows_success + upload.rows_failed)
        return "<1" if upload.rows_success and not share else str(share)

    @property
    def segments(self) -> list["Segment"]:
        """The bar: the rows that are in the dataset, then the failed ones. The rest of it is what was not read."""
        upload = self._upload
        if upload.is_divided:
            return []
        if not upload.rows_processed:
            whole = Segment("in", 0, upload.progress)
            return [whole] if upload.progress and (upload.is_active or upload.status is Status.COMPLETED) else []
        failed = _at_least_visible(self._reached, upload.rows_failed, upload.rows_success)
        found = [Segment("in", 0, self._reached - failed), Segment("failed", self._reached - failed, failed)]
        return [segment for segment in found if segment.width]

    @property
    def rows_in_words(self) -> str:
        """850 of 1,000 (85 %): of the file's rows those that were read, at the end those in the dataset. Before the
        first one: ""."""
        upload = self._upload
        if upload.is_divided:
            return ""
        if not upload.rows_processed:
            return "0 rows" if upload.status is Status.COMPLETED else ""
        count = upload.rows_processed if upload.is_active else upload.rows_success
        total = upload.rows_total if upload.is_active else upload.rows_total or upload.rows_processed
        words = f"{count:,} of {total:,}" if total else _rows(count)
        return words if self.percent is None else f"{words} ({self.percent} %)"

    @property
    def title(self) -> str:
        """The name of its file, and of the part of it."""
        return f"{self._upload.filename} · {self.part_shown}" if self.part_shown else str(self._upload.filename)

    @property
    def part_shown(self) -> str:
        """What it takes of the file that it is a part of; "" for the whole file."""
        upload = self._upload
        return excerpt(upload.part or "", ENTRY_LENGTH) if upload.part_of is not None else ""

    @property
    def remark(self) -> str:
        """What a person should know first of its state, in one line; "" for nothing."""
        upload = self._upload
        if upload.is_divided:
            return ", ".join(f"#{part['upload']}" for part in upload.parts[:NAMED])
        if upload.is_active:
            counting = "Looking for its rows" if upload.is_undo else "Inferring column types"
            left = counting if self.is_inferring else f"{self.time_left} left" if self.time_left else ""
            return self.waiting or left
        if self.is_undone:
            return f"By #{upload.undone_by}"
        if upload.status is Status.FAILED:
            return excerpt(upload.error or "", WARNING_LENGTH)
        if upload.is_undo and upload.status is Status.CANCELLED:
            return f"{_rows(upload.rows_success)} changed before" if upload.rows_success else ""
        if upload.is_held:
            return self.hold_in_brief
        if upload.status is Status.CANCELLED:
            return f"{_rows(upload.rows_success)} imported before" if upload.rows_success else ""
        if (failed := self._failed_in_words) or self.warnings:
            return failed or self.warnings[0].detail
        return f"{upload.rows_unchanged:,} unchanged" if upload.rows_unchanged else ""

    @property
    def hold_in_brief(self) -> str:
        """Why a held upload waits, in one line."""
        upload = self._upload
        if [each["code"] for each in upload.hold] == [HoldCode.DUPLICATE] and upload.duplicate_of:
            return f"Same file as #{upload.duplicate_of}"
        return " ".join(excerpt(each["detail"], WARNING_LENGTH) for each in upload.hold[:1])

    @property
    def hold_details(self) -> list[str]:
        """Why it waits for a person: sentences."""
        return [excerpt(each["detail"], WARNING_LENGTH) for each in self._upload.hold]

    @property
    def _failed_in_words(self) -> str:
        """18 rows failed, 8 corrected, and 1 warning; "" if no row failed."""
        upload = self._upload
        if not upload.rows_failed:
            return ""
        corrected = "all" if upload.rows_corrected == upload.rows_failed else f"{upload.rows_corrected:,}"
        parts = [f"{_rows(upload.rows_failed)} failed", *([f"{corrected} corrected"] if upload.rows_corrected else [])]
        count = len(self.warnings)
        return ", ".join(parts) + (f" and {count} warning{'' if count == 1 else 's'}" if count else "")

    @property
    def _reached(self) -> float:
        """Percent of the file."""
        upload = self._upload
        if upload.status is not Status.FAILED or upload.is_external or not upload.rows_total:
            return upload.progress
        return min(100, upload.rows_processed * 100 / upload.rows_total)

    @property
    def bar_text(self) -> str:
        """The bar in words."""
        upload = self._upload
        of_all = f" of {upload.rows_total:,}" if upload.rows_total else ""
        failed = f", {upload.rows_failed:,} failed" if upload.rows_failed else ""
        done = "undone" if upload.is_undo else "imported"
        return f"{upload.rows_success:,}{of_all} {'row' if upload.rows_success == 1 else 'rows'} {done}{failed}"

    @property
    def is_inferring(self) -> bool:
        """Whether a worker profiles the file before it imports the first row."""
        upload = self._upload
        by_worker = upload.status is Status.PROCESSING and not upload.is_external and upload.phase is not Phase.CHECK
        return by_worker and upload.rows_total is None and not upload.rows_processed

    @property
    def _was_refused_as_duplicate(self) -> bool:
        """Whether an earlier release cancelled it because its file was imported before."""
        upload = self._upload
        return upload.status is Status.CANCELLED and upload.error is not None and not upload.attempt

    @property
    def rate(self) -> int | None:
        """Of this attempt, up to its last state. None until 0.2 s and one row have passed."""
        upload = self._upload
        if upload.status is not Status.PROCESSING or upload.counting_since is None:
            return None
        seconds = (upload.updated_at - upload.counting_since).total_seconds()
        rows = upload.rows_processed - upload.counting_from
        return round(rows / seconds) if seconds >= 0.2 and rows else None

    @property
    def time_left(self) -> str | None:
        rate = self.rate
        if not rate or self._upload.rows_total is None:
            return None
        return duration((self._upload.rows_total - self._upload.rows_processed) / rate)

    @property
    def elapsed(self) -> str | None:
        seconds = self._seconds()
        return None if seconds is None else duration(seconds)

    @property
    def average_rate(self) -> int | None:
        seconds = self._seconds()
        return round(self._upload.rows_processed / seconds) if seconds and self._upload.rows_processed else None

    def _seconds(self) -> float | None:
        upload = self._upload
        is_checked = upload.phase is Phase.CHECK and upload.status is not Status.PROCESSING
        if upload.started_at is None or is_checked or upload.is_divided:  # a wait for a person is no duration
            return None
        return ((upload.finished_at or upload.updated_at) - upload.started_at).total_seconds()


@dataclass(frozen=True)
class Segment:
    """A part of a bar. kind: in, failed. start, width: percent of the bar."""

    kind: str
    start: float
    width: float


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _at_least_visible(reached: float, failed: int, succeeded: int) -> float:
    """The width of the failed rows in a bar up to `reached` percent; what there is of each kind can be seen."""
    width = reached * failed / (failed + succeeded)
    if failed:
        width = max(width, min(VISIBLE, reached))
    return max(0.0, min(width, reached - VISIBLE)) if succeeded else width


class WarningView:
    """A warning of an upload. entries: what its sentence leaves out. help: what to do about it."""

    def __init__(self, warning: UploadWarning) -> None:
        self.detail = excerpt(str(warning["detail"]), WARNING_LENGTH)
        entries = [excerpt(entry, ENTRY_LENGTH) for entry in _entries(warning)]
        self.entries = entries if len(entries) > NAMED else []
        self.more = int(warning.get("more", 0))
        self.count = len(entries) + self.more
        self.help = _HELP.get(warning["code"], "")


def _entries(warning: UploadWarning) -> list[str]:
    """What a warning lists, as text."""
    if "sheets" in warning:
        return [f"{each['name']} ({each['rows']:,})" for each in warning["sheets"]]
    if "words" in warning:
        return [f"{word} ({cells:,})" for word, cells in warning["words"].items()]
    return list(warning.get("columns") or warning.get("fields") or [])


def _label(upload: Upload) -> tuple[str, str]:
    """The status in words, and its tone: that of the worst that is true."""
    if upload.undone_by is not None:
        return "Undone", "muted"
    if upload.is_divided and not upload.warnings:
        return ("In 1 part" if len(upload.parts) == 1 else f"In {len(upload.parts):,} parts"), "muted"
    if upload.status is Status.COMPLETED and upload.rows_failed:
        return "Completed with failed rows", "warn"
    if upload.status is Status.COMPLETED and upload.warnings:
        return "Completed with warnings", "warn"
    return _LABELS[upload.status]


def _waiting(upload: Upload, queue_status: QueueStatus) -> tuple[str | None, str | None]:
    """Why a pending upload has not started, and a sentence that says what to do about it."""
    if upload.status is not Status.PENDING:
        return None, None
    if upload.is_external:
        return "Waiting for the external script", None
    if queue_status.disk_full:
        return "Disk full", "The import starts automatically once your administrator has freed space on the server."
    if not queue_status.reachable:
        return "Queue unavailable", "The import starts automatically when the queue is available again."
    if not queue_status.workers.taking(upload.lane):
        missing = _NO_WORKER[upload.lane if queue_status.workers.total else None]
        return missing, "Ask your administrator to start one."
    return place_in_words(queue_status.places.get(upload.id, Place(0))), None


#: What waits, if no worker takes uploads of a lane; None: there is no worker at all.
_NO_WORKER = {
    None: "No worker is running",
    Lane.QUICK: "No worker for small files is running",
    Lane.BULK: "No worker for large files is running",
}
#: Seconds within which a start needs no announcement.
AT_ONCE = 2


def place_in_words(place: Place) -> str:
    """Queued: 3 ahead, starts in about 2 minutes."""
    ahead = f"Queued: {place.position:,} ahead" if place.position else "Queued: next"
    if place.starts_in is None or place.starts_in < AT_ONCE:
        return ahead
    return f"{ahead}, starts in {_about(place.starts_in)}"


def _about(seconds: float) -> str:
    """A time that is only estimated, in words that do not change every second."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if (count := round(seconds / size)) and seconds >= size * 0.9:
            return f"about {count:,} {unit}{'' if count == 1 else 's'}"
    return "a few seconds" if seconds < 15 else f"about {round(seconds, -1):.0f} seconds"
