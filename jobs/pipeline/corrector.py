"""Compares corrected rows with the failed rows that they correct, chunk by chunk.

A row that nobody changed fails again, for the same reasons: the dataset might accept it, as a row with a cell too few
is filled up in failed-rows.csv. A row that was corrected before fails too, so that none lands twice. A row without
marks, or with a number behind the last row of the parent, was added by a person; it is a row like any other.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

import sqlalchemy as sa

from jobs import lineage
from jobs.corrections import number_of, unescape_formula
from jobs.failed_rows import Reason
from jobs.lineage import FailedBefore
from jobs.pipeline import conflicts
from jobs.pipeline.chunk import Chunk, Origin
from jobs.uploads import Upload


@dataclass(frozen=True)
class Judged:
    """chunk: with the rows that may not be imported among the failed ones. before: row number → the failed row that it
    corrects."""

    chunk: Chunk
    before: dict[int, FailedBefore]

    def without_repeated(self, good: Collection[int]) -> "Judged":
        """Only the first of several valid rows that correct the same failed row may be imported. good: row numbers."""
        seen: set[lineage.Root] = set()
        again: dict[int, list[Reason]] = {}
        for number in good:
            if (before := self.before.get(number)) is None:
                continue
            if before.root in seen:
                again[number] = [Reason(None, "corrects the same row as an earlier row")]
            seen.add(before.root)
        return Judged(self.chunk.failing(again), self.before) if again else self


class Corrector:
    """Judges the rows of one file of corrections."""

    def __init__(self, parent: Upload, names: Sequence[str], *, is_repair: bool = False) -> None:
        """names: the columns of the file, which may have been moved, deleted and added. is_repair: the file has only
        rows that somebody changed, however little."""
        self._is_repair = is_repair
        self._parent = parent
        self._names = names
        exact = {name: place for place, name in enumerate(parent.header or [])}
        loose = {_loose(name): place for name, place in exact.items()}
        #: Failed row → the upload that corrects it, as far as nobody recorded that.
        self._landed: dict[lineage.Root, int] = {}
        self._places = [exact.get(name, loose.get(_loose(name))) for name in names]

    def judge(self, connection: sa.Connection, chunk: Chunk, ruled: Collection[str] = ()) -> Judged:
        """In the transaction that writes the chunk, in which no other upload corrects the same rows. ruled: fields that
        have rules, which may mend a row that nobody changed."""
        numbers = {number: self._number(origin) for number, origin in chunk.origins.items()}
        wanted = {each for each in numbers.values() if isinstance(each, int)}
        stored = lineage.failed_before(connection, self._parent.id, wanted)
        if self._landed:
            stored = {
                number: replace(before, corrected_by=self._landed.get(before.root, before.corrected_by))
                for number, before in stored.items()
            }
        refused: dict[int, list[Reason]] = {}
        before: dict[int, FailedBefore] = {}
        rows = chunk.rows.index.tolist()
        for row_number, cells in zip(rows, chunk.cells(rows), strict=True):
            number = numbers.get(row_number)
            if isinstance(number, int) and number in stored:
                before[row_number] = stored[number]
                reasons = self._reasons(stored[number], cells, ruled)
            else:
                reasons = self._unknown(number)
            if reasons:
                refused[row_number] = reasons
        for failed in chunk.failed:
            number = numbers.get(failed.row_number)
            if isinstance(number, int) and number in stored:
                before[failed.row_number] = stored[number]
        return Judged(chunk.failing(refused), before)

    def land(self, judged: Judged, row_numbers: Collection[int], upload_id: int) -> None:
        """Know that rows of a chunk land, in a check, which records nothing."""
        self._landed |= {before.root: upload_id for number, before in judged.before.items() if number in row_numbers}

    def _number(self, origin: Origin) -> int | Reason | None:
        """The parent's row that a row corrects; a reason if it cannot be told; None for a row that a person added."""
        upload, row = (text.strip() for text in origin)
        if not upload and not row:
            return None
        upload_id, number = number_of(upload) if upload else self._parent.id, number_of(row)
        if upload_id is None or number is None:
            return Reason(None, "has an unreadable _upload_id or _row_number", detail=f"“{upload}”, “{row}”")
        if upload_id != self._parent.id:
            return Reason(
                None, "corrects a row of another upload, which needs a file of its own", detail=f"#{upload_id}"
            )
        return number

    def _unknown(self, number: int | Reason | None) -> list[Reason]:
        """Why a row fails that corrects no failed row."""
        if isinstance(number, Reason):
            return [number]
        if number is None or number > self._parent.rows_processed:
            return []
        if self._parent.failed_rows_removed_at is not None:
            removed = f"upload #{self._parent.id}, on {self._parent.failed_rows_removed_at:%Y-%m-%d}"
            return [Reason(None, "corrects a failed row that retention removed", detail=removed)]
        return [Reason(None, "names a row that did not fail", detail=f"upload #{self._parent.id}, row {number:,}")]

    def _reasons(self, before: FailedBefore, cells: Sequence[str], ruled: Collection[str]) -> list[Reason]:
        if before.corrected_by is not None:
            return [Reason(None, "was already corrected", detail=f"upload #{before.corrected_by}")]
        if (
            self._is_repair
            or all(map(conflicts.is_about_other_rows, before.reasons))
            or not self._is_unchanged(before, cells)
        ):
            return []
        if all(reason.column in ruled for reason in before.reasons):
            return []
        return before.reasons

    def _is_unchanged(self, before: FailedBefore, cells: Sequence[str]) -> bool:
        wrong = {_loose(reason.column) for reason in before.reasons if reason.column}
        for name, place, cell in zip(self._names, self._places, cells, strict=True):
            if place is None:
                was, is_wrong = "", False
            else:
                was, is_wrong = before.cells[place] if place < len(before.cells) else "", _loose(name) in wrong
            if cell != was and not (_is_saved(was, cell) if is_wrong else _is_alike(was, cell)):
                return False
        return True


def _loose(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _is_saved(was: str, cell: str) -> bool:
    """Whether a cell differs only in what saving a file loses: escapes, line ends, characters outside of cp1252."""
    return _saved(cell) in (_saved(was), _saved(unescape_formula(was)))


def _saved(cell: str) -> str:
    return "\n".join(cell.splitlines()).encode("cp1252", "replace").decode("cp1252")


def _is_alike(was: str, cell: str) -> bool:
    """Whether a spreadsheet may have written a cell anew: without spaces, 007 as 7, 1.50 as 1.5, a date otherwise."""
    was, cell = (_saved(unescape_formula(each)).strip().lstrip("'").casefold() for each in (was, cell))
    if was == cell:
        return True
    numbers = _numbers(was) & _numbers(cell)
    return bool(numbers) or (bool(_DATE.fullmatch(was) and _DATE.fullmatch(cell)) and _parts(was) == _parts(cell))


#: Digits in several groups, as in dates and times.
_DATE = re.compile(r"\d{1,4}([-./: tz]+\d{1,4}){1,6}z?")


def _parts(text: str) -> list[int]:
    """The numbers in a date without its order; of a year only two digits, and no time of zero."""
    return sorted(number for part in re.findall(r"\d+", text) if (number := int(part) % 100))


def _numbers(text: str) -> set[Decimal]:
    """The number that a text is, with a point or a comma before its decimals."""
    found = set()
    for spelled in (text.replace(",", ""), text.replace(".", "").replace(",", ".")):
        try:
            found.add(Decimal(spelled.replace(" ", "").replace("\xa0", "")))
        except InvalidOperation:
            continue
    return {number for number in found if number.is_finite()}
