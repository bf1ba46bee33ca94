"""Infers column types: reads a whole file once and gives each column the narrowest type that fits its values.

A type must preserve every value: "007", "+5", "1e400" and 20-digit numbers are text, and so is a column in which a
single value does not fit, unless it is a word for "no value" (missing_words.py). Types are inferred from the distinct
values of each chunk, which are few; a column that is text is not looked at again.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs import warnings
from jobs.errors import UnreadableFileError
from jobs.pipeline.missing_words import ALWAYS, AMONG_VALUES, are_missing
from jobs.pipeline.prepared_table import Hint
from jobs.pipeline.source import Tick
from jobs.pipeline.spellings import USUAL, Spelling, proposals
from jobs.pipeline.trial import Trial
from jobs.schema import TableSchema
from jobs.warnings import UploadWarning

#: Different values of a chunk that propose spellings, and characters of the longest one that may.
SAMPLE, LONGEST_SAMPLE = 100, 60
#: Different values that decide first whether a spelling is worth a look at all others.
HEAD = 256
#: Different values of a column that are kept for a spelling that a later chunk proposes, and characters of all.
MAX_SEEN, MAX_SEEN_BYTES = 10_000, 1 << 20
#: Values that a description names.
NAMED = 5


class Profile:
    """The column types of a file, inferred from its chunks in any order."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        text_only: bool = False,
        wanted: Mapping[str, str] | None = None,
        hints: Sequence[Hint] = (),
        tick: Tick = lambda: None,
    ) -> None:
        """text_only: every column is text. wanted: types that were chosen for columns; "date:%d/%m/%Y" has a format
        too. hints: of all columns, if the file's format knows their types. tick: called for each column of each chunk.
        Raises UnreadableFileError for an unknown column."""
        self._tick = tick
        names, wanted = list(names), wanted or {}
        if unknown := [name for name in wanted if name not in names]:
            found = ", ".join(f"“{name}”" for name in names[:20])
            raise UnreadableFileError(
                f"types names the column “{unknown[0]}”, which the file does not have. Its columns are: {found}."
            )
        self._columns = {
            name: _Column(
                name, "string" if text_only else wanted.get(name), is_chosen=text_only or name in wanted, hint=hint
            )
            for name, hint in zip(names, hints or repeat({}), strict=False)
        }
        self.rows = 0

    def see(self, rows: pd.DataFrame, count: int) -> None:
        """Narrow down the types. rows: of a chunk, as text. count: its rows, including failed ones."""
        self.rows += count
        for name, column in self._columns.items():
            column.see(rows[name].array.__arrow_array__())
            self._tick()

    def schema(self) -> TableSchema:
        """Raises UnreadableFileError if a type that was chosen for a column could be read in two ways."""
        return TableSchema.parse({"fields": [column.field() for column in self._columns.values()]})

    def warnings(self) -> list[UploadWarning]:
        """Which words are taken as missing. Call it after `schema`."""
        return [
            warnings.values_as_missing(name, column.taken_as_missing)
            for name, column in self._columns.items()
            if column.taken_as_missing
        ]


