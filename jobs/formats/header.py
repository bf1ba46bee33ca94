"""Finds the header in the first records of a table, and decides from its cells whether there is one. No I/O.

The header is the first record that is not blank, unless there is proof of something else: a title or a comment is
above it, it has several rows, or the first record is a row like those below. Evidence is the kind of a cell (number,
date, …) against the kind of the column below, and values that occur again in their column.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

#: Records that the header is detected from.
SAMPLE_RECORDS = 100
#: Share of a sample's records that must fit the header; a few odd ones must not matter.
REGULAR = 0.8
#: Share of a column's values that must be of one kind.
UNIFORM = 0.9
#: Lines above the header that a note quotes, and characters of each.
NAMED_LINES, NAMED_CHARACTERS = 3, 60
#: Columns that evidence is taken from; more say nothing new.
EVIDENT_COLUMNS = 500
#: Records above the header that are tried as titles by the kinds of the columns below.
MAX_TITLES = 20
#: Columns of a header at least that is split at another delimiter than the rows: a title may have two words.
FEWEST_SPLIT = 3
#: Rows of a header at most.
MAX_HEADER_ROWS = 3
#: Columns of one kind that a few odd cells in the first row may contradict: so many for each odd one.
OUTVOTED = 8
#: Characters of a cell that may be a number or a date; longer ones are text.
LONGEST_VALUE = 60

_VALUE = re.compile(r"[\W_]*\d[\W\d_]*|\d{4}-\d\d-\d\d[T ].*")
_YEAR = re.compile(r"(19|20)\d\d")
_INTEGER = re.compile(r"-?\d{1,9}")
#: Kinds of values, in the order in which they are tried. A month's name alone is none: it may be a column's name.
_KINDS = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        "time": r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[ap]\.?m\.?)?",
        "date": r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d\d))(?:[T ]\d{1,2}:\d\d.{0,20})?"
        r"|\d{1,2}[ .-]{1,2}[a-zäéûà]{3,10}\.?[ ,-]{1,2}(?:\d{4}|\d\d)|[a-zäéûà]{3,10}\.? \d{1,2}, ?\d{4}",
        "number": r"[-+(]?\s?[$€£¥]?\s?[-+]?(?:\d[\d.,' \xa0\u202f]*|[.,]\d+)(?:e[-+]?\d{1,4})?\s?[)%$€£¥]?",
        "address": r"[^\s@]+@[^\s@]+\.[a-z]{2,}|(?:https?://|www\.)\S+",
    }.items()
}
_MISSING = frozenset(
    ["", "na", "n/a", "n.a.", "nan", "null", "none", "nil", "-", "--", "—", "–", "?", ".", "..", "*", "#n/a", "missing"]  # noqa: RUF001
)


@dataclass(frozen=True)
class Header:
    """position: of its first record, or of the first row if there is none. rows: its records; 0: there is none.

    names: a cell for each column, as they are in the file; those of several rows are joined. is_guessed: the first
    row could as well be data.
    """

    position: int
    rows: int
    names: list[str] = field(default_factory=list)
    is_guessed: bool = False

    @property
    def end(self) -> int:
        """The position of the first record below."""
        return self.position + self.rows


def detect_header(records: Sequence[Sequence[str]], *, above: bool = True) -> Header:
    """The header of a table. records: the first of a file, with an empty one for each blank line.

    above: whether titles or comments may be above it.
    """
    if split := split_otherwise(records):
        return Header(split[0], 1, split[1])
    position, comments = _position(records) if above else (0, 0)
    if position >= len(records):
        return Header(0, 1)
    below = _below(records, position)
    first = records[position]
    if comments and first[0].lstrip().startswith("#"):
        first = _without_mark(first)
    elif (count := _row_count(records, position)) > 1:
        return Header(position, count, _joined(records[position : position + count]))
    else:
        has_header, is_guessed = _judged(first, below)
        if not has_header:
            return without_header(records, position)
        titles = [record for record in records[:position] if sum(1 for cell in record if cell.strip()) > 1]
        if is_guessed or (titles and not comments and not count_evidence(first, below).header):
            return Header(position, 1, _named(first, below), True)  # a title of several cells could be the header
    return Header(position, 1, _named(first, below))


def split_otherwise(records: Sequence[Sequence[str]]) -> tuple[int, list[str]] | None:
    """The position and the names of a header whose delimiter is another one than that of the rows below it.

    A title with as many words as there are columns has a header below, not a row.
    """
    position = next((number for number, record in enumerate(records) if _is_filled(record)), 0)
    below = _below(records, position)
    if not below or len(records[position]) != 1:
        return None
    [width, count] = Counter(map(len, below)).most_common(1)[0]
    rows = [record for record in below if len(record) == width]
    if width < FEWEST_SPLIT or count < REGULAR * len(below) or count_evidence(rows[0], rows[1:]).header:
        return None
    for delimiter in ",;\t| ":
        names = [name.strip().strip('"') for name in records[position][0].split(delimiter)]
        if len(names) == width and are_names(names) and count_evidence(names, rows).header:
            return position, names
    return None


def header_at(records: Sequence[Sequence[str]], position: int) -> Header:
    """The header at a position that somebody chose."""
    return Header(position, 1, _named(records[position], _below(records, position)))


def without_header(records: Sequence[Sequence[str]], position: int = 0) -> Header:
    """The first row is data. Its columns have no names."""
    while position < len(records) and not _is_filled(records[position]):
        position += 1
    widths = Counter(len(record) for record in records[position:] if record)
    width = max(widths, key=lambda width: (widths[width], width), default=0)
    return Header(position, 0, [""] * width)


def find_header(records: Sequence[Sequence[str]]) -> int:
    """The position of the header row, or of the first row, in the first records of a file.

    records: the cells of each; empty for a blank line. Records above the header are titles or comments.
    """
    return _position(records)[0]


def _position(records: Sequence[Sequence[str]]) -> tuple[int, int]:
    """The position of the header row, and how many comments are above it, or are it."""
    return _sought(tuple(map(tuple, records)))


@lru_cache(maxsize=4)  # who tries dialects asks about the same records several times, and so does who reads the header
def _sought(records: Sequence[Sequence[str]]) -> tuple[int, int]:
    filled = [number for number, record in enumerate(records) if _is_filled(record)]
    if not filled:
        return 0, 0
    while len(filled) > 1 and records[filled[0]][0].lower().startswith("sep="):
        del filled[0]
    comments = _comments(records, filled)
    if comments and comments < len(filled):
        last, rest = filled[comments - 1], filled[comments:]
        if _is_commented_header(records, last, rest):
            return last, comments
        return _below_titles(records, rest), comments
    return _below_titles(records, filled), 0


def _comments(records: Sequence[Sequence[str]], filled: Sequence[int]) -> int:
    """How many records at the beginning are marked as comments."""
    count = 0
    while count < len(filled) and (cell := records[filled[count]][0].lstrip()).startswith("#"):
        if cell.strip("# ") == "" and len(trimmed(records[filled[count]])) > 1:  # a column of numbers is called “#”
            break
        count += 1
    return count


def _is_commented_header(records: Sequence[Sequence[str]], last: int, rest: Sequence[int]) -> bool:
    """Whether the last comment names the columns: it has as many cells as the rows, and these are not below another."""
    rows = [records[number] for number in rest]
    names = _without_mark(records[last])
    if len(names) < 2 or share_like(names, rows) < REGULAR:
        return False
    if any(name.startswith(" ") for name in names) and not any(cell.startswith(" ") for row in rows for cell in row):
        return False  # prose with commas
    if any(": " in name for name in names):
        return False
    return not count_evidence(rows[0], rows[1:]).header


def _without_mark(record: Sequence[str]) -> list[str]:
    first = record[0].lstrip().lstrip("#").lstrip()
    return [first, *record[1:]] if first or len(record) == 1 else list(record[1:])


def _below_titles(records: Sequence[Sequence[str]], filled: Sequence[int]) -> int:
    """The header is the first record, unless what follows proves that it is a title.

    Proof is a table below that is regular and wider than the title, or that has columns of values below names.
    """
    first = filled[0]
    widths = Counter(len(trimmed(records[number])) for number in filled)
    usual = max(widths, key=lambda width: (width > 1, widths[width], width))
    header = next((number for number in filled if not _is_title(records[number], usual)), first)
    above = records[first:header]
    below = [records[number] for number in filled if number > header]
    names = trimmed(trimmed(records[header])[::-1])  # the first columns may have no name
    is_like_rows = share_like(records[header], below) >= REGULAR
    is_table = is_like_rows and count_evidence(records[header], below).header > 0
    if header > first and is_table and _is_grouped(records, header):
        return header - 1
    regular = are_names(names[::-1]) and is_like_rows
    if regular and header > first and _are_separate(above, [records[header], *below]):
        return header
    return _proven_by_kinds(records, filled)


def _is_grouped(records: Sequence[Sequence[str]], header: int) -> bool:
    """Whether the record above a header names groups of its columns."""
    above, names = records[header - 1], records[header]
    return _is_group_row(above, names) and are_names(_joined([above, names]))


def _proven_by_kinds(records: Sequence[Sequence[str]], filled: Sequence[int]) -> int:
    """The header below titles of any width: names above columns of numbers or dates. Else the first record."""
    for place, number in enumerate(filled[1:MAX_TITLES], start=1):
        candidate = records[number]
        below = [records[each] for each in filled[place + 1 :]]
        width = len(trimmed(candidate))
        if width < 2 or len(below) < 2 or not are_names(trimmed(candidate)):
            continue
        above = [records[each] for each in filled[:place]]
        if share_like(candidate, below) < REGULAR or not all(
            _cannot_head(each, width, len(candidate)) for each in above
        ):
            continue
        if _names_oddly(above[0], width, len(candidate)) and any(_is_row(each, below) for each in above[1:]):
            continue
        found = count_evidence(candidate, below)
        if found.header and not found.data and not found.recurring:
            return number - 1 if _is_group_row(records[number - 1], candidate) else number
    return filled[0]


def _cannot_head(record: Sequence[str], width: int, widest: int) -> bool:
    """Whether a record cannot be the header of a table with this many columns. widest: with the empty cells at the end
    of its rows, which are columns if the record names them."""
    cells = [cell.strip() for cell in trimmed(record)]
    return not width <= len(cells) <= widest or not are_names(cells)


def _names_oddly(record: Sequence[str], width: int, widest: int) -> bool:
    """Whether a record may name columns, although some names are missing, repeated or a year in the first column."""
    cells = [cell.strip() for cell in trimmed(record)]
    is_odd = any(cell.endswith(":") or (_VALUE.fullmatch(cell) and not _YEAR.fullmatch(cell)) for cell in cells)
    return width <= len(cells) <= widest and not is_odd


def _is_row(record: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a record has values of the kinds of the columns below."""
    found = count_evidence(record, below)
    return found.data > 0 and not found.header


