"""Validates a chunk of text: typed rows, and failed rows with every reason. No I/O.

Validation works on one column at a time, on Arrow arrays. Masks mark the failed rows; only those are handled one by
one, to collect their reasons. parsing.py parses the types; the Table Schema standard defines the constraints (see
schema.py). Rows that repeat the key or a unique value of others are found when they are written (conflicts.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.excerpt import excerpt
from jobs.failed_rows import QUOTED, FailedRow, Reason
from jobs.pipeline.explaining import explain
from jobs.pipeline.parsing import Mask, in_utc, lengths, parse
from jobs.repair.rules import Ruled
from jobs.schema import SchemaField, TableSchema

#: Places of cells in a column, from 0.
Places = npt.NDArray[np.intp]
Counts = npt.NDArray[np.intp]

#: Cells of a column by which it is told whether it has few different values, and the most that are few among them.
LOOKED_AT, FEW = 4_000, 2_500

#: Bytes of text that a key may have: an index entry of PostgreSQL has at most 2,704 bytes, overhead included.
MAX_KEY_BYTES = 2_000


@dataclass(frozen=True)
class Validated:
    """A validated chunk.

    good: the valid rows, one typed column for each field, index = row number. failed: the other rows, with every
    reason and their original values. ruled: what rules changed of the values, in all rows.
    """

    good: pd.DataFrame
    failed: list[FailedRow]
    ruled: list[Ruled]


class Rules(Protocol):
    """Changes the text of columns before it is parsed (mending/rule_set.py)."""

    @property
    def fields(self) -> Collection[str]:
        """Those whose text it may change."""
        ...

    def mend(self, cells: "Cells", times: Counts | None = None) -> list[Ruled]:
        """Change the cells of a field, and say what was changed. times: how many cells each one stands for."""
        ...


@dataclass(frozen=True)
class _Column:
    """A field's cells. values: typed, null where missing or invalid. missing, invalid: masks. rule: of invalid ones."""

    values: pa.Array
    missing: Mask
    invalid: Mask
    rule: str


@dataclass(frozen=True)
class _Violation:
    """rows: mask of those that break a rule. column: None for several together. quotes: the reason has the value.

    field: of values that do not have its type; what is wrong with each of them is explained.
    """

    rows: Mask
    column: str | None
    rule: str
    quotes: bool = True
    field: SchemaField | None = None

    def reason(self, value: str | None) -> Reason:
        if self.field is None or value is None:
            return Reason(self.column, self.rule, value)
        rule, detail = explain(self.field, self.rule, value)
        return Reason(self.column, rule, value, detail)


