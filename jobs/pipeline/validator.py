"""Validates a chunk of text: typed rows, and failed rows with every reason. No I/O.

Validation works on one column at a time, on Arrow arrays. Masks mark the failed rows; only those are handled one by
one, to collect their reasons. parsing.py parses the types; the Table Schema standard defines the constraints (see
schema.py). Rows that repeat the key or a unique value of others are found when they are written (conflicts.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.excerpt import excerpt
from jobs.failed_rows import QUOTED, FailedRow, Reason
from jobs.pipeline.explaining import explain
from jobs.pipeline.parsing import Mask, in_utc, parse
from jobs.schema import SchemaField, TableSchema

#: Bytes of text that a key may have: an index entry of PostgreSQL has at most 2,704 bytes, overhead included.
MAX_KEY_BYTES = 2_000


@dataclass(frozen=True)
class Validated:
    """A validated chunk.

    good: the valid rows, one typed column for each field, index = row number. failed: the other rows, with every
    reason.
    """

    good: pd.DataFrame
    failed: list[FailedRow]


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

    def validate(self, rows: pd.DataFrame) -> Validated:
        """rows: the file's own columns as text, index = row number."""
        columns = [self._column(field, rows) for field in self._schema.fields]
        violations = [
            violation
            for field, column in zip(self._schema.fields, columns, strict=True)
            for violation in self._violations(field, column)
        ]
        violations += self._too_long(columns)
        has_failed = _any([violation.rows for violation in violations], len(rows))
        failed = self._failed_rows(rows, has_failed, violations) if has_failed.any() else []
        typed = {
            field.name: pd.Series(pd.arrays.ArrowExtensionArray(column.values), rows.index)
            for field, column in zip(self._schema.fields, columns, strict=True)
        }
        good = pd.DataFrame(typed, copy=False)
        good = good[~has_failed] if has_failed.any() else good
        return Validated(good, failed)

    def _column(self, field: SchemaField, rows: pd.DataFrame) -> _Column:
        source = self._sources.get(field.name)
        text = pa.repeat(pa.scalar(None, pa.string()), len(rows)) if source is None else _array(rows[source])
        if source is None:
            values, rule = parse(field, text)
            return _Column(values, np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), rule)
        column = self._parsed(field, text)
        is_plain_text = field.type == "string" and field.format == "default"
        if not is_plain_text and column.invalid.any() and (trimmed := _trimmed(text, column.invalid)) is not None:
            column = self._parsed(field, trimmed)
        return column

    def _parsed(self, field: SchemaField, text: pa.Array) -> _Column:
        missing = _is_missing(text, self._schema.missing_values_of(field))
        present = pc.if_else(missing, pa.scalar(None, pa.string()), text) if pc.any(missing).as_py() else text
        values, rule = parse(field, present)
        empty = _mask(missing)
        invalid = _mask(pc.is_null(values)) & ~empty if values.null_count else np.zeros(len(text), dtype=bool)
        return _Column(values, empty, invalid, rule)

    def _violations(self, field: SchemaField, column: _Column) -> Iterator[_Violation]:
        """The rules that a column breaks. A value of the wrong type gets no further reason."""
        if column.invalid.any():
            yield _Violation(column.invalid, field.name, column.rule, field=field)
        if self._schema.is_required(field) and column.missing.any():
            yield _Violation(column.missing, field.name, "is required", quotes=False)
        for violates, rule in _constraints(field, column.values):
            if (found := _mask(violates)).any():
                yield _Violation(found, field.name, rule)

    def _too_long(self, columns: list[_Column]) -> Iterator[_Violation]:
        """Rows whose key is too long for an index."""
        by_name = dict(zip(self._schema.names, columns, strict=True))
        for names in [self._schema.primary_key, *self._unique]:
            texts = [by_name[name].values for name in names if pa.types.is_string(by_name[name].values.type)]
            lengths = [pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False) for text in texts]
            if lengths and (found := np.sum(lengths, axis=0) > MAX_KEY_BYTES).any():
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
    without = pc.utf8_trim_whitespace(text.filter(pa.array(invalid)))
    return None if without.equals(text.filter(pa.array(invalid))) else pc.replace_with_mask(text, invalid, without)


def _is_missing(text: pa.Array, missing_values: list[str]) -> pa.Array:
    if len(missing_values) == 1:
        return pc.equal(text, missing_values[0])
    return pc.is_in(text, value_set=pa.array(missing_values, pa.string()))


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