@dataclass
class Evidence:
    """Columns that tell whether a record is a header.

    header: its cell differs in kind from the values below. data: it is of their kind. recurring: it is one of them.
    series: numbers such as 2001, 2002, … that may name columns. doubtful: a number above text.
    """

    header: int = 0
    data: int = 0
    recurring: int = 0
    texts: int = 0
    doubtful: int = 0
    starts_with_name: bool = False


def count_evidence(first: Sequence[str], below: Sequence[Sequence[str]]) -> Evidence:
    found, numbers = Evidence(), list[int]()
    rows = [record for record in below if record and not _repeats(record, first)]
    for place, cell in enumerate(first[:EVIDENT_COLUMNS]):
        values = [row[place].strip() for row in rows if place < len(row)]
        values = [value for value in values if value.casefold() not in _MISSING]
        name = cell.strip()
        if not values or name.casefold() in _MISSING:
            continue
        kind, expected = _kind(name), _kind_of_column(values)
        if expected is None:
            found.texts += 1
            found.data += kind in ("date", "time", "address")
            found.recurring += name in values
            found.doubtful += kind == "number" and name not in values
        elif kind == expected == "number":
            numbers.append(place)
        elif kind == expected:
            found.data += 1
        else:
            found.header += 1
            found.starts_with_name |= place == 0
    if _are_series(first, rows, numbers):
        are_years = all(_YEAR.fullmatch(first[place].strip()) for place in numbers)
        found.doubtful += not found.header and not (are_years and len(numbers) < len(trimmed(first)))
    else:
        found.data += len(numbers)
    return found