class Validator:
    """Validates the chunks of one file for one dataset. It keeps no state between chunks."""

    def __init__(self, schema: TableSchema, sources: Mapping[str, str]) -> None:
        """sources: field → the file's column. A field without a column is missing in every row."""
        self._schema = schema
        self._sources = sources
        self._unique = [[field.name] for field in schema.fields if field.constraints.unique]

    def validate(self, rows: pd.DataFrame, rules: Rules | None = None) -> Validated:
        """rows: the file's own columns as text, index = row number. rules: those of the dataset, if it has any."""
        ruled: list[Ruled] = []
        columns: list[_Column] = []
        violations: list[_Violation] = []
        for field in self._schema.fields:
            column, broken = self._judged(field, rows, rules, ruled)
            columns.append(column)
            violations += broken
        violations += self._too_long(columns)
        has_failed = _any([violation.rows for violation in violations], len(rows))
        failed = self._failed_rows(rows, has_failed, violations) if has_failed.any() else []
        good = self._frame([column.values for column in columns], rows.index, has_failed)
        return Validated(good, failed, ruled)

    def _frame(self, values: list[pa.Array], index: pd.Index, has_failed: Mask) -> pd.DataFrame:
        """The typed columns without the failed rows. Arrow's filter takes half as long as that of pandas."""
        if has_failed.any():
            is_good = pa.array(~has_failed)
            values, index = [each.filter(is_good) for each in values], index[~has_failed]
        typed = {
            name: pd.Series(pd.arrays.ArrowExtensionArray(each), index)
            for name, each in zip(self._schema.names, values, strict=True)
        }
        return pd.DataFrame(typed, copy=False)

    def wrong(self, field: SchemaField, text: pa.Array) -> Mask:
        """Which cells of a field break a rule, each by itself."""
        return Cells(self, field, text).wrong()

    def rules(self, field: SchemaField, text: pa.Array) -> list[tuple[Mask, str]]:
        """The rules that cells of a field break, with those that break it; as in the reasons of failed rows."""
        found: list[tuple[Mask, str]] = []
        for violation in self.violations(field, self.read(field, text)):
            if violation.field is None or field.type not in ("integer", "number"):
                found.append((violation.rows, violation.rule))
                continue
            rules = np.full(len(text), None, dtype=object)
            places = np.flatnonzero(violation.rows)
            rules[places] = [violation.reason(value).rule for value in text.take(pa.array(places)).to_pylist()]
            found += [(rules == rule, rule) for rule in dict.fromkeys(rules[places])]
        return found

    def _judged(
        self, field: SchemaField, rows: pd.DataFrame, rules: Rules | None, ruled: list[Ruled]
    ) -> "tuple[_Column, Sequence[_Violation]]":
        """A column and the rules that it breaks. ruled: to which the changes of the dataset's rules are added."""
        source = self._sources.get(field.name)
        if source is None:
            values, rule = parse(field, pa.repeat(pa.scalar(None, pa.string()), len(rows)))
            column = _Column(values, np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), rule)
            return column, self.violations(field, column)
        text = _array(rows[source])
        if rules is None or field.name not in rules.fields:
            cells = Cells(self, field, text)
            return cells.column, cells.violations
        few = _Few.of(text)
        cells = Cells(self, field, text if few is None else few.values)
        ruled += rules.mend(cells, None if few is None else few.times)
        if few is None:
            return cells.column, cells.violations
        return few.column(cells.column), list(map(few.violation, cells.violations))

    def read(self, field: SchemaField, text: pa.Array) -> _Column:
        """The typed values of a column. Spaces around values that are not plain text are ignored."""
        column = self._parsed(field, text)
        is_plain_text = field.type == "string" and field.format == "default"
        if not is_plain_text and column.invalid.any() and (trimmed := _trimmed(text, column.invalid)) is not None:
            column = self._parsed(field, trimmed)
        return column

    def _parsed(self, field: SchemaField, text: pa.Array) -> _Column:
        missing = _missing(text, self._schema.missing_values_of(field))
        count = np.count_nonzero(missing)
        present = pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), text) if count else text
        values, rule = parse(field, present)
        has_invalid = values.null_count > count
        invalid = _mask(pc.is_null(values)) & ~missing if has_invalid else np.zeros(len(text), dtype=bool)
        return _Column(values, missing, invalid, rule)

    def violations(self, field: SchemaField, column: _Column) -> list[_Violation]:
        return list(self._violations(field, column))

    def _violations(self, field: SchemaField, column: _Column) -> Iterator[_Violation]:
        """The rules that a column breaks. A value of the wrong type gets no further reason."""
        if column.invalid.any():
            yield _Violation(column.invalid, field.name, column.rule, field=field)
        if self._schema.is_required(field) and column.missing.any():
            yield _Violation(column.missing, field.name, "is required", quotes=False)
        for violates, rule in _constraints(field, column.values):
            if pc.any(violates).as_py():  # in a fraction of the time that a mask takes
                yield _Violation(_mask(violates), field.name, rule)

    def _too_long(self, columns: list[_Column]) -> Iterator[_Violation]:
        """Rows whose key is too long for an index."""
        by_name = dict(zip(self._schema.names, columns, strict=True))
        for names in [self._schema.primary_key, *self._unique]:
            texts = [by_name[name].values for name in names if pa.types.is_string(by_name[name].values.type)]
            sizes = [lengths(text) for text in texts]
            if sizes and (found := np.sum(sizes, axis=0) > MAX_KEY_BYTES).any():
                column = names[0] if len(names) == 1 else None
                verb = "is" if column else f"has a key ({', '.join(names)}) that is"
                yield _Violation(found, column, f"{verb} longer than {MAX_KEY_BYTES:,} bytes, the limit for keys")

    def _failed_rows(self, rows: pd.DataFrame, has_failed: Mask, violations: list[_Violation]) -> list[FailedRow]:
        """The failed rows with their original values and every reason."""
        places = np.flatnonzero(has_failed)
        cells = rows.iloc[places].to_numpy(dtype=object).tolist()
        place_of = {name: position for position, name in enumerate(rows.columns)}
        reasons: list[list[Reason]] = [[] for _ in places]
        for violation in violations:
            source = place_of.get(self._sources.get(violation.column or "", "")) if violation.quotes else None
            for position in np.flatnonzero(violation.rows[places]):
                value = None if source is None else cells[position][source]
                reasons[position].append(violation.reason(value))
        numbers = rows.index.to_numpy()[places].tolist()
        return [FailedRow(*each) for each in zip(numbers, cells, reasons, strict=True)]


