"""Applies repairs to text, a column at a time. A value that a repair does not understand stays as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.mending import dates, numbers, words
from jobs.pipeline.parsing import Mask
from jobs.pipeline.validator import Cells, Places, Validator
from jobs.repair.repairs import Repair, Step
from jobs.schema import SchemaField, TableSchema

#: Characters of the longest value that is mended.
LONGEST = 200
#: Different values of a column of which an import remembers what became of them.
REMEMBERED = 50_000
#: Spaces and invisible characters around a value.
_AROUND = r"^[\s\p{Z}\x{200b}-\x{200f}\x{2060}\x{feff}\x{ad}]+|[\s\p{Z}\x{200b}-\x{200f}\x{2060}\x{feff}\x{ad}]+$"

#: One value to another; None: it stays as it is.
Mend = Callable[[str], str | None]


def apply(repair: Repair, values: pa.Array, schema: TableSchema) -> pa.Array:
    """values: text cells of the field that the repair names. Returns as many, changed where the repair changes them.

    Values that are valid stay as they are, unless the repair names what it changes (jobs/repair/repairs.py). A repair
    of a field that the schema does not have, or that is not for its type, changes nothing.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    field = next((each for each in schema.fields if each.name == repair.column), None)
    if field is None:
        return values
    cells = Cells(Validator(schema, {}), field, values)
    for step in repair.steps:
        StepOfField(step, field, schema)(cells)
    return cells.text


@dataclass(frozen=True)
class Change:
    """The places of the cells that a step changed, and their text before and after."""

    places: Places
    before: pa.Array
    after: pa.Array


class StepOfField:
    """A step for the values of one field. It remembers what became of values, for the next ones of the same column."""

    def __init__(self, step: Step, field: SchemaField, schema: TableSchema) -> None:
        self._step = step
        self._empty = _empty(schema, field)
        self._mend = None if step.is_explicit else mend_of(step, field, schema)
        self._quick = numbers.quick(step, field) if self._mend and step.kind == "number" else None
        #: What became of values; None: they stay as they are.
        self._known: dict[str, str | None] = {}

    def __call__(self, cells: Cells) -> Change | None:
        """Change the cells. None: none changes."""
        change = self._named(cells.text) if self._step.is_explicit else self._mended(cells)
        if change is not None:
            cells.change(change.places, change.after)
        return change

    def _named(self, values: pa.Array) -> Change | None:
        """What changes in valid cells too, as somebody named it."""
        step = self._step
        if step.kind == "trim":
            return compared(values, _trimmed(values))
        if step.kind == "replace":
            return _replaced(values, pc.equal(values, step.source), step.target or "")
        word = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        return _replaced(values, pc.equal(word, (step.source or "").strip().lower()), self._empty)

    def _mended(self, cells: Cells) -> Change | None:
        """What changes in the cells that are not valid: each different one is mended once."""
        if self._mend is None:
            return None
        places = np.flatnonzero(cells.wrong())
        if not len(places):
            return None
        values = cells.text.take(pa.array(places))
        found = values.dictionary_encode()
        mended, is_changed = self._mend_all(found.dictionary)
        if not is_changed.any():
            return None
        chosen = is_changed[found.indices.to_numpy()]
        if chosen.all():
            return Change(places, values, mended.take(found.indices))
        mask = pa.array(chosen)
        return Change(places[chosen], values.filter(mask), mended.take(found.indices.filter(mask)))

    def _mend_all(self, values: pa.Array) -> tuple[pa.Array, Mask]:
        """Different values after the step, and which changed: most of them quickly, if there is a quick way, the others
        one by one."""
        if self._quick is None:
            return self._mend_each(values)
        quickly = self._quick(values)
        is_changed = ~_mask(pc.equal(quickly, values))
        if is_changed.all():
            return quickly, is_changed
        rest = pa.array(~is_changed)
        mended, is_mended = self._mend_each(quickly.filter(rest))
        is_changed[~is_changed] = is_mended
        return pc.replace_with_mask(quickly, rest, mended), is_changed

    def _mend_each(self, values: pa.Array) -> tuple[pa.Array, Mask]:
        texts, known = values.to_pylist(), self._known
        if len(known) > REMEMBERED:
            known.clear()
        for text in texts:
            if text not in known and text and self._mend and len(text) <= LONGEST:
                after = self._mend(text)
                known[text] = None if after == text else after
        after = pa.array([known.get(text) for text in texts], pa.string())
        return pc.coalesce(after, values), _mask(pc.is_valid(after))


