"""Measures what of dirty columns the product offers to repair, and whether it is right."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.mending.applying import apply
from jobs.pipeline.mending.measuring import Measure
from jobs.pipeline.parsing import parse
from jobs.pipeline.validator import Validator
from jobs.schema import TableSchema
from tests.mending.columns import DirtyColumn

#: The least share of what a careful person could repair that must be among the first two suggestions of a column.
LEAST_OFFERED = 0.9
#: Suggestions of a column that people see first.
FIRST = 2


@dataclass
class Measured:
    """repairable: values that a careful person could repair. offered: those that one of the first two suggestions
    repairs. wrong: values that some suggestion turns into a wrong one."""

    columns: int = 0
    repairable: int = 0
    offered: int = 0
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.offered / self.repairable


def measure(columns: Iterable[DirtyColumn]) -> Measured:
    found = Measured()
    for column in columns:
        found.columns += 1
        _measure(column, found)
    return found


def _measure(column: DirtyColumn, found: Measured) -> None:
    schema = TableSchema.parse({"fields": [{"name": "x", **column.properties}, {"name": "other"}]})
    values = list(column.truth)
    measured = Measure(schema, {"x": "x", "other": "other"}, evidence={"x": column.good})
    measured.see(pa.table({"x": pa.array(values, pa.string()), "other": [""] * len(values)}))
    suggestions = measured.suggestions()
    text = pa.array(values, pa.string())
    was_wrong = Validator(schema, {}).wrong(schema.fields[0], text).tolist()
    repaired = set[str]()
    for place, suggestion in enumerate(suggestions):
        mended = apply(suggestion.repair, text, schema)
        is_wrong = Validator(schema, {}).wrong(schema.fields[0], mended).tolist()
        landed = 0
        for value, after, was, still in zip(values, mended.to_pylist(), was_wrong, is_wrong, strict=True):
            if not was or still:
                continue
            landed += 1
            if not _is_same(schema, after, column.truth[value]):
                found.wrong.append(f"{column.title}: “{value}” became “{after}”, not “{column.truth[value]}”")
            elif place < FIRST:
                repaired.add(value)
        assert suggestion.rescues == landed, (column.title, suggestion)
    for value, was in zip(values, was_wrong, strict=True):
        if column.truth[value] is None or not was:
            continue
        found.repairable += 1
        found.offered += value in repaired
        if value not in repaired:
            found.missed.append(f"{column.title}: “{value}” is “{column.truth[value]}”")


def _is_same(schema: TableSchema, after: str, truth: str | None) -> bool:
    """Whether two texts are the same value of the field."""
    if truth is None or "" in (after, truth):
        return after == truth
    values, _ = parse(schema.fields[0], pc.utf8_trim_whitespace(pa.array([after, truth])))
    first, second = values.to_pylist()
    return first is not None and first == second
