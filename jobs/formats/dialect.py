"""Detects the dialect of a text from its first lines. No I/O.

Most files are as RFC 4180 has them, with one of four delimiters. Another dialect needs proof: without each of its
features, the table would be less regular. Of two that are equally good, the usual one is taken.
"""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from jobs.formats.header import (
    REGULAR,
    SAMPLE_RECORDS,
    are_values,
    count_evidence,
    detect_header,
    find_header,
    share_like,
    split_otherwise,
    trimmed,
)
from jobs.formats.tokenizer import Dialect, Tokenizer, Tokens

#: Usual delimiters, the most likely first.
DELIMITERS = (",", ";", "\t", "|")
#: Delimiters that a sender may choose.
CHOICES = (*DELIMITERS, " ")
#: Delimiters that are tried where no usual one makes a table.
UNUSUAL_DELIMITERS = ("~", "^", ":")
#: Characters of a sample in which unusual dialects are looked for.
UNUSUAL_SAMPLE = 1 << 17
#: Share of the records that must fit the header if spaces are delimiters: prose is regular here and there, too.
VERY_REGULAR = 0.95

_NUMBER = re.compile(r"[-+(]?[$€£¥]? ?\d[\d.,' \xa0\u202f]*[)%$€£¥]?")
_LINE = re.compile(r"[^\r\n]*+(?:\r\n?|\n|\Z)")
_APOSTROPHE = re.compile(r"(?:^|[,;\t| ])'", re.MULTILINE)
_ESCAPE = re.compile(r"""\\["',;\t|\\]""")
#: Spaces that are one delimiter, or none: several, or at the beginning or the end of a line.
_RUN = re.compile(r"\S {2,}\S|^ | (?=[\r\n]|\Z)", re.MULTILINE)
_SPACE = re.compile(r"[,;\t|] ")


def is_usual(dialect: Dialect) -> bool:
    """Whether a dialect is that of RFC 4180 with a usual delimiter."""
    return dialect == Dialect(dialect.delimiter) and dialect.delimiter in DELIMITERS


def detect_dialect(sample: str, delimiter: str | None = None) -> Dialect:
    """The dialect of a text. sample: whole lines from its beginning. delimiter: the one that was chosen."""
    whole = lines = _Sample(sample)
    if len(sample) > UNUSUAL_SAMPLE:
        cut = sample[:UNUSUAL_SAMPLE]
        lines = _Sample(cut[: max(cut.rfind("\n"), cut.rfind("\r")) + 1] or cut)
    found = _with_features(lines, Dialect(delimiter or _delimiter_of(whole)), delimiter)
    if delimiter == " ":
        found = _spaced(lines) or found
    elif delimiter is None and not _makes_table(lines, found):
        found = _spaced(lines) or _with_unusual_delimiter(lines) or found
    return _with_comments(lines, found)


def detect_delimiter(sample: str) -> str:
    """The delimiter that splits nearly every record of a sample into as many cells as the header.

    sample: whole lines from the beginning of a file. If it has a single column, the result is a delimiter that it does
    not contain.
    """
    return _delimiter_of(_Sample(sample))


def _delimiter_of(sample: "_Sample") -> str:
    first = sample.text.split("\n", 1)[0].strip()
    if first[:4].lower() == "sep=" and first[4:] in DELIMITERS:  # a line that tells Excel the delimiter
        return first[4:]
    tables = {delimiter: _table(sample, delimiter) for delimiter in DELIMITERS}
    found = {delimiter: table for delimiter, table in tables.items() if table is not None}
    if found:
        return max(found, key=lambda delimiter: found[delimiter])
    return min(DELIMITERS, key=sample.text.count)