class Cells:
    """The cells of one field while they are changed. They are read only if somebody asks for a verdict, and read again
    only where they change."""

    def __init__(self, validator: Validator, field: SchemaField, text: pa.Array) -> None:
        self.field = field
        self._validator = validator
        self._text = text
        #: Changes that the text does not have yet: places, and the new texts there.
        self._changes: list[tuple[Places, pa.Array]] = []
        self._column: _Column | None = None
        self._violations: list[_Violation] | None = None

    @property
    def text(self) -> pa.Array:
        for places, texts in self._changes:
            self._text = pc.replace_with_mask(self._text, self._mask_of(places), texts)
        self._changes = []
        return self._text

    def wrong(self) -> Mask:
        """Which cells break a rule, each by itself."""
        return _any([violation.rows for violation in self.violations], len(self._text))

    def change(self, places: Places, texts: pa.Array) -> None:
        """places: in ascending order. texts: the new ones there."""
        self._changes.append((places, texts))
        self._violations = None
        if self._column is not None:
            self._column = self._changed(self._column, places, texts)

    def _changed(self, column: _Column, places: Places, texts: pa.Array) -> _Column:
        found = self._validator.read(self.field, texts)
        missing, invalid = column.missing.copy(), column.invalid.copy()
        missing[places], invalid[places] = found.missing, found.invalid
        values = pc.replace_with_mask(column.values, self._mask_of(places), found.values)
        return _Column(values, missing, invalid, column.rule)

    def _mask_of(self, places: Places) -> pa.Array:
        mask = np.zeros(len(self._text), dtype=bool)
        mask[places] = True
        return pa.array(mask)

    @property
    def column(self) -> _Column:
        if self._column is None:
            self._column = self._validator.read(self.field, self.text)
        return self._column

    @property
    def violations(self) -> list[_Violation]:
        if self._violations is None:
            self._violations = self._validator.violations(self.field, self.column)
        return self._violations


class _Few:
    """The different values of a column that has few of them: what is true of each value by itself is found out once."""

    def __init__(self, encoded: pa.DictionaryArray) -> None:
        self.values = encoded.dictionary
        self._places = encoded.indices
        self._of_cells = encoded.indices.to_numpy()

    @classmethod
    def of(cls, text: pa.Array) -> "_Few | None":
        """None: it has many."""
        if len(text) < LOOKED_AT or len(pc.unique(text[:LOOKED_AT])) > FEW:
            return None
        return cls(text.dictionary_encode(null_encoding="encode"))

    @property
    def times(self) -> Counts:
        """How often each value is there."""
        return np.bincount(self._of_cells, minlength=len(self.values))

    def column(self, column: _Column) -> _Column:
        """That of all cells, from that of the different values."""
        missing, invalid = column.missing[self._of_cells], column.invalid[self._of_cells]
        return _Column(column.values.take(self._places), missing, invalid, column.rule)

    def violation(self, violation: _Violation) -> _Violation:
        return replace(violation, rows=violation.rows[self._of_cells])


