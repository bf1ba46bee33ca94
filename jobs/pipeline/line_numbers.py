"""The lines at which rows begin. Where each row takes one line, none is counted."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jobs.traces.row_lines import LineRun

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]
Offsets = npt.NDArray[np.int64]

#: Bytes that are counted at once.
PIECE_BYTES = 1 << 20
#: Bytes that the processor's cache holds, with what is found of each. Of more, the array would come from the system.
_SLICE_BYTES = 1 << 17
LF, CR = b"\n\r"


def count_byte(text: bytes, byte: int, stop: int | None = None) -> int:
    """How often a byte comes in a text. stop: where the text ends, if not with its last byte."""
    characters = np.frombuffer(text, dtype=np.uint8)[:stop]
    slices = (characters[start : start + _SLICE_BYTES] for start in range(0, len(characters), _SLICE_BYTES))
    return sum(int(np.count_nonzero(each == byte)) for each in slices)


def count_line_ends(text: bytes, stop: int | None = None) -> int:
    """How many lines end in a text; see `line_ends`."""
    if text.find(b"\r", 0, stop) < 0:
        return count_byte(text, LF, stop)
    return int(np.count_nonzero(line_ends(text, stop)))


def line_ends(text: bytes, stop: int | None = None) -> npt.NDArray[np.bool_]:
    """Which bytes are the last one of a line end: LF, or CR without a LF behind it. stop: where the text ends, if not
    with its last byte."""
    characters = np.frombuffer(text, dtype=np.uint8)[:stop]
    found: npt.NDArray[np.bool_] = characters == LF
    if text.find(b"\r", 0, stop) >= 0:
        alone = characters == CR
        alone[:-1] &= ~found[1:]
        found |= alone
    return found


class LineCounter:
    """Counts the lines of a file up to an offset, from the nearest one below that is known. Any thread may ask."""

    def __init__(self, path: Path, tick: Tick = lambda: None) -> None:
        """tick: called for each PIECE_BYTES."""
        self._path = path
        self._tick = tick
        self._lock = Lock()
        self._known = [(0, 1)]

    def at(self, offsets: Offsets) -> list[int]:
        """The line of each offset, from 1. offsets: where lines begin, in ascending order."""
        if not len(offsets):
            return []
        with self._lock:
            nearest = bisect.bisect(self._known, int(offsets[0]), key=lambda known: known[0]) - 1
            if len(offsets) == 1 and self._known[nearest][0] == offsets[0]:
                return [self._known[nearest][1]]
            lines = self._counted(offsets, *self._known[nearest])
            self._know(int(offsets[-1]), lines[-1])
        return lines

    def passed(self, start: int, end: int, lines: int) -> None:
        """Note how many lines begin between two offsets, at which lines begin too."""
        (line,) = self.at(np.array([start], dtype=np.int64))
        with self._lock:
            self._know(end, line + lines)

    def _know(self, offset: int, line: int) -> None:
        place = bisect.bisect_left(self._known, (offset, line))
        if self._known[place : place + 1] != [(offset, line)]:
            self._known.insert(place, (offset, line))

    def rest(self, offset: int) -> int:
        """The number of lines from an offset on."""
        lines, last = 0, b""
        with self._path.open("rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE_BYTES):
                lines += count_line_ends(piece) - (last == b"\r" and piece.startswith(b"\n"))
                last = piece[-1:]
                self._tick()
        return lines + (last not in (b"", b"\r", b"\n"))

    def _counted(self, offsets: Offsets, start: int, line: int) -> list[int]:
        """start: an offset at which a line begins, below all others. line: its number."""
        lines: list[int] = []
        with self._path.open("rb") as file:
            file.seek(start)
            rest = file.read(1)
            while len(lines) < len(offsets):
                # The byte behind the piece tells whether a CR at its end is half of a line end.
                data = rest + file.read(PIECE_BYTES)
                ends = np.flatnonzero(line_ends(data)[:PIECE_BYTES])
                stop = start + PIECE_BYTES
                within = offsets[len(lines) : np.searchsorted(offsets, stop)]
                lines += (np.searchsorted(ends, within - start) + line).tolist()
                start, line, rest = stop, line + len(ends), data[PIECE_BYTES:]
                self._tick()
        return lines


class Lines(Protocol):
    """Where rows begin."""

    def of(self, numbers: Sequence[int]) -> list[int]:
        """The lines of rows. numbers: of the rows, in ascending order."""
        ...

    def run(self, first: int, count: int) -> LineRun:
        """The lines of consecutive rows, at least one."""
        ...


@dataclass(frozen=True)
class TextLines:
    """The lines of the rows of a chunk.

    start: the offset of its first line. even: whether each line of it is a row. first: the number of its first row.
    offsets: of all its records, found when they are needed. skipped: the places of the records that are no rows.
    """

    counter: LineCounter
    start: int
    even: bool
    first: int
    offsets: Callable[[], Offsets]
    skipped: Offsets

    def of(self, numbers: Sequence[int]) -> list[int]:
        if self.even:
            (line,) = self.counter.at(np.array([self.start], dtype=np.int64))
            return [line + number - self.first for number in numbers]
        offsets = np.delete(self.offsets(), self.skipped)
        return self.counter.at(offsets[np.array(numbers, dtype=np.int64) - self.first])

    def run(self, first: int, count: int) -> LineRun:
        if self.even:
            (line,) = self.of([first])
            return LineRun(first, line)
        return LineRun.of(first, self.of(range(first, first + count)))

    def of_record(self, place: int) -> int:
        """place: of a record in the chunk."""
        (line,) = self.counter.at(self.offsets()[place : place + 1])
        return line


@dataclass(frozen=True)
class SheetRows:
    """The worksheet's rows. jumps: the number of a row and the worksheet's row, for each that follows a gap."""

    jumps: Sequence[tuple[int, int]]

    def of(self, numbers: Sequence[int]) -> list[int]:
        found = (self.jumps[bisect.bisect(self.jumps, number, key=lambda jump: jump[0]) - 1] for number in numbers)
        return [row + number - start for number, (start, row) in zip(numbers, found, strict=True)]

    def run(self, first: int, count: int) -> LineRun:
        starts = [start for start, _ in self.jumps]
        if bisect.bisect(starts, first) == bisect.bisect(starts, first + count - 1):
            (line,) = self.of([first])
            return LineRun(first, line)
        return LineRun.of(first, self.of(range(first, first + count)))