def _table(sample: "_Sample", delimiter: str) -> tuple[float, float, bool, float, int] | None:
    """A score for a delimiter, greater is better; None: it makes a single column.

    Compared in this order: whether quotes begin and end cells; the share of records that fit the header; whether
    nothing is above the header; the share of cells without another delimiter ("1,5;2,5" split at the semicolon leaves
    two decimals, at the comma a "5;2"); the number of columns.
    """
    if delimiter not in sample.text:
        return None
    records = first_records(sample.text, delimiter)
    header = find_header(records)
    if split := split_otherwise(records):
        header, records[split[0]] = split
    if not records or len(records[header]) < 2:
        return None
    below = [record for record in records[header + 1 :] if record]
    share = share_like(records[header], below) if below else 1.0
    others = set(DELIMITERS) - {delimiter}
    cells = [cell for record in below or records for cell in record if cell]
    whole = sum(others.isdisjoint(cell) or bool(_NUMBER.fullmatch(cell)) for cell in cells) / (len(cells) or 1)
    columns = len(trimmed(records[header]))
    return _quote_fit(sample, delimiter), min(share, REGULAR), not any(records[:header]), round(whole, 1), columns


def _quote_fit(sample: "_Sample", delimiter: str) -> float:
    """The share of cells with quotes that the quotes enclose; in one decimal, as a few odd ones must not matter."""
    if '"' not in sample.text:
        return 1.0
    trial = sample.trial(Dialect(delimiter))
    return round((trial.quoted + 1) / (trial.quoted + trial.odd + 1), 1)


@dataclass(frozen=True)
class _Trial:
    """A sample split in a dialect, with what tells how regular it is. columns: of the header, 0 if there is none."""

    dialect: Dialect
    records: list[Tokens]

    @cached_property
    def cells(self) -> list[list[str]]:
        return [record.cells for record in self.records]

    @cached_property
    def position(self) -> int:
        return find_header(self.cells)

    @cached_property
    def below(self) -> list[list[str]]:
        return [cells for cells in self.cells[self.position + 1 :] if any(cells)]

    @cached_property
    def columns(self) -> int:
        return len(trimmed(self.cells[self.position])) if self.records else 0

    @cached_property
    def share(self) -> float:
        return share_like(self.cells[self.position], self.below) if self.below else float(self.columns > 0)

    @cached_property
    def quoted(self) -> int:
        return sum(record.quoted for record in self.records)

    @cached_property
    def odd(self) -> int:
        return sum(record.odd for record in self.records)

    @cached_property
    def cost(self) -> float:
        """Records that do not fit the header, and cells with stray quotes; of equal ones, what is above the header."""
        return self.misfits + self.odd + self.position / 1000

    @cached_property
    def misfits(self) -> int:
        """Records that do not fit the header."""
        return round((1 - self.share) * len(self.below))


def _tokens(sample: str, dialect: Dialect) -> list[Tokens]:
    lines = (line[0] for line in _LINE.finditer(sample) if line[0])
    first = list(itertools.islice(lines, SAMPLE_RECORDS))
    if is_usual(dialect) and (tidy := tidy_records(first, dialect.delimiter)) is not None:
        return tidy
    return list(itertools.islice(Tokenizer(dialect).records(itertools.chain(first, lines)), SAMPLE_RECORDS))


