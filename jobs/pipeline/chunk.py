"""Chunk: the rows of a run of records, and which records are none.

A record without any value is blank. A record that repeats the whole header is skipped. A surplus cell at the end of a
record is forgiven only if it is empty and nearly every record has it: elsewhere it is the sign of a delimiter too many,
which shifted the cells before it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs import corrections, warnings
from jobs.corrections import Marks
from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline.line_numbers import LineCounter, Lines, Offsets, SheetRows, TextLines
from jobs.pipeline.prepared_table import KnownProblems, PreparedTable
from jobs.traces.row_lines import LineRun
from jobs.warnings import UploadWarning

#: Share of a sample's rows that must have a surplus empty cell, so that it is no sign of a shifted row.
NEARLY_ALL = 0.95


@dataclass(frozen=True)
class Parsed:
    """Consecutive records, in which blank lines do not count.

    usual: the records with as many cells as most, one text column for each cell; places: which ones they are, from 0 in
    ascending order. odd: place and cells of each other record. failed: records that could not be read, with places as
    row numbers. count: all records. start: offset of the first byte. next_byte: offset of the byte behind them. even:
    whether each line is a record. offsets: of all records. blank: blank lines before the last record. blank_below:
    blank lines behind it.
    """

    usual: pa.Table
    places: Offsets
    odd: Sequence[tuple[int, list[str]]]
    failed: Sequence[FailedRow]
    count: int
    start: int
    next_byte: int
    even: bool
    offsets: Callable[[], Offsets]
    blank: int
    blank_below: int


class Origin(NamedTuple):
    """The upload and the row that a corrected row names, as the file spells them."""

    upload_id: str
    row_number: str


@dataclass(frozen=True)
class Chunk:
    """A run of rows.

    rows: one text column for each column of the file, empty cells are "", index = row number (1 is the first below the
    header). failed: rows that could not be read. count: all rows, without blank ones and repeated headers. next_byte:
    offset of the byte after the chunk. lines: where the rows begin. blank: lines without any value. warnings: about the
    chunk. origins: of a file of corrections, by row number. first: the number of the first row.
    """

    rows: pd.DataFrame
    failed: list[FailedRow]
    count: int
    next_byte: int
    lines: Lines
    blank: int = 0
    warnings: list[UploadWarning] = field(default_factory=list)
    origins: dict[int, Origin] = field(default_factory=dict)
    first: int = 1

    def line_run(self) -> LineRun | None:
        """Where all its rows begin; None: there are none."""
        return self.lines.run(self.first, self.count) if self.count else None

    def cells(self, numbers: Sequence[int]) -> list[list[str]]:
        """The original values of some rows."""
        found: list[list[str]] = self.rows.loc[list(numbers)].to_numpy(dtype=object).tolist()
        return found

    def located(self, failed: list[FailedRow]) -> list[FailedRow]:
        """Failed rows, in their order, with their lines."""
        if not failed:
            return failed
        lines = self.lines.of([row.row_number for row in failed])
        return [FailedRow(*row[:3], line) for row, line in zip(failed, lines, strict=True)]

    def failing(self, found: Mapping[int, list[Reason]]) -> "Chunk":
        """The chunk with some of its rows among the failed ones, for these reasons."""
        if not found:
            return self
        rows = zip(found, self.cells(list(found)), found.values(), strict=True)
        failed = sorted([*self.failed, *(FailedRow(*row) for row in rows)], key=lambda row: row.row_number)
        return replace(self, rows=self.rows.drop(index=list(found)), failed=failed)

    def without(self, problems: KnownProblems) -> "Chunk":
        """The chunk with the rows that have known problems among the failed ones."""
        numbers = [number for number in self.rows.index if number in problems]
        if not numbers:
            return self
        names = list(self.rows.columns)
        return self.failing(
            {number: [_known(names[place], reason) for place, reason in problems[number]] for number in numbers}
        )


def _known(column: str, text: str) -> Reason:
    """The reason of a known problem; what is in parentheses at its end is specific to the row."""
    rule, _, detail = text.partition(" (")
    return Reason(column, rule, detail=detail.removesuffix(")") or None)


def usual_surplus(records: Sequence[Sequence[str]], width: int) -> range:
    """How many empty cells more than the header nearly every record of a sample has; empty: not every one has any.

    width: cells of the header. If the records have different numbers of them, any of these may be forgiven.
    """
    surplus = [_empty_beyond(cells, width) for cells in records if not is_blank(cells, width)]
    enough = NEARLY_ALL * len(surplus)
    least = max((each for each in set(surplus) if sum(other >= each for other in surplus) >= enough), default=0)
    if not least:
        return range(0)
    return range(least, least + 1 if surplus.count(least) >= enough else max(surplus) + 1)


def _empty_beyond(cells: Sequence[str], width: int) -> int:
    """The number of cells beyond the header, if they are all empty."""
    return max(0, len(cells) - width) if _empty(cells[width:]) else 0


def _empty(cells: Sequence[str]) -> bool:
    return not any(cells) or not any(cell.strip() for cell in cells)


def is_blank(cells: Sequence[str], width: int) -> bool:
    """Whether a record has no value. In a table of one column, a line of spaces or an empty cell in quotes is one."""
    return (len(cells) > 1 or width > 1) and _empty(cells)


def repeats(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a record is the header again. header: its cells; empty: there is none.

    A value may well be like the name of its column, so there must be several, and not only numbers.
    """
    return (
        len(header) > 1
        and len(cells) >= len(header)
        and all(cell.strip() == name.strip() for cell, name in zip(cells, header, strict=False))
        and _empty(cells[len(header) :])
        and any(map(_has_letter, header))
    )


