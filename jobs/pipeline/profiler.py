"""Infers column types: reads a whole file once and gives each column the narrowest type that fits every value.

A type must preserve every value: "007", "+5", "1e400" and 20-digit numbers are text, and so is a column in which a
single value does not fit. Types are inferred from the distinct values of each chunk, which are few.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.failed_rows import QUOTED
from jobs.pipeline.parsing import SIGNIFICANT_DIGITS
from jobs.pipeline.source import Tick
from jobs.schema import TableSchema

#: Whole numbers that fit into 64 bits and print as they were written.
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
#: Decimal numbers of at most 15 digits: a double prints the same digits again.
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DATETIMES = {
    "%Y-%m-%dT%H:%M:%SZ": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    "%Y-%m-%dT%H:%M:%S": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$",
    "%Y-%m-%d %H:%M:%S": r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$",
}
_BOOLEANS = (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))


@dataclass(frozen=True)
class _Candidate:
    """A type that a column may have.

    called: the type in words, with an article. fits: whether all of these distinct, non-empty values have the type.
    like: a pattern that nearly all such values match. rival: the format that could read the same values as other dates.
    """

    type: str
    called: str
    fits: Callable[[pa.Array], bool]
    details: dict[str, Any] = field(default_factory=dict)
    like: str | None = None
    rival: str | None = None

    @property
    def format(self) -> str | None:
        return self.details.get("format")


def _matches(pattern: str) -> Callable[[pa.Array], bool]:
    return lambda values: bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _is_number(values: pa.Array) -> bool:
    if not _matches(_NUMBER)(values):
        return False
    digits = pc.utf8_length(pc.replace_substring_regex(values, r"^-?0?\.?0*|\.|-", ""))
    return bool(pc.all(pc.less_equal(digits, SIGNIFICANT_DIGITS)).as_py())


def _parses(pattern: str, kind: pa.DataType) -> Callable[[pa.Array], bool]:
    def fits(values: pa.Array) -> bool:
        if not _matches(pattern)(values):
            return False
        try:
            pc.cast(pc.utf8_rtrim(values, "Z"), kind)
        except pa.ArrowInvalid:
            return False
        years = pc.utf8_slice_codeunits(values, 0, 4)
        return not pc.any(pc.equal(years, "0000")).as_py()  # PostgreSQL does not support the year 0

    return fits


def _reads(separator: str, day: int, month: int) -> Callable[[pa.Array], bool]:
    """Dates of two digits, two digits and a year. day, month: their position, 1 or 2."""
    pattern = rf"^([0-9]{{2}}){re.escape(separator)}([0-9]{{2}}){re.escape(separator)}([0-9]{{4}})$"
    is_date = _parses(_DATE, pa.date32())

    def fits(values: pa.Array) -> bool:
        if not _matches(pattern)(values):
            return False
        return is_date(pc.replace_substring_regex(values, pattern, rf"\3-\{month}-\{day}"))

    return fits


def _two_readings(separator: str) -> tuple[_Candidate, _Candidate]:
    """31/01/2026 and 01/31/2026: a column has one format only if at least one value cannot have the other."""
    by_day, by_month = f"%d{separator}%m{separator}%Y", f"%m{separator}%d{separator}%Y"
    day_first = f"a date like 31{separator}01{separator}2026"
    month_first = f"a date like 01{separator}31{separator}2026"
    return (
        _Candidate("date", day_first, _reads(separator, 1, 2), {"format": by_day}, rival=by_month),
        _Candidate("date", month_first, _reads(separator, 2, 1), {"format": by_month}, rival=by_day),
    )


def _among(*words: str) -> Callable[[pa.Array], bool]:
    return lambda values: bool(pc.all(pc.is_in(values, pa.array(words))).as_py())


#: Narrowest first.
_CANDIDATES = (
    *(
        _Candidate("boolean", f"{yes} or {no}", _among(yes, no), {"trueValues": [yes], "falseValues": [no]})
        for yes, no in _BOOLEANS
    ),
    _Candidate("integer", "a whole number", _matches(_INTEGER), like=_INTEGER),
    _Candidate("number", "a decimal number", _is_number, like=_NUMBER),
    _Candidate("date", "a date like 2026-01-31", _parses(_DATE, pa.date32()), like=_DATE),
    *(candidate for separator in "/.-" for candidate in _two_readings(separator)),
    *(
        _Candidate(
            "datetime", f"a date and time like {example}", _parses(pattern, pa.timestamp("s")), {"format": format_}
        )
        for (format_, pattern), example in zip(
            _DATETIMES.items(), ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00", "2026-01-31 09:00:00"), strict=True
        )
    ),
)


def _misfit_of(candidate: _Candidate, words: pa.Array) -> str:
    """The first value that does not have a type. There must be one; each step halves the values that it is among."""
    while len(words) > 1:
        middle = len(words) // 2
        words = words[middle:] if candidate.fits(words[:middle]) else words[:middle]
    return str(words[0])


class Profile:
    """The column types of a file, inferred from its chunks in any order."""

    def __init__(self, names: Iterable[str], *, text_only: bool = False, tick: Tick = lambda: None) -> None:
        """text_only: every column is text. tick: called for each column of each chunk."""
        self._tick = tick
        self._columns = {name: _Column([] if text_only else list(_CANDIDATES)) for name in names}
        self.rows = 0

    def see(self, rows: pd.DataFrame, count: int) -> None:
        """Narrow down the types. rows: of a chunk, as text. count: its rows, including failed ones."""
        self.rows += count
        for name, column in self._columns.items():
            column.see(rows[name].array.__arrow_array__())
            self._tick()

    def schema(self) -> TableSchema:
        fields = [column.field(name) for name, column in self._columns.items()]
        return TableSchema.parse({"fields": fields})


class _Column:
    def __init__(self, candidates: list[_Candidate]) -> None:
        self._possible = candidates
        self._text_only = not candidates
        self._filled = 0
        self._empty = 0
        #: A value that does not fit the type of most values, and that type in words.
        self._misfit: tuple[str, str] | None = None
        #: A value that only one of two date formats fits.
        self._proof: str | None = None

    def see(self, values: pa.ChunkedArray | pa.Array) -> None:
        counts = pc.value_counts(values)
        words, times = counts.field("values"), counts.field("counts")
        blank = pc.equal(words, "")
        empty = pc.sum(pc.filter(times, blank)).as_py() or 0
        self._empty += empty
        self._filled += len(values) - empty
        words = pc.filter(words, pc.invert(blank))
        if len(words):
            fitting = [candidate for candidate in self._possible if candidate.fits(words)]
            self._keep_evidence(words, [candidate for candidate in self._possible if candidate not in fitting], fitting)
            self._possible = fitting

    def _keep_evidence(self, words: pa.Array, dropped: list[_Candidate], fitting: list[_Candidate]) -> None:
        """Keep an example of a value that ruled out a type that nearly fits, or one of two date formats."""
        for candidate in dropped:
            if candidate.rival in {each.format for each in fitting} - {None}:
                self._proof = _misfit_of(candidate, words)
            if candidate.like is not None and self._misfit is None and not fitting:
                matches = pc.match_substring_regex(words, candidate.like)
                if 2 * pc.sum(matches).as_py() > len(words) and not pc.all(matches).as_py():
                    self._misfit = pc.filter(words, pc.invert(matches))[0].as_py(), candidate.called

    def field(self, name: str) -> dict[str, Any]:
        """The column as a field of a Table Schema. Its description tells people why it has its type."""
        blanks = f"; {self._empty:,} {'cell is' if self._empty == 1 else 'cells are'} empty" if self._empty else ""
        if not self._filled:
            return {"name": name, "type": "string", "description": "text: every cell is empty"}
        if not self._possible:
            why = "as chosen" if self._text_only else f"no other type fits all {self._filled:,} values"
            evidence = f"text: {why}{blanks}"
            if self._misfit is not None:
                example, called = self._misfit
                evidence = f"text: “{example[:QUOTED]}” does not fit as {called}, unlike most values{blanks}"
            return {"name": name, "type": "string", "description": evidence}
        best = self._possible[0]
        if best.rival in {candidate.format for candidate in self._possible[1:]} - {None}:
            evidence = f"text: day and month could be swapped in all {self._filled:,} dates{blanks}"
            return {"name": name, "type": "string", "description": evidence}
        proof = f"; “{self._proof}” has no other reading" if best.rival and self._proof else ""
        evidence = f"each of {self._filled:,} values is {best.called}{proof}{blanks}"
        return {"name": name, "type": best.type, **best.details, "description": evidence}