def tidy_records(lines: Sequence[str], delimiter: str) -> list[Tokens] | None:
    """The records as Tokenizer finds them, in a tenth of its time, if each is a line whose quotes only enclose cells.

    None: one is not.
    """
    try:
        records = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    text = "".join(itertools.chain.from_iterable(records))
    if len(records) != len(lines) or '"' in text or "\n" in text or "\r" in text:
        return None
    return [Tokens(line, cells, line.count('"') // 2) for line, cells in zip(lines, records, strict=True)]


class _Sample:
    """The beginning of a text, split once in each dialect that is tried."""

    def __init__(self, text: str) -> None:
        """text: whole lines."""
        self.text = text
        self._trials: dict[Dialect, _Trial] = {}

    def trial(self, dialect: Dialect) -> _Trial:
        if dialect not in self._trials:
            self._trials[dialect] = _Trial(dialect, _tokens(self.text, dialect))
        return self._trials[dialect]


def _makes_table(sample: _Sample, dialect: Dialect) -> bool:
    trial = sample.trial(dialect)
    return trial.columns > 1 and trial.share >= REGULAR


def _with_features(sample: _Sample, usual: Dialect, delimiter: str | None) -> Dialect:
    """The dialect with the features that make the table more regular. delimiter: the one that was chosen."""
    quotes = ('"', "'") if _APOSTROPHE.search(sample.text) else ('"',)
    escapes = (False, True) if _ESCAPE.search(sample.text) else (False,)
    spaces = (False, True) if _SPACE.search(sample.text) else (False,)
    combinations = list(itertools.product(quotes, escapes, spaces))
    if len(combinations) == 1 or _needs_no_feature(sample, usual, combinations):
        return usual
    delimiters = dict.fromkeys([usual.delimiter] if delimiter else [usual.delimiter, *DELIMITERS])
    trials = [
        sample.trial(Dialect(each, *features))
        for each in delimiters
        for features in combinations
        if each in sample.text
    ]
    base = next((trial for trial in trials if trial.dialect == usual), None)
    is_chosen = delimiter is not None
    proven = [trial for trial in trials if trial is base or _is_proven(sample, trial, base, is_chosen)]
    best = min(proven, key=lambda trial: (trial.columns < 2, trial.cost, -_features(trial.dialect)), default=base)
    return usual if best is None else best.dialect


def _needs_no_feature(sample: _Sample, usual: Dialect, combinations: Sequence[tuple[str, bool, bool]]) -> bool:
    """Whether no feature could make a table more regular, found without splitting it in each: all of its records fit
    the header, which is the first of them, no quote is stray, and spaces are the only feature in question."""
    if any(quote != '"' or escapes for quote, escapes, _ in combinations):
        return False
    base = sample.trial(usual)
    return base.columns > 1 and not base.cost and not _all_spaced(sample, usual)


def _features(dialect: Dialect) -> int:
    return (dialect.quote != '"') + dialect.escapes + dialect.skips_spaces


def _is_proven(sample: _Sample, trial: _Trial, base: _Trial | None, is_chosen: bool) -> bool:
    """Whether a dialect makes a regular table, more so than without any of its features.

    is_chosen: whether somebody chose the delimiter, and so means each other character as it is unless it makes rows
    irregular.
    """
    dialect = trial.dialect
    if trial.columns < 2 or trial.share < REGULAR or not _features(dialect):
        return False
    if base is not None and base.columns > 1:
        is_other = dialect.delimiter != base.dialect.delimiter
        if trial.cost > base.cost or (is_other and trial.cost == base.cost):
            return False
    if dialect.quote == "'" and not (
        _is_cheaper(sample, trial, quote='"') or (not is_chosen and _are_quotes(sample, trial))
    ):
        return False
    if dialect.escapes and not _is_cheaper(sample, trial, escapes=False):
        return False
    if not dialect.skips_spaces or _is_cheaper(sample, trial, skips_spaces=False):
        return True
    return not is_chosen and _all_spaced(sample, dialect)


def _is_cheaper(sample: _Sample, trial: _Trial, **without: object) -> bool:
    plain = sample.trial(replace(trial.dialect, **without))  # type: ignore[arg-type]  # the fields of a dialect
    if "quote" in without:  # stray quotes say nothing for apostrophes, and enclosing ones say that these are text
        return not plain.quoted and trial.quoted > 0 and (plain.columns < 2 or trial.misfits < plain.misfits)
    return plain.columns < 2 or trial.cost < plain.cost


def _are_quotes(sample: _Sample, trial: _Trial) -> bool:
    """Whether apostrophes enclose every text of some columns, in several rows, and no cell has a stray one."""
    plain = sample.trial(replace(trial.dialect, quote='"'))
    if trial.odd or plain.quoted or len(plain.below) < 2 or plain.columns != trial.columns:
        return False
    columns = [[cell.strip() for cell in column if cell.strip()] for column in zip(*plain.below, strict=False)]
    enclosed = [[len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in column] for column in columns]
    some = [column for column in enclosed if any(column)]
    return bool(some) and all(all(column) and len(column) > 1 for column in some)


def _all_spaced(sample: _Sample, dialect: Dialect) -> bool:
    """Whether a space follows every delimiter of a table."""
    rows = [row for row in sample.trial(replace(dialect, skips_spaces=False)).cells if len(row) > 1]
    cells = [cell for row in rows for cell in row[1:] if cell]
    return len(rows) > 1 and len(cells) > 3 and all(cell.startswith(" ") for cell in cells)


def _spaced(sample: _Sample) -> Dialect | None:
    """The dialect of a table whose columns are separated by spaces, if it is one beyond doubt."""
    if " " not in sample.text:
        return None
    best: Dialect | None = None
    quotes = ('"', "'") if '"' in sample.text else ("'", '"')
    for least, quote in itertools.product((2, 1, 0), quotes if _APOSTROPHE.search(sample.text) else '"'):
        dialect = Dialect(" ", quote, least_spaces=least)
        trial = sample.trial(dialect)
        needed = VERY_REGULAR if least == 2 or trial.columns < 4 else REGULAR
        if trial.columns < 2 or not trial.below or trial.share < needed or trial.odd * 10 > len(trial.records):
            continue
        if least == 2:
            if len(trial.below) > 1 and all(len(row) > 1 for row in trial.below):
                return dialect
        elif _are_columns(trial):
            best = best or dialect
    if best and best.least_spaces == 1 and not _RUN.search(sample.text):
        return replace(best, least_spaces=0)
    return best


def _are_columns(trial: _Trial) -> bool:
    """Whether cells between spaces are more than the words of a text."""
    rows = trial.cells
    quoted = any(record.quoted and any(" " in cell for cell in record.cells) for record in trial.records)
    if quoted:
        return True
    header, below = rows[trial.position], trial.below
    found = count_evidence(header, below)
    if trial.columns < 3:
        is_aligned = trial.dialect.least_spaces > 0 and any("  " in record.text.strip() for record in trial.records)
        return found.data == len(header) and (is_aligned or all("." in cell for cell in header))
    return found.header >= 2 or (found.data >= 3 and are_values(header) and "." in "".join(header))


def _with_unusual_delimiter(sample: _Sample) -> Dialect | None:
    for delimiter in UNUSUAL_DELIMITERS:
        trial = sample.trial(Dialect(delimiter))
        if trial.columns < 2 or len(trial.below) < 2 or trial.share < VERY_REGULAR or trial.odd:
            continue
        if delimiter != ":" or (trial.columns > 2 and not are_values(trial.cells[trial.position])):  # nor times
            return trial.dialect
    return None


def _with_comments(sample: _Sample, dialect: Dialect) -> Dialect:
    """The dialect with comments among its rows, if no line that begins with # has as many cells as the header."""
    if "#" not in sample.text:
        return dialect
    trial = sample.trial(dialect)
    width = trial.columns
    marked = [row for row in trial.below if row[0].lstrip().startswith("#")]
    rows = len(trial.below) - len(marked)
    if width < 2 or not marked or rows < len(marked) or any(len(row) == width for row in marked):
        return dialect
    return replace(dialect, comments=width)


def first_records(sample: str, delimiter: str) -> list[list[str]]:
    """The cells of the first SAMPLE_RECORDS records of a text."""
    found: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            found.append(record)
            if len(found) == SAMPLE_RECORDS:
                break
    except csv.Error:  # a field that is too long because its quote is never closed: the records before it are enough
        pass
    return found


def header_of(sample: str) -> list[str]:
    """The column names of a text; none if its first row is data. sample: its beginning, which may be cut anywhere."""
    lines = sample.rpartition("\n")[0] or sample
    dialect = detect_dialect(lines)
    usual = is_usual(dialect)
    records = first_records(lines, dialect.delimiter) if usual else [each.cells for each in _tokens(lines, dialect)]
    header = detect_header(records)
    return [" ".join(name.split()) for name in header.names] if header.rows else []