def _has_letter(name: str) -> bool:
    return any(character.isalpha() for character in name)


@dataclass
class _Assembly:
    """Makes a chunk of records: sorts out which are rows, by their places."""

    table: PreparedTable
    parsed: Parsed
    blank: list[int] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    #: Records of another width that are rows, without their surplus cells.
    trimmed: list[tuple[int, list[str]]] = field(default_factory=list)
    failed: list[FailedRow] = field(default_factory=list)
    surplus: int = 0

    def chunk(self, counter: LineCounter, first: int, blank_above: int) -> Chunk:
        """first: the number of the first row. blank_above: blank lines above the first record."""
        usual, places = self._usual()
        self.failed += self.parsed.failed
        for place, cells in self.parsed.odd:
            self._sort(place, cells)
        skipped = np.array(sorted([*self.blank, *self.headers]), dtype=np.int64)
        if self.trimmed:
            extra = [
                pa.array(column, pa.string()) for column in zip(*(cells for _, cells in self.trimmed), strict=True)
            ]
            usual = pa.concat_tables([usual, pa.table(extra, usual.column_names)])
            places = np.concatenate([places, [place for place, _ in self.trimmed]])
        origins: dict[int, Origin] = {}
        if marks := self.table.marks:
            origins = _origins(marks, self.table.width, usual, places, self.failed)
            columns = [_unescaped(usual.column(place)) for place in marks.data_places(self.table.width)]
            usual = pa.table(columns, self.table.names)
            self.failed = [
                row._replace(cells=[corrections.unescape_formula(cell) for cell in row.cells]) for row in self.failed
            ]
        rows = usual.rename_columns(self.table.names).to_pandas(types_mapper=pd.ArrowDtype)
        rows.index = pd.Index(_numbers(places, skipped, first), name="_row_number")
        numbers = _numbers(np.array([row.row_number for row in self.failed], dtype=np.int64), skipped, first)
        failed = [row._replace(row_number=number) for row, number in zip(self.failed, numbers.tolist(), strict=True)]
        even = self.parsed.even and not len(skipped)
        lines = TextLines(counter, self.parsed.start, even, first, self.parsed.offsets, skipped)
        return Chunk(
            rows,
            sorted(failed, key=lambda each: each.row_number),
            self.parsed.count - len(skipped),
            self.parsed.next_byte,
            SheetRows(self.table.sheet_rows) if self.table.sheet_rows else lines,
            len(self.blank) + self.parsed.blank + (blank_above if self.parsed.count else 0),
            self._warnings(lines),
            dict(
                zip(
                    _numbers(np.array([*origins], dtype=np.int64), skipped, first).tolist(),
                    origins.values(),
                    strict=True,
                )
            ),
            first,
        )

    def _usual(self) -> tuple[pa.Table, Offsets]:
        """The rows among the usual records, without surplus cells, and their places."""
        usual, places, width = self.parsed.usual, self.parsed.places, self.table.width
        none = _blank_rows(usual.columns) if usual.num_columns > 1 else _NONE
        again = _rows_like(usual.columns[:width], self.table.header)
        if len(none) or len(again):
            self.blank += places[none].tolist()
            self.headers += places[again].tolist()
            usual, places = _without(usual, places, np.concatenate([none, again]))
        if not self.table.surplus:
            return usual, places
        filled = np.setdiff1d(np.arange(usual.num_rows), _blank_rows(usual.columns[width:]), assume_unique=True)
        if len(filled):
            cells = usual.take(pa.array(filled)).to_pandas().to_numpy(dtype=object).tolist()
            for place, found in zip(places[filled].tolist(), cells, strict=True):
                self.failed.append(FailedRow(place, found, [self._wrong_width(len(found))]))
            usual, places = _without(usual, places, filled)
        self.surplus += usual.num_rows
        return usual.select(range(width)), places

    def _sort(self, place: int, cells: list[str]) -> None:
        """Sort a record that has another number of cells than most."""
        width, more = self.table.width, len(cells) - self.table.width
        if is_blank(cells, width):
            self.blank.append(place)
        elif repeats(cells, self.table.header):
            self.headers.append(place)
        elif more in self.table.surplus and _empty(cells[width:]):
            self.trimmed.append((place, cells[:width]))
            self.surplus += 1
        elif 0 <= more < self.table.surplus.start and cells[width - 1].strip() and _empty(cells[width:]):
            # Without its surplus cell. If its last cell were empty, that could be the surplus one, and a delimiter
            # could be missing anywhere.
            self.trimmed.append((place, cells[:width]))
            self.surplus += bool(more)
        else:
            self.failed.append(FailedRow(place, cells, [self._wrong_width(len(cells))]))

    def _wrong_width(self, cells: int) -> Reason:
        return _wrong_width(cells, self.table.usual_width)

    def _warnings(self, lines: TextLines) -> list[UploadWarning]:
        found = [warnings.surplus_cells(self.surplus)] if self.surplus else []
        if self.headers:
            found.append(warnings.lines_skipped(len(self.headers), lines.of_record(min(self.headers))))
        return found


