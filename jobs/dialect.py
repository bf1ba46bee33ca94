"""Detects the dialect of a text from its first lines: the delimiter and the header row. No I/O."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence

#: Possible delimiters, the most likely first.
DELIMITERS = (",", ";", "\t", "|")
#: Records that delimiter and header row are detected from.
SAMPLE_RECORDS = 100
#: Share of a sample's records that must fit the header; a few odd ones must not matter.
REGULAR = 0.8
#: Lines above the header that a note quotes, and characters of each.
NAMED_LINES, NAMED_CHARACTERS = 3, 60

_NUMBER = re.compile(r"[-+(]?[$€£¥]? ?\d[\d.,' \xa0\u202f]*[)%$€£¥]?")
_VALUE = re.compile(r"[\W_]*\d[\W\d_]*|\d{4}-\d\d-\d\d[T ].*")
_YEAR = re.compile(r"(19|20)\d\d")


def detect_delimiter(sample: str) -> str:
    """The delimiter that splits nearly every record of a sample into as many cells as the header.

    sample: whole lines from the beginning of a file. If it has a single column, the result is a delimiter that it does
    not contain.
    """
    first = sample.split("\n", 1)[0].strip()
    if first[:4].lower() == "sep=" and first[4:] in DELIMITERS:  # a line that tells Excel the delimiter
        return first[4:]
    tables = {delimiter: _table(sample, delimiter) for delimiter in DELIMITERS}
    found = {delimiter: table for delimiter, table in tables.items() if table is not None}
    if found:
        return max(found, key=lambda delimiter: found[delimiter])
    return min(DELIMITERS, key=sample.count)


def find_header(records: Sequence[Sequence[str]]) -> int:
    """The position of the header row in the first records of a file. Records above it are titles or comments.

    records: the cells of each; empty for a blank line. The header is the first record that is not blank, unless it is
    narrower than the table below it, does not look like column names, and the table is regular.
    """
    filled = [number for number, record in enumerate(records) if any(cell.strip() for cell in record)]
    if not filled:
        return 0
    while len(filled) > 1 and records[filled[0]][0].lower().startswith("sep="):
        del filled[0]
    first = filled[0]
    widths = Counter(len(_trimmed(records[number])) for number in filled)
    usual = max(widths, key=lambda width: (width > 1, widths[width], width))
    header = next((number for number in filled if not _is_title(records[number], usual)), first)
    above = records[first:header]
    below = [records[number] for number in filled if number > header]
    names = _trimmed(_trimmed(records[header])[::-1])  # the first columns may have no name
    regular = _are_names(names[::-1]) and _share_like(records[header], below) >= REGULAR
    return header if regular and _are_separate(above, below) else first


def skipped_note(above: Iterable[Sequence[str]], count: int, what: str = "line") -> str:
    """A sentence about the records above the header. count: how many lines of a text, or rows of a worksheet."""
    texts = [" ".join(cell.strip() for cell in record if cell.strip()) for record in above]
    shown = [f"“{shortened(text)}”" for text in texts if text]
    more = " …" if len(shown) > NAMED_LINES else ""
    called = f"{count:,} {what}{'' if count == 1 else 's'}"
    return f"Skipped {called} above the header: {', '.join(shown[:NAMED_LINES])}{more}."


def shortened(text: str) -> str:
    return text if len(text) <= NAMED_CHARACTERS else f"{text[: NAMED_CHARACTERS - 1].rstrip()}…"


def _table(sample: str, delimiter: str) -> tuple[float, bool, float, int] | None:
    """A score for a delimiter, greater is better; None: it makes a single column.

    Compared in this order: the share of records that fit the header; whether nothing is above the header; the share of
    cells without another delimiter ("1,5;2,5" split at the semicolon leaves two decimals, at the comma a "5;2"); the
    number of columns.
    """
    records = _records(sample, delimiter)
    header = find_header(records)
    if not records or len(records[header]) < 2:
        return None
    below = [record for record in records[header + 1 :] if record]
    share = _share_like(records[header], below) if below else 1.0
    others = set(DELIMITERS) - {delimiter}
    cells = [cell for record in below or records for cell in record if cell]
    whole = sum(others.isdisjoint(cell) or bool(_NUMBER.fullmatch(cell)) for cell in cells) / (len(cells) or 1)
    return min(share, REGULAR), not any(records[:header]), round(whole, 1), len(_trimmed(records[header]))


def _records(sample: str, delimiter: str) -> list[list[str]]:
    found: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            found.append(record)
            if len(found) == SAMPLE_RECORDS:
                break
    except csv.Error:  # a field that is too long because its quote is never closed: the records before it are enough
        pass
    return found


def _trimmed(record: Sequence[str]) -> Sequence[str]:
    """The record without empty cells at its end."""
    width = len(record)
    while width and not record[width - 1].strip():
        width -= 1
    return record[:width]


def _is_title(record: Sequence[str], usual: int) -> bool:
    """Whether a record is too short for a table with this many columns, or does not look like column names."""
    cells = [cell for cell in record if cell.strip()]
    too_few = len(cells) == 1 or len(cells) * 2 < usual
    return len(_trimmed(record)) < usual and (too_few or not _are_names(cells))


def _are_names(cells: Sequence[str]) -> bool:
    """Whether cells are distinct, not empty and not values. Years may be names, but not of the first column."""
    names = [cell.strip().casefold() for cell in cells]
    values = [name for name in names if _VALUE.fullmatch(name)]
    years = not values or (names[0] not in values and all(_YEAR.fullmatch(value) for value in values))
    labels = any(name.endswith(":") for name in names)
    return bool(names) and all(names) and years and not labels and len(set(names)) == len(names)


def _share_like(header: Sequence[str], records: Sequence[Sequence[str]]) -> float:
    """The share of records with as many cells as the header, ignoring empty cells at the end."""
    least, most = len(_trimmed(header)), len(header)
    fitting = sum(len(record) >= least and len(_trimmed(record)) <= most for record in records)
    return fitting / len(records) if records else 0.0


def _are_separate(above: Sequence[Sequence[str]], below: Sequence[Sequence[str]]) -> bool:
    """Whether the records above a header are certainly not a header, as "comment" above "x, y" might be.

    They are not if they read like a sentence, if a blank line follows, or if the table has a column of values.
    """
    if any(re.search(r"[\s:\d]", cell.strip()) for record in above for cell in record):
        return True
    if not all(any(cell.strip() for cell in record) for record in above):
        return True
    values = Counter(place for record in below for place, cell in enumerate(record) if _VALUE.fullmatch(cell))
    return any(2 * count > len(below) for count in values.values())


def table_of(sample: str) -> list[list[str]]:
    """The records of a text from its header on; of the header, the column names. sample: its beginning; it may end in
    the middle of a line."""
    lines = sample.rpartition("\n")[0] or sample
    records = _records(lines, detect_delimiter(lines))
    header, *rows = records[find_header(records) :] or [[]]
    return [[" ".join(cell.split()) for cell in header], *rows]
