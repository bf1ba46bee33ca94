"""Measures how many failed rows each repair rescues, with the validator of the import.

A row is rescued if it lands when one repair alone is applied to it: so only rows count in which nothing else is wrong.
For each column it is enough to know its different wrong values, with the rows in which each is the only wrong one; so
all rows are seen once, in batches, and every repair is tried on every different value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as with_default
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.mending.applying import LONGEST, apply
from jobs.pipeline.mending.suggesting import suggest
from jobs.pipeline.parsing import Mask
from jobs.pipeline.validator import Validator
from jobs.repair.repairs import Repair, Suggestion
from jobs.schema import SchemaField, TableSchema

#: Valid values of a column that are kept as evidence.
GOOD_KEPT = 1_000
#: Pairs of a value before and after that a suggestion shows.
SAMPLES = 3


@dataclass
class _Tally:
    """The wrong values of a column. rows: of each. alone: those in which nothing else is wrong. long: rows of values
    that are too long to be mended, by the rule that they break. good: some values that are valid."""

    rows: dict[str, int] = with_default(default_factory=dict)
    alone: dict[str, int] = with_default(default_factory=dict)
    long: dict[str, int] = with_default(default_factory=dict)
    good: dict[str, None] = with_default(default_factory=dict)


class Measure:
    """Measures repairs on the open failed rows of one upload.

    >>> measure = Measure(dataset.schema, sources, rules=rules, evidence={"price": ["12.5", "7"]})
    >>> for rows, blocked in batches:
    ...     measure.see(rows, blocked)
    >>> measure.suggestions()
    """

    def __init__(
        self,
        schema: TableSchema,
        sources: Mapping[str, str],
        *,
        rules: Sequence[Repair] = (),
        evidence: Mapping[str, Sequence[str]] | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """sources: field → the file's column, as for the validator. rules: those of the dataset, which an import of
        the rows applies too. They are offered as repairs of rows that failed before: an open row waits for one.
        evidence: of fields, some values that the dataset has, as text in the field's spelling (evidence.sample); more
        than 1,000 each are not looked at. tick: called between two steps of the work."""
        self._schema = schema
        self._sources = {each.name: sources[each.name] for each in schema.fields if each.name in sources}
        self._fields = {each.name: each for each in schema.fields}
        self._validator = Validator(schema, sources)
        self._rules: dict[str, list[Repair]] = {}
        for rule in rules:
            self._rules.setdefault(rule.column, []).append(rule)
        self._tick = tick
        self._tallies = {name: _Tally() for name in self._sources}
        for name, values in (evidence or {}).items():
            if name in self._tallies:
                self._tallies[name].good.update(dict.fromkeys(values[:GOOD_KEPT]))

    def see(self, rows: pa.Table | pa.RecordBatch, blocked: Mask | None = None) -> None:
        """rows: open failed rows as they are now, one text column for each column of the file, without nulls. blocked:
        which of them no repair of a value rescues: they could not be read, or want a key that another row has."""
        seen = {name: self._verdict(name, rows.column(column)) for name, column in self._sources.items()}
        remain = {name: each.remains[each.places] for name, each in seen.items()}
        count = np.sum(list(remain.values()), axis=0) if remain else np.zeros(len(rows), dtype=int)
        count = count + self._unfilled()
        stays = np.zeros(len(rows), dtype=bool) if blocked is None else np.asarray(blocked, dtype=bool)
        for name, each in seen.items():
            wrong = each.is_wrong[each.places]
            self._add(name, each, wrong, wrong & (count == remain[name]) & ~stays)
            self._tick()

    def _unfilled(self) -> int:
        """Required fields that no column fills: a value that is missing in every row."""
        return sum(self._schema.is_required(each) for each in self._schema.fields if each.name not in self._sources)

    def _verdict(self, name: str, cells: pa.ChunkedArray | pa.Array) -> "_Verdict":
        cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
        if pa.types.is_large_string(cells.type):
            cells = cells.cast(pa.string())
        encoded = pc.fill_null(cells, "").dictionary_encode()
        places = encoded.indices.to_numpy(zero_copy_only=False)
        field, values = self._fields[name], encoded.dictionary
        is_wrong = self._validator.wrong(field, values)
        return _Verdict(values, places, is_wrong, self._remains(field, values) if name in self._rules else is_wrong)

    def _remains(self, field: SchemaField, values: pa.Array) -> Mask:
        """Which values are wrong after the rules of the dataset too."""
        return self._validator.wrong(field, self._ruled(field, values))

    def _ruled(self, field: SchemaField, values: pa.Array) -> pa.Array:
        """Values as the rules of the dataset make them."""
        for rule in self._rules.get(field.name, []):
            values = apply(rule, values, self._schema)
        return values

    def _add(self, name: str, seen: "_Verdict", wrong: Mask, alone: Mask) -> None:
        tally, size = self._tallies[name], len(seen.values)
        if len(tally.good) < GOOD_KEPT:
            some = seen.values.filter(pa.array(~seen.is_wrong))[: GOOD_KEPT - len(tally.good)]
            tally.good.update(dict.fromkeys(text for text in some.to_pylist() if text and len(text) <= LONGEST))
        if not wrong.any():
            return
        is_long = seen.is_wrong & (pc.utf8_length(seen.values).to_numpy(zero_copy_only=False) > LONGEST)
        rows = np.bincount(seen.places[wrong], minlength=size)
        only = np.bincount(seen.places[alone], minlength=size)
        kept = np.flatnonzero(seen.is_wrong & ~is_long)
        for text, count, count_alone in zip(
            seen.values.take(pa.array(kept)).to_pylist(), rows[kept].tolist(), only[kept].tolist(), strict=True
        ):
            tally.rows[text] = tally.rows.get(text, 0) + count
            tally.alone[text] = tally.alone.get(text, 0) + count_alone
        if is_long.any():
            texts = seen.values.filter(pa.array(is_long))
            for broken, rule in self._validator.rules(self._fields[name], texts):
                tally.long[rule] = tally.long.get(rule, 0) + int(rows[is_long][broken].sum())

    def suggestions(self) -> list[Suggestion]:
        """Repairs that rescue at least one row, those that rescue the most first."""
        found = [each for name in self._sources for each in self._of_field(self._fields[name])]
        return sorted(found, key=lambda each: (-each.rescues, each.repair.column, len(each.repair.steps)))

    def _of_field(self, field: SchemaField) -> Iterator[Suggestion]:
        tally = self._tallies[field.name]
        if not any(tally.alone.values()):
            return
        values = pa.array(list(tally.rows), pa.string())
        alone = np.array([tally.alone[text] for text in tally.rows], dtype=np.int64)
        rows = np.array(list(tally.rows.values()), dtype=np.int64)
        tried = []
        known = self._rules.get(field.name, [])
        for repair in dict.fromkeys([*known, *suggest(field, tally.rows, list(tally.good))]):
            mended = apply(repair, values, self._schema)
            self._tick()
            changed = _mask(pc.not_equal(mended, values))
            if changed.any():
                lands = changed & ~self._remains(field, mended)
                tried.append(_Tried(repair, mended, lands, int(alone[lands].sum())))
        broken = self._validator.rules(field, values)
        for each in _useful(tried):
            yield self._suggestion(each, values, rows, broken, tally)

    def _suggestion(
        self, tried: "_Tried", values: pa.Array, rows: Any, broken: Sequence[tuple[Mask, str]], tally: _Tally
    ) -> Suggestion:
        mended = [(int(rows[mask & tried.lands].sum()), place) for place, (mask, _) in enumerate(broken)]
        _, most = max(mended, key=lambda each: (each[0], -each[1]))
        groups = [broken[place] for count, place in mended if count or place == most]
        open_rows = int(rows[np.logical_or.reduce([mask for mask, _ in groups])].sum())
        open_rows += sum(tally.long.get(rule, 0) for _, rule in groups)
        places = np.flatnonzero(tried.lands)
        places = places[np.argsort(-rows[places], kind="stable")][:SAMPLES]
        pairs = zip(
            values.take(pa.array(places)).to_pylist(), tried.mended.take(pa.array(places)).to_pylist(), strict=True
        )
        return Suggestion(tried.repair, broken[most][1], tried.rescues, open_rows, list(pairs))


@dataclass(frozen=True)
class _Verdict:
    """values: the different ones of a batch. places: of each row's value. is_wrong: which values are. remains: which
    are even after the rules of the dataset."""

    values: pa.Array
    places: Any
    is_wrong: Mask
    remains: Mask


@dataclass(frozen=True)
class _Tried:
    """A repair that was tried. mended: the values after it. lands: which of them are valid now, and were not before."""

    repair: Repair
    mended: pa.Array
    lands: Mask
    rescues: int


def _useful(tried: Sequence[_Tried]) -> list[_Tried]:
    """Those that rescue a row, without those whose work another does too: the simpler one of two that do the same."""
    order = sorted(
        (each for each in tried if each.rescues), key=lambda each: (-int(each.lands.sum()), len(each.repair.steps))
    )
    found: list[_Tried] = []
    for each in order:
        if not any(_is_part(each, other) for other in found):
            found.append(each)
    return found


def _is_part(part: _Tried, whole: _Tried) -> bool:
    if (part.lands & ~whole.lands).any():
        return False
    lands = pa.array(part.lands)
    return bool(part.mended.filter(lands).equals(whole.mended.filter(lands)))


def _mask(values: pa.Array) -> Mask:
    found: Mask = values.to_numpy(zero_copy_only=False)
    return found