class _Column:
    def __init__(self, name: str, wanted: str | None, *, is_chosen: bool, hint: Hint) -> None:
        """wanted: its type, and possibly its format, if somebody chose them, which overrules the hint."""
        self._name = name
        self._is_chosen = is_chosen
        self._wanted, _, self._format = (wanted or "").partition(":")
        self._hint: Hint = {} if is_chosen else hint
        self._is_text = self._wanted == "string" or "field" in self._hint or self._hint.get("among") == []
        self._trials: list[Trial] = []
        #: Cells with a value, and without one. Words for "no value", with their cells.
        self._filled = 0
        self._empty = 0
        self._missing: dict[str, int] = {}
        self._has_spaces = False
        #: Different values of the chunks so far; None if they are too many.
        self._seen: list[pa.Array] | None = []
        self._seen_words = 0
        self._seen_bytes = 0
        #: Values that decided between two formats, by the format that they ruled out.
        self._proofs: dict[str, str] = {}
        self.taken_as_missing: dict[str, int] = {}

    def see(self, values: pa.ChunkedArray | pa.Array) -> None:
        if self._is_text:
            self._count(len(values), pc.sum(pc.equal(values, "")).as_py() or 0)
            return
        counts = pc.value_counts(values)
        words, times = counts.field("values"), counts.field("counts")
        blank = pc.equal(words, "")
        empty = pc.sum(times.filter(blank)).as_py() or 0
        self._count(len(values), empty)
        if empty:
            words, times = words.filter(pc.invert(blank)), times.filter(pc.invert(blank))
        if len(words):
            self._see_words(words, times)

    def _count(self, cells: int, empty: int) -> None:
        self._empty += empty
        self._filled += cells - empty

    def _see_words(self, words: pa.Array, times: pa.Array) -> None:
        if not self._trials:
            sample = _sample(words)
            self._trials = [Trial(each) for each in self._candidates([*USUAL, *proposals(sample)])]
        fitting = [trial for trial in self._trials if trial.is_clean and _fits_all(trial.spelling, words)]
        if not fitting:
            words, times = self._without_missing(words, times)
            if not len(words):
                self._trials = self._trials if self._seen != [] else []
                return
            fitting = [trial for trial in self._trials if trial.is_clean and _fits_all(trial.spelling, words)]
            fitting = fitting or self._late(words)
        if fitting:
            self._keep(fitting, words, times)
        else:
            self._count_misfits(words, times)
        self._remember(words)

    def _candidates(self, spellings: Iterable[Spelling]) -> list[Spelling]:
        """The spellings that come into question for the column."""
        if not self._wanted:
            among = self._hint.get("among")
            return [
                each
                for each in spellings
                if not each.only_if_wanted
                and (among is None or each.type in among or ("iso" in among and _is_iso(each)))
            ]
        found = [each for each in spellings if each.type == self._wanted]
        return [each for each in found if each.format == self._format] if self._format else found

    def _keep(self, fitting: list[Trial], words: pa.Array, times: pa.Array) -> None:
        """Go on with the spellings that fit everything."""
        for trial in self._trials:
            if trial.spelling.format and trial not in fitting:
                self._keep_proof(trial.spelling, words)
        everything = pa.repeat(True, len(words))
        for trial in fitting:
            trial.see(words, times, everything)
        self._trials = fitting

    def _keep_proof(self, spelling: Spelling, words: pa.Array) -> None:
        """The first value that rules out one of two formats of a day."""
        if spelling.rival and spelling.format not in self._proofs:
            misfits = words.filter(pc.invert(spelling.fits(words)))
            self._proofs[str(spelling.format)] = str(misfits[0])

    def _without_missing(self, words: pa.Array, times: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The words without those that mean no value, and without the spaces around them."""
        trimmed = pc.utf8_trim_whitespace(words)
        blank = pc.equal(trimmed, "")
        self._count(0, pc.sum(times.filter(blank)).as_py() or 0)
        missing = pa.array(are_missing(trimmed, AMONG_VALUES))
        for word, cells in zip(trimmed.filter(missing).to_pylist(), times.filter(missing).to_pylist(), strict=True):
            self._missing[word] = self._missing.get(word, 0) + cells
        values = pc.invert(pc.or_(blank, missing))
        self._has_spaces |= not trimmed.equals(words)
        return trimmed.filter(values), times.filter(values)

    def _late(self, words: pa.Array) -> list[Trial]:
        """Trials of spellings that these words propose, and that all words before them fit too."""
        if not self._seen:
            return []
        known = {trial.spelling.key for trial in self._trials}
        found = []
        for spelling in self._candidates(proposals(_sample(words))):
            if spelling.key not in known and all(_fits_all(spelling, each) for each in [words, *self._seen]):
                trial = Trial(spelling)
                for each in self._seen:
                    trial.see(each, pa.repeat(0, len(each)), pa.repeat(True, len(each)))
                trial.fits = max(each.fits for each in self._trials)
                found.append(trial)
        return found

    def _count_misfits(self, words: pa.Array, times: pa.Array) -> None:
        """Not all values fit any spelling: the column is text, unless it was chosen otherwise."""
        head, cells = words[:HEAD], times[:HEAD]
        for trial in self._trials:
            in_head = pc.sum(cells.filter(trial.spelling.fits(head))).as_py() or 0
            if not self._wanted and not trial.fits and 2 * in_head < pc.sum(cells).as_py():
                trial.misfits += pc.sum(times).as_py()
            else:
                trial.see(words, times, trial.spelling.fits(words))
        if not self._wanted:
            self._trials = [trial for trial in self._trials if not trial.is_hopeless]
            self._is_text = not self._trials

    def _remember(self, words: pa.Array) -> None:
        if self._seen is not None:
            self._seen.append(words)
            self._seen_words += len(words)
            self._seen_bytes += words.nbytes
            if self._seen_words > MAX_SEEN or self._seen_bytes > MAX_SEEN_BYTES:
                self._seen = None

    def field(self) -> dict[str, Any]:
        """The column as a field of a Table Schema. Its description tells people why it has its type."""
        if self._wanted not in ("", "string"):
            return self._as_wanted()
        if "field" in self._hint:
            found = self._hint["field"]
            return {"name": self._name, **found, "description": f"{found['type']}: as in the file{self._blanks}"}
        if not self._filled - sum(self._missing.values()):
            return self._text("every cell is empty" if not self._filled else None)
        clean = [trial for trial in self._trials if trial.is_clean and self._is_possible(trial)]
        if not clean:
            return self._text(None)
        if (why := _ambiguity(clean, self._name)) is not None:
            return self._text(why.format(values=f"{clean[0].fits:,}"))
        return self._typed(_best(clean))

    def _is_possible(self, trial: Trial) -> bool:
        if trial.spelling.type == "boolean" and not {word.lower() for word in self._missing} <= ALWAYS:
            return False
        return trial.is_plausible

    def _as_wanted(self) -> dict[str, Any]:
        """As the type that was chosen. Values that do not have it fail."""
        trials = sorted((trial for trial in self._trials if trial.fits), key=lambda trial: trial.misfits)
        best = [trial for trial in trials if trial.misfits == trials[0].misfits]
        if not best:
            details = {"format": self._format} if self._format else {}
            return {"name": self._name, "type": self._wanted, **details, "description": f"{self._wanted}: as chosen"}
        if not self._format and (why := _two_readings(best)) is not None:
            raise UnreadableFileError(
                f"The column “{self._name}” cannot be read as {self._wanted}: {why.format(values=f'{best[0].fits:,}')}."
                ' Say which with its format, as in {"sold": "date:%d/%m/%Y"}, or declare the dataset.'
            )
        found = self._typed(_best(best))
        return {**found, "description": f"{found['description']}; as chosen"}

    def _typed(self, trial: Trial) -> dict[str, Any]:
        self.taken_as_missing = dict(sorted(self._missing.items(), key=lambda item: -item[1]))
        rival = trial.spelling.rival
        proof = f"; “{self._proofs[rival]}” has no other reading" if rival and rival in self._proofs else ""
        missing = "".join(
            f"; `{word}` means no value ({cells:,})" for word, cells in self._named(self.taken_as_missing)
        )
        spaces = "; spaces around values are ignored" if self._has_spaces else ""
        which = "each of " if trial.is_clean else f"{trial.fits:,} of "
        count = trial.fits + trial.misfits
        evidence = f"{which}{count:,} values is {trial.spelling.called}{proof}{missing}{spaces}{self._blanks}"
        details = trial.described()
        if self.taken_as_missing:
            words = list(self.taken_as_missing)
            details["missingValues"] = ["", *words]
            if self._empty <= self.taken_as_missing[words[0]]:
                details["missingAs"] = words[0]
        return {"name": self._name, "type": trial.spelling.type, **details, "description": evidence}

    @staticmethod
    def _named(words: Mapping[str, int]) -> list[tuple[str, int]]:
        return list(words.items())[:NAMED]

    @property
    def _blanks(self) -> str:
        return f"; {self._empty:,} {'cell is' if self._empty == 1 else 'cells are'} empty" if self._empty else ""

    def _text(self, why: str | None) -> dict[str, Any]:
        """A field of text. why: None if other types do not fit."""
        found: dict[str, Any] = {"name": self._name, "type": "string"}
        if why is not None:
            blanks = self._blanks if self._filled else ""
            return {**found, "description": f"text: {why}{blanks}"}
        if self._is_chosen or self._hint:
            return {**found, "description": f"text: as {'chosen' if self._is_chosen else 'in the file'}{self._blanks}"}
        nearly = [trial for trial in self._trials if 0 < trial.misfits < trial.fits and trial.is_plausible]
        near = max(nearly, key=lambda trial: trial.fits, default=None)
        if near is None:
            return {**found, "description": f"text: no other type fits all {self._filled:,} values{self._blanks}"}
        others = dict(sorted({**self._missing, **near.examples}.items(), key=lambda item: -item[1]))
        named = ", ".join(f"`{word}` ({cells:,})" for word, cells in self._named(others))
        rest = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
        evidence = (
            f"text: {near.fits:,} of {self._filled:,} are {near.spelling.plural}; not: {named}{rest}{self._blanks}"
        )
        return {**found, "nearType": near.spelling.type, "description": evidence}


def _is_iso(spelling: Spelling) -> bool:
    """Whether a spelling is of days, or days with times, as ISO 8601 has them."""
    return spelling.type in ("date", "datetime") and (spelling.format or "%Y-%m-%d").startswith("%Y-%m-%d")


def _sample(words: pa.Array) -> list[str]:
    """Some of the words, without the spaces around them: from the whole of a chunk."""
    step = max(1, len(words) // SAMPLE)
    some = words.take(pa.array(range(0, len(words), step)))
    return [word.strip() for word in some.to_pylist() if len(word) <= LONGEST_SAMPLE]


def _fits_all(spelling: Spelling, words: pa.Array) -> bool:
    """Whether all words fit. Those that do not are mostly among the first."""
    if not pc.all(spelling.fits(words[:HEAD])).as_py():
        return False
    return len(words) <= HEAD or bool(pc.all(spelling.fits(words)).as_py())


def _best(trials: list[Trial]) -> Trial:
    """The first that fits; of a number that may have separators, the one that uses them."""
    first = trials[0]
    if first.spelling.type == "number" and first.spelling.details and not first.has_groups:
        return next((each for each in trials if each.has_groups), first)
    return first


def _ambiguity(clean: list[Trial], name: str) -> str | None:
    """Why values that fit a type are text nevertheless."""
    first = clean[0]
    if (why := _two_readings(clean)) is not None:
        return why
    if first.spelling.type != "number":
        return None
    if first.two_ways is not None:
        return "“{}” and “{}” are one number, spelled in two ways".format(*first.two_ways)
    if _best(clean).could_be_thousands:
        return "the points or commas could be between thousands, or before decimals"
    if not first.is_regular and "version" in name.casefold():
        return "versions, not amounts"
    return None


def _two_readings(clean: list[Trial]) -> str | None:
    """Whether the values have two meanings: of a day and a month, or of a comma."""
    first = clean[0].spelling
    if first.rival is not None and first.rival in {trial.spelling.format for trial in clean[1:]}:
        return "day and month could be swapped in all {values} dates"
    if first.type != "number" or not first.details or "exponent" in first.details:
        return None
    grouped = [trial for trial in clean if trial.has_groups]
    decimal = [trial for trial in clean if trial.has_point and not trial.has_groups]
    if not grouped or not decimal:
        return None
    if grouped[0].is_surely_grouped or not decimal[0].is_regular:
        return None
    mark = grouped[0].spelling.details["groupChar"]
    name = {",": "comma", ".": "point"}.get(mark, "sign")
    return f"the {name} could be between thousands, or before decimals, in all {{values}} numbers"