def _array(column: "pd.Series[Any]") -> pa.Array:
    values = column.array.__arrow_array__()
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _mask(values: pa.Array) -> Mask:
    filled = pc.fill_null(values, False) if values.null_count else values
    found: Mask = filled.to_numpy(zero_copy_only=False)
    return found


def _any(masks: list[Mask], length: int) -> Mask:
    return np.logical_or.reduce(masks) if masks else np.zeros(length, dtype=bool)


def _trimmed(text: pa.Array, invalid: Mask) -> pa.Array | None:
    """The invalid values without the spaces around them; None if no value has any. Spaces do not change a number."""
    found = text.filter(pa.array(invalid))
    without = pc.utf8_trim_whitespace(found)
    return None if without.equals(found) else pc.replace_with_mask(text, invalid, without)


def _missing(text: pa.Array, missing_values: list[str]) -> Mask:
    """Which values stand for a missing one."""
    if missing_values == [""] and not text.null_count:
        is_empty: Mask = lengths(text) == 0
        return is_empty
    return _mask(pc.is_in(text, value_set=pa.array(missing_values, pa.string())))


def _constraints(field: SchemaField, values: pa.Array) -> Iterator[tuple[pa.Array, str]]:
    """For each constraint: which values violate it (null where there is no value), and the rule."""
    rules = field.constraints
    if rules.minimum is not None:
        least = _bound(field, rules.minimum)
        yield pc.less(_comparable(field, values), least), f"is less than {rules.minimum}"
    if rules.maximum is not None:
        most = _bound(field, rules.maximum)
        yield pc.greater(_comparable(field, values), most), f"is more than {rules.maximum}"
    if rules.min_length is not None:
        shortest = rules.min_length
        yield pc.less(pc.utf8_length(values), shortest), f"is shorter than {shortest} characters"
    if rules.max_length is not None:
        longest = rules.max_length
        if int(lengths(values).max(initial=0)) > longest:  # bytes: characters take several times as long to count
            yield pc.greater(pc.utf8_length(values), longest), f"is longer than {longest} characters"
    if rules.pattern is not None:
        matches = pc.match_substring_regex(values, f"^(?:{rules.pattern})$")
        yield pc.invert(matches), _pattern_rule(field, rules.pattern)
    if rules.enum is not None:
        allowed = pa.array([_bound(field, each) for each in rules.enum], values.type)
        outside = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(_comparable(field, values), value_set=allowed)))
        words = ", ".join(str(each) for each in rules.enum[:10]) + (" …" if len(rules.enum) > 10 else "")
        yield outside, f"is not one of {words}"


def _pattern_rule(field: SchemaField, pattern: str) -> str:
    """The field's example says more to people than a regular expression."""
    example = (field.model_extra or {}).get("example")
    if isinstance(example, str) and example:
        return f"does not look like {excerpt(example, QUOTED)}"
    if field.title and field.title != field.name:
        return f"is not a valid {excerpt(field.title, QUOTED)}"
    return f"does not match the pattern {pattern}"


def _bound(field: SchemaField, value: str | float | bool) -> str | float | bool:
    """A value of a constraint, in a form that compares with the result of `_comparable`."""
    text = str(value)
    if field.type == "date":
        return date.fromisoformat(text).isoformat()
    if field.type == "time":
        return time.fromisoformat(text).replace(tzinfo=None).isoformat()
    if field.type != "datetime":
        return value
    if field.is_in_utc:
        return (in_utc(text) or text).removesuffix("Z")
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat()


def _comparable(field: SchemaField, values: pa.Array) -> pa.Array:
    """Datetimes without the Z, which would sort 09:00:00.5Z before 09:00:00Z."""
    return pc.utf8_rtrim(values, "Z") if field.type == "datetime" else values