def assembled(table: PreparedTable, parsed: Parsed, counter: LineCounter, first: int, blank_above: int) -> Chunk:
    """The chunk of some records. first: the number of its first row. blank_above: blank lines above the records."""
    return _Assembly(table, parsed).chunk(counter, first, blank_above)


_NONE: Offsets = np.empty(0, dtype=np.int64)


def _numbers(places: Offsets, skipped: Offsets, first: int) -> Offsets:
    """The numbers of rows at places among records, of which some are skipped."""
    before = np.searchsorted(skipped, places) if len(skipped) else 0
    numbers: Offsets = places + first - before
    return numbers


def _without(table: pa.Table, places: Offsets, rows: Offsets) -> tuple[pa.Table, Offsets]:
    """The table without some rows, and the places of the others."""
    kept = np.ones(table.num_rows, dtype=bool)
    kept[rows] = False
    return table.filter(pa.array(kept)), places[kept]


def _blank_rows(columns: Sequence[pa.ChunkedArray]) -> Offsets:
    """The rows without any value: those of the first column that are also in the next one, and so on."""
    return _matching(columns, [lambda cells: pc.or_(pc.equal(cells, ""), pc.utf8_is_space(cells))] * len(columns))


def _rows_like(columns: Sequence[pa.ChunkedArray], header: Sequence[str]) -> Offsets:
    """The rows that repeat the header."""
    if not repeats(header, header) or len(columns) != len(header):
        return _NONE
    first = next(place for place, name in enumerate(header) if name.strip())
    likely = _matching([columns[first]], [lambda cells: _is_one_of(cells, {header[first], header[first].strip()})])
    if not len(likely):
        return _NONE
    taken = [column.take(pa.array(likely)) for column in columns]
    return likely[_matching(taken, [_like(name.strip()) for name in header])]


def _is_one_of(cells: pa.ChunkedArray, texts: set[str]) -> pa.ChunkedArray:
    """As trimming each cell takes several times as long."""
    return reduce(pc.or_, (pc.equal(cells, text) for text in sorted(texts)))


def _like(name: str) -> Callable[[pa.ChunkedArray], pa.ChunkedArray]:
    return lambda cells: pc.equal(pc.utf8_trim_whitespace(cells), name)


def _matching(
    columns: Sequence[pa.ChunkedArray], tests: Sequence[Callable[[pa.ChunkedArray], pa.ChunkedArray]]
) -> Offsets:
    """The rows whose cells pass the test of their column. Each column is tested only for rows that passed so far."""
    rows: Offsets | None = None
    for column, test in zip(columns, tests, strict=True):
        cells = column if rows is None else column.take(pa.array(rows))
        found = np.flatnonzero(test(cells).to_numpy())
        rows = found if rows is None else rows[found]
        if not len(rows):
            break
    return _NONE if rows is None else rows


def _origins(
    marks: Marks, width: int, usual: pa.Table, places: Offsets, failed: Iterable[FailedRow]
) -> dict[int, Origin]:
    """What each row, by its place, says where it comes from; a row of a wrong width if its marks are where they would
    be, counted from its beginning or from its end."""
    columns = (usual.column(place).to_pylist() for place in (marks.upload_id, marks.row_number))
    found = {place: Origin(*each) for place, *each in zip(places.tolist(), *columns, strict=True)}
    for row in failed:
        for shift in (0, len(row.cells) - width):
            where = (marks.upload_id + shift, marks.row_number + shift)
            if min(where) >= 0 and max(where) < len(row.cells):
                origin = Origin(*(row.cells[place] for place in where))
                if None not in map(corrections.number_of, origin):
                    found[row.row_number] = origin
                    break
    return found


def _unescaped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells of a file of corrected rows without the apostrophes that escape formulas."""
    for pattern, replacement in corrections.UNESCAPES:
        column = pc.replace_substring_regex(column, pattern, replacement)
    return column


@lru_cache(1000)  # thousands of rows have the same
def _wrong_width(cells: int, width: int) -> Reason:
    return Reason(None, f"has {cells:,} {'cell' if cells == 1 else 'cells'}, expected {width:,}")
