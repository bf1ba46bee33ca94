"""The bench: failed rows, what repairs make of them, and what is wrong with them then, by the import's validator.

Some reasons are not the validator's: a record of a wrong width, a cell that the workbook has no value for, a key that
another row has. Such a reason remains until somebody changes what it is about.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.failed_rows import Reason
from jobs.pipeline import conflicts
from jobs.pipeline.mending.applying import apply
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.validator import Validator
from jobs.repair.open_rows import OpenRow
from jobs.repair.repairs import Repair
from jobs.repair.rules import Rule
from jobs.schema import TableSchema

#: The validator's reason about a row as a whole.
_KEY_TOO_LONG = re.compile(r"has a key \(")
_SAME_KEY = re.compile(r"has the same (.+) as (?:an earlier row|a row in the dataset)")


@dataclass(frozen=True)
class Substitution:
    """Replaces a text wherever it is in the values of a field. column: the field."""

    column: str
    find: str
    text: str

    def apply(self, values: pa.Array) -> pa.Array:
        return pc.replace_substring(values, self.find, self.text)


Change = Repair | Substitution


@dataclass(frozen=True)
class Mended:
    """A row with other edits than before, and what is wrong with it then."""

    row: OpenRow
    edits: Mapping[str, str]
    wrong: Sequence[Reason]


class Bench:
    """Works on the failed rows of one upload."""

    def __init__(
        self, schema: TableSchema, sources: Mapping[str, str], header: Sequence[str], rules: Sequence[Rule] = ()
    ) -> None:
        """sources: field → the file's column. header: the columns of the file. rules: of the dataset, which the import
        of the rows applies."""
        self._schema = schema
        self._sources = sources
        self._header = header
        self._validator = Validator(schema, sources)
        self._rules = RuleSet(0, rules, schema) if rules else None

    def judge(self, rows: Sequence[tuple[OpenRow, Mapping[str, str]]]) -> list[list[Reason]]:
        """What is wrong with each row once it has these edits."""
        if not rows:
            return []
        edited = [replace(row, edits=edits).texts(self._header) for row, edits in rows]
        columns = zip(*edited, strict=True) if self._header else ()
        table = {
            name: pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, pa.string())))
            for name, cells in zip(self._header, columns, strict=True)
        }
        failed = self._validator.validate(pd.DataFrame(table, index=range(len(rows)), copy=False), self._rules).failed
        found = {each.row_number: each.reasons for each in failed}
        return [
            [*self._remaining(row, edits), *found.get(place, [])] if edits else list(row.reasons)
            for place, (row, edits) in enumerate(rows)
        ]

    def mend(self, rows: Sequence[OpenRow], repairs: Sequence[Change]) -> list[Mended]:
        """The rows that repairs change, one repair after the other."""
        rows = [row for row in rows if not self._is_uncertain(row)]
        if not rows:
            return []
        texts = [row.texts(self._header) for row in rows]
        places = {name: place for place, name in enumerate(self._header)}
        names = {self._sources[each.column] for each in repairs if each.column in self._sources}
        before = {name: pa.array([cells[places[name]] for cells in texts], pa.string()) for name in names}
        after = dict(before)
        for repair in repairs:
            if repair.column in self._sources:
                name = self._sources[repair.column]
                after[name] = self._changed(repair, after[name])
        changed: dict[int, dict[str, str]] = {}
        for name in sorted(names):
            other = np.flatnonzero(pc.not_equal(before[name], after[name]).to_numpy(zero_copy_only=False))
            for place, text in zip(other.tolist(), after[name].take(pa.array(other)).to_pylist(), strict=True):
                changed.setdefault(place, {})[name] = text
        pairs = [(rows[place], rows[place].edits_with(self._header, texts)) for place, texts in sorted(changed.items())]
        return [Mended(row, edits, wrong) for (row, edits), wrong in zip(pairs, self.judge(pairs), strict=True)]

    def _changed(self, change: Change, values: pa.Array) -> pa.Array:
        return change.apply(values) if isinstance(change, Substitution) else apply(change, values, self._schema)

    def table(self, rows: Sequence[OpenRow]) -> pa.Table:
        """The rows as they are now, a text column for each column of the file."""
        texts = [row.texts(self._header) for row in rows]
        return pa.table(
            {name: pa.array([cells[place] for cells in texts], pa.string()) for place, name in enumerate(self._header)}
        )

    def is_blocked(self, row: OpenRow) -> bool:
        """Whether no repair of a value rescues a row: it could not be read, or wants a key that another row has."""
        return self._is_uncertain(row) or any(map(conflicts.is_about_other_rows, row.still_wrong))

    def _is_uncertain(self, row: OpenRow) -> bool:
        """Whether nobody can tell which cell is which: then only a person can mend the row."""
        return any(map(_is_about_the_record, row.still_wrong))

    def _remaining(self, row: OpenRow, edits: Mapping[str, str]) -> list[Reason]:
        """The reasons for which a row failed that the validator does not know, if they remain with edits."""
        return [reason for reason in row.reasons if self._remains(reason, edits)]

    def _remains(self, reason: Reason, edits: Mapping[str, str]) -> bool:
        if conflicts.is_about_other_rows(reason):
            names = [reason.column] if reason.column else self._key_of(reason)
            return not any(self._column(name) in edits for name in names)
        if reason.column is None or reason.value is not None or reason.rule == "is required":
            return False  # the validator says it again, or somebody changed the record
        return self._column(reason.column) not in edits  # a cell without a value that the validator could judge

    def _key_of(self, reason: Reason) -> list[str]:
        found = _SAME_KEY.fullmatch(reason.rule)
        return found[1].split(", ") if found else list(self._schema.primary_key)

    def _column(self, name: str) -> str:
        """The column of the file that a reason names, or whose field it names."""
        return self._sources.get(name, name)


def _is_about_the_record(reason: Reason) -> bool:
    return (
        reason.column is None and not conflicts.is_about_other_rows(reason) and _KEY_TOO_LONG.match(reason.rule) is None
    )
