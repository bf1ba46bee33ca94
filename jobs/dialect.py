"""Of a text's first lines: what stands between its cells, and which line is the header. No I/O."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

#: What may stand between two cells, the likeliest first.
DELIMITERS = (",", ";", "\t", "|")
#: Records that decide on delimiter and header.
SAMPLE_RECORDS = 100
#: Share of a sample's records that are like the header; a few odd ones must not matter.
REGULAR = 0.8
#: Lines above a header that are quoted in a sentence, and characters of one.
NAMED_LINES, NAMED_CHARACTERS = 3, 60

_NUMBER = re.compile(r"[-+(]?[$€£¥]? ?\d[\d.,' \xa0\u202f]*[)%$€£¥]?")
_VALUE = re.compile(r"[\W_]*\d[\W\d_]*|\d{4}-\d\d-\d\d[T ].*")
_YEAR = re.compile(r"(19|20)\d\d")


def detect_delimiter(sample: str) -> str:
    """The one of DELIMITERS that makes a table of a sample: as many cells in nearly every record as in the header.

    sample: whole lines from a file's beginning. For a single column, one that does not occur.
    """
    first = sample.split("\n", 1)[0].strip()
    if first[:4].lower() == "sep=" and first[4:] in DELIMITERS:  # a line by which Excel is told
        return first[4:]
    tables = {delimiter: _table(sample, delimiter) for delimiter in DELIMITERS}
    found = {delimiter: table for delimiter, table in tables.items() if table is not None}
    if found:
        return max(found, key=lambda delimiter: found[delimiter])
    return min(DELIMITERS, key=sample.count)


def find_header(records: Sequence[Sequence[str]]) -> int:
    """Which of a file's first records is the header; those above it are a title and the like.

    records: cells of each, none for a blank line. The first that is not blank is the header, unless it is narrower than
    the table below it, which must be plain, and does not look like names of columns itself.
    """
    filled = [number for number, record in enumerate(records) if any(cell.strip() for cell in record)]
    if not filled:
        return 0
    first = filled[0]
    if len(filled) > 1 and records[first][0].lower().startswith("sep="):
        return find_header([[] for _ in range(first + 1)] + list(records[first + 1 :]))
    widths = Counter(len(_trimmed(records[number])) for number in filled)
    usual = max(widths, key=lambda width: (width > 1, widths[width], width))
    header = next((number for number in filled if not _is_title(records[number], usual)), first)
    above = records[first:header]
    below = [records[number] for number in filled if number > header]
    names = _trimmed(_trimmed(records[header])[::-1])  # the table may begin with columns that have none
    plain = _are_names(names[::-1]) and _share_like(records[header], below) >= REGULAR
    return header if plain and _are_apart(above, below) else first


def skipped(above: Iterable[Sequence[str]], count: int, what: str = "line") -> str:
    """A sentence about the records above the header. count: how many lines of a text, or rows of a sheet, they are."""
    texts = [" ".join(cell.strip() for cell in record if cell.strip()) for record in above]
    shown = [f"“{shortened(text)}”" for text in texts if text]
    more = " …" if len(shown) > NAMED_LINES else ""
    called = f"{count:,} {what}{'' if count == 1 else 's'}"
    return f"Skipped {called} above the header: {', '.join(shown[:NAMED_LINES])}{more}."


def shortened(text: str) -> str:
    return text if len(text) <= NAMED_CHARACTERS else f"{text[: NAMED_CHARACTERS - 1].rstrip()}…"


def _table(sample: str, delimiter: str) -> tuple[float, bool, float, int] | None:
    """How good a table a delimiter makes, the better the greater; None: a single column.

    First come records like the header; then that nothing is above it; then cells in which no other delimiter is left
    (in "1,5;2,5" the semicolon leaves two decimals, the comma a "5;2"); then the number of columns.
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
    except csv.Error:  # a field too long, for its quote is never closed: what came before is enough
        pass
    return found


def _trimmed(record: Sequence[str]) -> Sequence[str]:
    """Without empty cells at its end."""
    width = len(record)
    while width and not record[width - 1].strip():
        width -= 1
    return record[:width]


def _is_title(record: Sequence[str], usual: int) -> bool:
    """Whether a record is too little for a table of this many columns, or not like names of columns."""
    cells = [cell for cell in record if cell.strip()]
    too_few = len(cells) == 1 or len(cells) * 2 < usual
    return len(_trimmed(record)) < usual and (too_few or not _are_names(cells))


def _are_names(cells: Sequence[str]) -> bool:
    """Not empty, no values, and different. Years may be names, but not of the first column."""
    names = [cell.strip().casefold() for cell in cells]
    values = [name for name in names if _VALUE.fullmatch(name)]
    years = not values or (names[0] not in values and all(_YEAR.fullmatch(value) for value in values))
    labels = any(name.endswith(":") for name in names)
    return bool(names) and all(names) and years and not labels and len(set(names)) == len(names)


def _share_like(header: Sequence[str], records: Sequence[Sequence[str]]) -> float:
    """The share of records that fit below a header: as many cells, where empty ones at the end do not count."""
    least, most = len(_trimmed(header)), len(header)
    fitting = sum(len(record) >= least and len(_trimmed(record)) <= most for record in records)
    return fitting / len(records) if records else 0.0


def _are_apart(above: Sequence[Sequence[str]], below: Sequence[Sequence[str]]) -> bool:
    """Whether there is proof that what is above a header is no header itself, as "comment" is above "x, y": it reads
    like a sentence, a blank line follows, or the table has a column of values."""
    if any(re.search(r"[\s:\d]", cell.strip()) for record in above for cell in record):
        return True
    if not all(any(cell.strip() for cell in record) for record in above):
        return True
    columns = itertools.zip_longest(*below, fillvalue="")
    return any(2 * sum(bool(_VALUE.fullmatch(cell)) for cell in column) > len(column) for column in columns)


def header_of(sample: str) -> list[str]:
    """The names of the columns of a text that begins so. sample: perhaps cut in the middle of a line."""
    lines = sample.rpartition("\n")[0] or sample
    records = _records(lines, detect_delimiter(lines))
    return [" ".join(cell.split()) for cell in records[find_header(records)]] if records else []