def _repeats(record: Sequence[str], first: Sequence[str]) -> bool:
    """Whether a record is the first one again, perhaps with further cells."""
    pairs = itertools.zip_longest(record[: len(first)], first, fillvalue="")
    return all(cell.strip() == name.strip() for cell, name in pairs)


def _are_series(first: Sequence[str], rows: Sequence[Sequence[str]], places: Sequence[int]) -> bool:
    """Whether the numbers in a record name columns, as 2001, 2002, … do, and the rows below have no such numbers."""
    if not places or places[0] == 0 < len(first) - len(places):
        return False
    names = [first[place].strip() for place in places]
    below = [[row[place].strip() for place in places if place < len(row)] for row in rows[:5]]
    return _is_series(names) and not all(_is_series(cells) for cells in below)


def _is_series(cells: Sequence[str]) -> bool:
    """Distinct years, or at least three whole numbers with the same distance."""
    if cells and all(_YEAR.fullmatch(cell) for cell in cells):
        return len(set(cells)) == len(cells)
    if len(cells) < 3 or not all(_INTEGER.fullmatch(cell) for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return len(steps) == 1 and steps != {0}


def _judged(first: Sequence[str], below: Sequence[Sequence[str]]) -> tuple[bool, bool]:
    """Whether a record is a header, and whether that is a guess."""
    if not below:
        cells = [cell.strip() for cell in first if cell.strip()]
        values = sum(_kind(cell) is not None and not _YEAR.fullmatch(cell) for cell in cells)
        return values * 2 < len(cells) or not values, values > 0
    found = count_evidence(first, below)
    against = found.data + found.recurring
    if found.header:
        if against >= OUTVOTED * found.header and not found.starts_with_name:
            return False, False
        return True, found.data > (found.header if found.starts_with_name else 0)
    if found.data or (found.recurring >= 2 and found.recurring * 3 >= found.texts):
        return False, False
    names = [cell.strip() for cell in first if cell.strip()]
    return True, bool(found.recurring or found.doubtful or len(set(names)) < len(names))


def are_values(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers, dates or the like."""
    return all(_kind(cell.strip()) for cell in cells if cell.strip())


def _kind(cell: str) -> str | None:
    return None if len(cell) > LONGEST_VALUE else _kind_of_short(cell)


@lru_cache(maxsize=4096)  # the same cells are looked at for each dialect that is tried
def _kind_of_short(cell: str) -> str | None:
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(cell)), None)


def _kind_of_column(values: Sequence[str]) -> str | None:
    """The kind that nearly all of a column's values have; None: text."""
    kind, count = Counter(map(_kind, values)).most_common(1)[0]
    return kind if count >= UNIFORM * len(values) else None


def _row_count(records: Sequence[Sequence[str]], position: int) -> int:
    """How many records the header at a position has: further ones have names, too, above columns of values."""
    count = 1
    while count < MAX_HEADER_ROWS and _continues_header(records, position, position + count):
        count += 1
    return count


def _continues_header(records: Sequence[Sequence[str]], position: int, number: int) -> bool:
    below = _below(records, number) if number < len(records) else []
    if len(below) < 2 or not _is_filled(records[number]):
        return False
    upper, lower = records[position], records[number]
    cells = [cell.strip() for cell in lower if cell.strip()]
    if len(trimmed(lower)) > max(len(upper), len(below[0])) or len(cells) < 2 or list(upper) == list(lower):
        return False
    if any(_kind(cell) or cell.casefold() in _MISSING for cell in cells if not _YEAR.fullmatch(cell)):
        return False
    found = count_evidence(lower, below)
    if found.data or found.recurring or not found.header:
        return False
    return _is_group_row(upper, lower) or (found.header >= 2 and len(set(cells)) * 2 > len(cells))


def _is_group_row(upper: Sequence[str], lower: Sequence[str]) -> bool:
    """Whether a record names groups of columns: at least two names, all but the first above two or more names each."""
    if len(upper) < len(trimmed(lower)):
        return False
    starts = [
        place
        for place, cell in enumerate(upper)
        if cell.strip() and _is_cell(lower, place) and (place == 0 or cell != upper[place - 1])
    ]
    if not starts:
        return False
    ends = [*starts[1:], len(trimmed(lower))]
    spans = [end - start for start, end in zip(starts, ends, strict=True)]
    alone = sum(1 for place, cell in enumerate(upper) if cell.strip() and not _is_cell(lower, place))
    names = {upper[place].strip() for place in starts}
    return bool(spans) and len(names) + alone >= 2 and all(span >= 2 for span in spans[1:] or spans)


def _is_cell(record: Sequence[str], place: int) -> bool:
    return place < len(record) and bool(record[place].strip())


def _joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of a header of several rows. A name of a group stands for the empty cells to its right."""
    width = max(len(trimmed(row)) for row in rows)
    filled = [[row[place].strip() if place < len(row) else "" for place in range(width)] for row in rows]
    for upper, lower in itertools.pairwise(filled):
        if not _is_group_row(upper, lower):
            continue
        group = ""
        for place in range(width):
            group = upper[place] or group
            if lower[place]:
                upper[place] = group
            else:
                group = ""
    return [" ".join(dict.fromkeys(cell for cell in column if cell)) for column in zip(*filled, strict=True)]


def _named(header: Sequence[str], below: Sequence[Sequence[str]]) -> list[str]:
    """The cells of a header without those that name nothing, if no row has as many cells."""
    widest = max((len(record) for record in below), default=len(header))
    names = list(header[: max(widest, len(trimmed(header)))])
    named = [name for name in names if name.strip()]
    return named if len(named) == widest else names


def skipped_note(above: Iterable[Sequence[str]], count: int, what: str = "line") -> str:
    """A sentence about the records above the header. count: how many lines of a text, or rows of a worksheet."""
    texts = [" ".join(cell.strip() for cell in record if cell.strip()) for record in above]
    shown = [f"“{shortened(text)}”" for text in texts if text]
    more = " …" if len(shown) > NAMED_LINES else ""
    called = f"{count:,} {what}{'' if count == 1 else 's'}"
    return f"Skipped {called} above the header: {', '.join(shown[:NAMED_LINES])}{more}."


def shortened(text: str) -> str:
    return text if len(text) <= NAMED_CHARACTERS else f"{text[: NAMED_CHARACTERS - 1].rstrip()}…"


def _is_filled(record: Sequence[str]) -> bool:
    return any(cell.strip() for cell in record)


def _below(records: Sequence[Sequence[str]], position: int) -> list[Sequence[str]]:
    return [record for record in records[position + 1 :] if _is_filled(record)]


def trimmed(record: Sequence[str]) -> Sequence[str]:
    """The record without empty cells at its end."""
    width = len(record)
    while width and not record[width - 1].strip():
        width -= 1
    return record[:width]


def _is_title(record: Sequence[str], usual: int) -> bool:
    """Whether a record is too short for a table with this many columns, or does not look like column names."""
    cells = [cell for cell in record if cell.strip()]
    too_few = len(cells) == 1 or len(cells) * 2 < usual
    return len(trimmed(record)) < usual and (too_few or not are_names(cells))


def are_names(cells: Sequence[str]) -> bool:
    """Whether cells are distinct, not empty and not values. Years may be names, but not of the first column."""
    names = [cell.strip().casefold() for cell in cells]
    values = [name for name in names if _VALUE.fullmatch(name)]
    years = not values or (names[0] not in values and all(_YEAR.fullmatch(value) for value in values))
    labels = any(name.endswith(":") for name in names)
    return bool(names) and all(names) and years and not labels and len(set(names)) == len(names)


def share_like(header: Sequence[str], records: Sequence[Sequence[str]]) -> float:
    """The share of records with as many cells as the header, ignoring empty cells at the end."""
    least, most = len(trimmed(header)), len(header)
    fitting = sum(len(record) >= least and len(trimmed(record)) <= most for record in records)
    return fitting / len(records) if records else 0.0


def _are_separate(above: Sequence[Sequence[str]], below: Sequence[Sequence[str]]) -> bool:
    """Whether the records above a table are certainly not its header, as "comment" above "x, y" might be.

    They are not if they read like a sentence, if a blank line follows, if the table has a column of values, or if it
    has at least three columns in each of several rows and no space after a delimiter, as prose has. below: the header
    first.
    """
    if any(re.search(r"[\s:\d]", cell.strip()) for record in above for cell in record):
        return True
    if not all(_is_filled(record) for record in above):
        return True
    rows = below[1:]
    values = Counter(place for record in rows for place, cell in enumerate(record) if _VALUE.fullmatch(cell))
    if any(2 * count > len(rows) for count in values.values()):
        return True
    widths = {len(trimmed(record)) for record in below}
    spaced = any(cell.startswith(" ") for record in below for cell in record)
    return len(rows) >= 2 and len(widths) == 1 and max(widths) >= 3 and not spaced
