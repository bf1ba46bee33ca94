"""Scans the XML of a worksheet before calamine reads it.

calamine returns "" for cells with errors and for formulas without a stored result, so these are found here. It
allocates memory for the rectangle around all cells, and two cells can be 17 billion cells apart, so every cell's
reference is found here; a worksheet that keeps a reference from the patterns is not plain.

The patterns are possessive: each byte is looked at a few times, whatever the file contains.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from itertools import chain

from jobs.pipeline.xlsx.problem import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    MAX_PROBLEMS,
    MAX_ROWS,
    Problem,
    column_number,
    damaged,
    error_cell,
    too_many_problems,
    unresolved_cell,
)

#: Bytes of XML that are scanned at once: about 50 ms of work.
PIECE_BYTES = 4 << 20
#: Bytes of XML that a row of a plain worksheet may have; 16,384 ordinary cells take about 1 MB.
MAX_ROW_BYTES = 16 << 20

#: The beginning of a cell's tag. A prefix ends with a colon.
_CELL = rb"<(?:[^\s<>/:]++:)?+c"
_REFERENCE = rb"([A-Z]{1,3})([0-9]{1,7})"
_ATTRIBUTE = rb"""[^\s=<>"'/]++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')"""
_CELL_TAG = re.compile(_CELL + rb"(\s[^<>]*+)>")
_CELL_START = re.compile(_CELL + rb"[\s/>]")
#: The usual spelling, which matches twice as fast.
_USUAL_PLACE = re.compile(rb'<c r="' + _REFERENCE + rb'"')
_PLACE = re.compile(_CELL + rb"(?:\s++(?!r[\s=])" + _ATTRIBUTE + rb""")*+\s++r\s*+=\s*+["']""" + _REFERENCE + rb"[\"']")
_KIND = re.compile(rb"""\st\s*+=\s*+["'](\w++)["']""")
_PREFIX = rb"(?:[^\s<>/:]++:)?+"
_FORMULA = rb"f(?:[\s/][^<>]*+)?+>(?:(?<=/>)|([^<]*+)</" + _PREFIX + rb"f\s*+>)\s*+"
#: Behind a formula without a result: an empty value or none, and the end of the cell.
_NO_RESULT = rb"(?:<PREFIXv\s*+/>|<PREFIXv>\s*+</PREFIXv\s*+>)?+\s*+</PREFIXc\s*+>".replace(b"PREFIX", _PREFIX)
_UNRESOLVED = re.compile(b"<" + _PREFIX + _FORMULA + _NO_RESULT)
_USUAL_UNRESOLVED = re.compile(b"<" + _FORMULA + _NO_RESULT)
_VALUE = re.compile(rb"\s*+(?:<" + _PREFIX + _FORMULA + rb")?+<" + _PREFIX + rb"v>([^<]*+)<")


@dataclass
class Survey:
    """The result of scanning a worksheet's XML.

    plain: calamine reads it as it was scanned; if not, the rest says nothing. cells: how many. strings: at most how
    many of them are shared. problems: row → column, from 0 → problem.
    """

    plain: bool = True
    cells: int = 0
    strings: int = 0
    problems: dict[int, dict[int, Problem]] = field(default_factory=dict)
    _columns: set[bytes] = field(default_factory=set)
    _rows: set[int] = field(default_factory=set)
    _found: int = 0
    _seen: bool = False
    _rest: list[bytes] = field(default_factory=list)
    _waiting: int = 0

    def see(self, piece: bytes) -> None:
        """Take a piece of the XML."""
        if not self._seen and (b"\0" in piece[:4] or piece.startswith((b"\xff\xfe", b"\xfe\xff"))):
            self.plain = False  # UTF-16, which the patterns do not match
        self._seen = self._seen or bool(piece)
        if not self.plain:
            return
        self._rest.append(piece)
        self._waiting += len(piece)
        if self._waiting >= PIECE_BYTES:
            self._scan_complete_rows()

    def finish(self) -> None:
        """Call after the last piece."""
        if self.plain:
            self._scan(b"".join(self._rest))
        self._rest = []
        if self._rows and (max(self._rows) > MAX_ROWS or self._last_column >= MAX_COLUMNS):
            raise damaged(ValueError(f"a cell beyond row {MAX_ROWS:,} or column {MAX_COLUMNS:,}"))

    @property
    def area(self) -> int:
        """Cells in the rectangle around all cells."""
        if not self._rows:
            return 0
        first_column = min(map(_column, self._columns))
        return (max(self._rows) - min(self._rows) + 1) * (self._last_column - first_column + 1)

    @property
    def _last_column(self) -> int:
        return max(map(_column, self._columns))

    def _scan_complete_rows(self) -> None:
        xml = b"".join(self._rest)
        end = max(xml.rfind(b"</row>") + 6, xml.rfind(b":row>") + 5, xml.rfind(b"<row"))
        if end > 5:
            self._scan(xml[:end])
            xml = xml[end:]
        self.plain &= len(xml) <= MAX_ROW_BYTES
        self._rest, self._waiting = [xml], min(len(xml), PIECE_BYTES // 2)

    def _scan(self, xml: bytes) -> None:
        """xml: complete rows."""
        prefixed = xml.count(b":c")
        cells = xml.count(b"<c") + prefixed
        places = _USUAL_PLACE.findall(xml)
        if len(places) < cells:
            cells = len(_CELL_START.findall(xml))
            places = _PLACE.findall(xml) if len(places) < cells else places
        if len(places) < cells:
            self.plain = False
            return
        self.cells += cells
        self.strings += xml.count(b'"s"') + xml.count(b"'s'")
        self._columns.update({letters for letters, _ in places})
        numbers = {int(number) for number in {digits for _, digits in places}}
        self._rows.update([min(numbers), max(numbers)] if numbers else [])
        self._scan_errors(xml)
        if b"<f" in xml or b":f" in xml:
            self._scan_unresolved(xml, _UNRESOLVED if prefixed else _USUAL_UNRESOLVED)

    def _scan_errors(self, xml: bytes) -> None:
        for cell in chain(_cells_with(b'"e"', xml), _cells_with(b"'e'", xml)):
            if not _is_kind(cell[1], b"e"):
                continue
            value = _VALUE.match(xml, cell.end())
            self._add(cell[0], error_cell, value[2] if value else b"")

    def _scan_unresolved(self, xml: bytes, pattern: re.Pattern[bytes]) -> None:
        for formula in pattern.finditer(xml):
            start = xml.rfind(b"<", 0, formula.start())
            cell = _CELL_TAG.match(xml, max(start, 0), formula.start())
            if cell is None or xml[cell.end() : formula.start()].strip():
                continue
            if not _is_kind(cell[1], b"str", b"e"):  # an empty text is a result, and _scan_errors finds errors
                self._add(cell[0], unresolved_cell, formula[1] or b"")

    def _add(self, tag: bytes, kind: Callable[[str, str], Problem], escaped: bytes) -> None:
        """tag: of the cell. escaped: its formula or error as XML, of which a character takes at most ten bytes."""
        if (place := _PLACE.match(tag)) is None:
            return
        self._found += 1
        if self._found > MAX_PROBLEMS:
            raise too_many_problems()
        text = unescape(escaped[: 10 * MAX_CHARACTERS].decode("utf-8", "replace"))
        row = self.problems.setdefault(int(place[2]), {})
        row[_column(place[1])] = kind(text, (place[1] + place[2]).decode())


def _cells_with(mark: bytes, xml: bytes) -> Iterator[re.Match[bytes]]:
    """The tags of cells that contain a mark. Looks for it only once between two tags."""
    end, position = 0, xml.find(mark)
    while position >= 0:
        start = xml.rfind(b"<", end, position)
        cell = _CELL_TAG.match(xml, start) if start >= 0 else None
        if cell and cell.end() > position:
            yield cell
        end = xml.find(b"<", position)
        position = xml.find(mark, end) if end >= 0 else -1


def _is_kind(attributes: bytes, *kinds: bytes) -> bool:
    found = _KIND.search(attributes)
    return found is not None and found[1] in kinds


def _column(letters: bytes) -> int:
    return column_number(letters.decode())
