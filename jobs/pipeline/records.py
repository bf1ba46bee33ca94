"""Reads the records of a text exactly, whatever its quotes: their cells, where they end, and why some are unreadable.

A record is one line, or several if a cell in quotes has several. If a quote is never closed, or is closed only by the
opening quote of a later cell, its first line is unreadable and the next line begins a record.

The time is linear in the bytes of the text. Where a record ends whose quote is still open at the beginning of a line
depends on nothing above that line. So the answer for one line is also the answer for every line up to that end, and no
line is searched again for the line above it.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, NamedTuple, Protocol

from jobs.failed_rows import Reason
from jobs.pipeline.source import Tick

#: Bytes that a record may have. Without this limit, an unclosed quote would include the rest of the file.
MAX_RECORD_BYTES = 1 << 20
#: Records, and bytes of records, that are parsed at once: little to parse in vain if the caller stops before the end.
BATCH_RECORDS, BATCH_BYTES = 1_000, 1 << 16

UNCLOSED = Reason(None, "has a quote that is never closed")
#: As in `9.50"software, licences"`: a delimiter is missing before the quote, and the one inside of it took its place.
SHIFTED = Reason(None, "has a quote inside of a cell that seems to enclose a delimiter, so its cells are uncertain")

#: NUL, and what a byte that is not UTF-8 is decoded to.
_INVALID = re.compile("[\0\udc80-\udcff]")

csv.field_size_limit(2 * MAX_RECORD_BYTES)


class Record(NamedTuple):
    """One record. cells: empty for a blank line. end: offset of the byte after it. problem: why it fails."""

    cells: list[str]
    end: int
    problem: Reason | None


@dataclass(frozen=True)
class Batch:
    """Records in a row. cells, ends: of each record. problems: position of a record that fails → why."""

    cells: list[list[str]]
    ends: list[int]
    problems: dict[int, Reason]

    def __iter__(self) -> Iterator[Record]:
        for position, (cells, end) in enumerate(zip(self.cells, self.ends, strict=True)):
            yield Record(cells, end, self.problems.get(position))


class Pattern(Protocol):
    """A regular expression for bytes that matches anywhere."""

    def match(self, text: bytes, start: int, /) -> re.Match[bytes] | None: ...


@dataclass(frozen=True)
class Patterns:
    """What a scan of bytes looks for. No pattern looks at a byte twice: no part of it fails after its first bytes.

    line: from the beginning of a line up to its end. Group 1 matches if something follows the closing quote of a cell,
    group 2 if the line ends inside of quotes. line_end: from anywhere in a line up to its end. quoted, unquoted: from
    inside of quotes, or from elsewhere in a line, up to the end of the record, or up to what follows a closing quote
    and is no delimiter. A group matches if the text ends inside of quotes, or with a quote that may be one of two.
    """

    line: Pattern
    line_end: Pattern
    quoted: Pattern
    unquoted: Pattern


@cache
def patterns(delimiter: str) -> Patterns:
    d = re.escape(delimiter)
    rest, end = rf"[^{d}\r\n]*+", r"(?:\r\n?|\n|\Z)"
    in_line, in_lines = (rf'[^{but}]*+(?:""[^{but}]*+)*+' for but in (r'"\r\n', '"'))
    closing = r'"(?=[^"])'
    cells = rf'(?:{d}(?:"{in_lines}(?:{closing}|())|{rest}))*+'
    line = rf'(?:"{in_line}(?:"(?:([^{d}\r\n]){rest})?+|())|[^{d}"\r\n]{rest}|{d})*+{end}'
    line_end, quoted, unquoted = rf"[^\r\n]*+{end}", rf"{in_lines}(?:{closing}{cells}|())", rf"{rest}{cells}"
    return Patterns(*(re.compile(pattern.encode()) for pattern in (line, line_end, quoted, unquoted)))


@cache
def enclosing(delimiter: str) -> re.Pattern[str]:
    """Matches a record whose first irregular cell has a quote inside, or text behind its closing quote, and in which a
    delimiter follows before the quote that ends a later cell. No part of it can match in two ways."""
    d = re.escape(delimiter)
    quoted = '"(?:[^"]++|"")*+'
    regular = rf'(?:(?:{quoted}"|[^{d}"\r\n]*+){d})*+'
    return re.compile(rf'{regular}(?:[^{d}"\r\n]++|{quoted})"[^{d}"\r\n]++{d}[^"\r\n]*+"(?=[{d}\r\n]|\Z)')


def _matched(pattern: Pattern, text: bytes, start: int) -> re.Match[bytes]:
    """The match of a pattern that matches any text."""
    found = pattern.match(text, start)
    assert found is not None
    return found


@dataclass
class _Search:
    """The search for the end of a record whose quote is open at the beginning of the line at `since`.

    reach: how far the search has come, an offset; every line from `since` to there has the same answer. is_quoted:
    whether `reach` is inside of quotes. is_decided: whether the answer is final. end: the answer, which is the offset
    of the byte after the record; None: the record has no end.
    """

    since: int
    reach: int
    is_quoted: bool = True
    is_decided: bool = False
    end: int | None = None


class Records:
    """The records of a file. Holds at most a few MAX_RECORD_BYTES of it."""

    def __init__(self, file: BinaryIO, delimiter: str, tick: Tick) -> None:
        """tick: called for each batch, and for each MAX_RECORD_BYTES of a longer line."""
        self._file = file
        self._delimiter = delimiter
        self._tick = tick
        self._patterns = patterns(delimiter)
        self._forget(0)

    def _forget(self, offset: int) -> None:
        """Forget what was read, to go on at another offset."""
        self._buffer = b""
        self._first = offset
        self._is_whole = False
        self._search = _Search(-1, -1)

    def batches(self, start: int, size: int) -> Iterator[Batch]:
        """The records from an offset on, where one begins, until they have at least `size` bytes."""
        stop = start + size
        while start < stop and (batch := self._batch(start, min(stop, start + BATCH_BYTES))).ends:
            self._tick()
            yield batch
            start = batch.ends[-1]

    def _batch(self, start: int, stop: int) -> Batch:
        """The records that begin between two offsets, at most BATCH_RECORDS."""
        texts: list[str] = []
        ends: list[int] = []
        unreadable: dict[int, tuple[str, Reason]] = {}
        self._load(start)
        while start < stop and len(ends) < BATCH_RECORDS:
            if start > self._last_start:
                self._load(start)
            place = start - self._first
            if place == len(self._buffer):
                break
            line = _matched(self._patterns.line, self._buffer, place)
            end = self._first + line.end()
            if end - start > MAX_RECORD_BYTES:
                unreadable[len(ends)] = self._beginning(start), _too_long(MAX_RECORD_BYTES)
                end = self._end_of_long_line(start)
            elif line.lastindex == 2:
                whole = self._end_of_quoted(end) if line[1] is None else None
                if whole is not None and whole - start <= MAX_RECORD_BYTES:
                    end = whole
                else:
                    unreadable[len(ends)] = line[0].decode("utf-8", "replace").rstrip("\r\n"), UNCLOSED
            known = len(ends) not in unreadable
            texts.append(self._buffer[place : end - self._first].decode("utf-8", "surrogateescape") if known else "")
            ends.append(end)
            start = end
        return self._parsed(texts, ends, unreadable)

    def _parsed(self, texts: list[str], ends: list[int], unreadable: dict[int, tuple[str, Reason]]) -> Batch:
        cells = list(csv.reader(texts, delimiter=self._delimiter))
        problems = {position: reason for position, (_, reason) in unreadable.items()}
        for position, (text, _) in unreadable.items():
            cells[position] = [text]
        for position, text in enumerate(texts):
            if '"' in text and enclosing(self._delimiter).match(text) is not None:
                problems[position] = SHIFTED
        if _is_odd("".join(texts)):
            odd = (position for position, text in enumerate(texts) if _is_odd(text))
            problems |= {position: _problem(cells[position]) for position in odd}
        return Batch(cells, ends, problems)

    def _load(self, start: int) -> None:
        """Have what decides about a record at an offset: the longest record and two bytes, or the rest of the file."""
        place = start - self._first
        if not 0 <= place <= len(self._buffer):
            self._forget(start)
            place = 0
        if not self._is_whole and place > len(self._buffer) - MAX_RECORD_BYTES - 2:
            kept = self._buffer[place:]
            wanted = 2 * MAX_RECORD_BYTES + 2 - len(kept)
            self._file.seek(start + len(kept))
            added = self._file.read(wanted)
            self._tick()
            self._buffer, self._first, self._is_whole = kept + added, start, len(added) < wanted
        #: Where a record may begin that the loaded bytes decide about.
        self._last_start = self._first + len(self._buffer) - (0 if self._is_whole else MAX_RECORD_BYTES + 2)

    def _beginning(self, start: int) -> str:
        """As much of a line as a record may have."""
        place = start - self._first
        return self._buffer[place : place + MAX_RECORD_BYTES].decode("utf-8", "replace").rstrip("\r\n")

    def _end_of_line(self, start: int) -> int:
        return self._first + _matched(self._patterns.line_end, self._buffer, start - self._first).end()

    def _end_of_long_line(self, start: int) -> int:
        while (end := self._end_of_line(start)) == self._first + len(self._buffer) and not self._is_whole:
            start = end - 1  # the last byte may be \r and the next one \n
            self._load(start)
            self._tick()
        return end

    def _end_of_quoted(self, line: int) -> int | None:
        """Where a record ends whose quote is open at the beginning of a line. None: nowhere in the loaded bytes."""
        if not self._search.since <= line <= self._search.reach:
            self._search = _Search(line, line)
        if not self._search.is_decided:
            self._go_on(self._search)
        return self._search.end if self._search.is_decided else None

    def _go_on(self, search: _Search) -> None:
        """Search to the end of the loaded bytes."""
        buffer, place = self._buffer, search.reach - self._first
        found = _matched(self._patterns.quoted if search.is_quoted else self._patterns.unquoted, buffer, place)
        place, search.is_quoted = found.end(), found.lastindex is not None
        following = buffer[place : place + 2]
        if search.is_quoted:  # nothing follows, or the last quote of the text
            search.is_decided, search.end = self._is_whole, self._first + place + 1 if following else None
        elif following[:1] in (b"", b"\r", b"\n"):
            search.is_decided = self._is_whole or following not in (b"", b"\r")
            search.end = self._end_of_line(self._first + place)
            if not following:
                place -= 1  # it may be a delimiter, which decides what a quote means that follows
        else:
            search.is_decided, search.end = True, None
        search.reach = self._first + place


def _too_long(limit: int) -> Reason:
    return Reason(None, f"is longer than {limit:,} bytes")


def _is_odd(text: str) -> bool:
    """Whether a text contains NUL or a byte that is not UTF-8."""
    return "\0" in text or not (text.isascii() or _INVALID.search(text) is None)


def _problem(cells: list[str]) -> Reason:
    """The first of the problems that a record with odd text has."""
    for position, cell in enumerate(cells, start=1):
        if "\0" in cell:
            return Reason(None, "has a NUL byte", detail=f"cell {position}")
        if found := _INVALID.search(cell):
            byte = f"0x{ord(found[0]) - 0xDC00:02X}"
            detail = f"{byte} at character {found.start() + 1} of cell {position}"
            break
    return Reason(None, "has a byte that is invalid in the file's encoding", detail=detail)