def compared(before: pa.Array, after: pa.Array) -> Change | None:
    if after is before:
        return None
    changed = pc.not_equal(after, before)
    return Change(np.flatnonzero(_mask(changed)), before.filter(changed), after.filter(changed))


def _replaced(values: pa.Array, mask: pa.Array, by: str) -> Change | None:
    before = values.filter(mask)
    after = pa.array([by] * len(before), pa.string())
    if not len(before) or after.equals(before):
        return None
    return Change(np.flatnonzero(_mask(mask)), before, after)


def _trimmed(values: pa.Array) -> pa.Array:
    """Without spaces and invisible characters around values. The latter are rare, and to look for them takes longer."""
    trimmed = pc.utf8_trim_whitespace(values)
    odd = pc.invert(pc.string_is_ascii(trimmed))
    if pc.any(odd).as_py():
        trimmed = pc.replace_with_mask(trimmed, odd, pc.replace_substring_regex(trimmed.filter(odd), _AROUND, ""))
    return values if trimmed.equals(values) else trimmed


def _mask(values: pa.Array) -> Mask:
    found: Mask = values.to_numpy(zero_copy_only=False)
    return found


def mend_of(step: Step, field: SchemaField, schema: TableSchema) -> Mend | None:
    """What a step does to one value that is not valid; None: nothing, as the field has another type."""
    makers: Mapping[str, Callable[[Step, SchemaField, TableSchema], Mend | None]] = {
        "missing": _missing,
        "number": numbers.mend_of,
        "date": dates.mend_of,
        "boolean": _boolean,
        "case": _case,
        "nearest": _nearest,
    }
    return makers[step.kind](step, field, schema)


def _empty(schema: TableSchema, field: SchemaField) -> str:
    """How a cell without a value is written."""
    return min(schema.missing_values_of(field), key=len, default="")


def _missing(_step: Step, field: SchemaField, schema: TableSchema) -> Mend:
    empty = _empty(schema, field)
    return lambda text: empty if is_missing(text, field) else None


def is_missing(text: str, field: SchemaField) -> bool:
    """Whether a text means no value in a field, in which it may as well be an allowed value in another spelling."""
    if not words.is_missing(text):
        return False
    if field.type == "boolean":
        return text.strip().lower() not in {each.lower() for each in (*field.true_values, *field.false_values)}
    found = allowed(field)
    return found is None or found.same(text) is None


def _boolean(step: Step, field: SchemaField, _schema: TableSchema) -> Mend | None:
    if field.type != "boolean":
        return None
    yes, _, no = (step.source or "").partition("/")
    pair = (yes, no) if no else None
    said = {True: field.true_values[0], False: field.false_values[0], None: None}
    return lambda text: said[words.truth(text, pair)]


def _case(step: Step, field: SchemaField, _schema: TableSchema) -> Mend | None:
    if field.type != "string":
        return None
    if step.target == "upper":
        return str.upper
    if step.target == "lower":
        return str.lower
    found = allowed(field)
    return found.same if found else None


def _nearest(_step: Step, field: SchemaField, _schema: TableSchema) -> Mend | None:
    found = allowed(field)
    return found.nearest if found and field.type == "string" else None


def allowed(field: SchemaField) -> words.Allowed | None:
    """The allowed values of a field, if it has a list of them."""
    values = field.constraints.enum
    return None if values is None or field.type != "string" else _allowed(tuple(map(str, values)))


@lru_cache(maxsize=64)
def _allowed(values: tuple[str, ...]) -> words.Allowed:
    return words.Allowed(values)
