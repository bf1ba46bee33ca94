"""The rules of a dataset as an import applies them: to the text of each column, before it is parsed."""

from collections.abc import Sequence
from typing import Self

import sqlalchemy as sa

from jobs.pipeline.mending.applying import Change, StepOfField, compared
from jobs.pipeline.validator import Cells, Counts
from jobs.repair import rules
from jobs.repair.rules import SAMPLES, Rule, Ruled
from jobs.schema import TableSchema

#: Changed cells of a chunk of which the different ones are samples.
LOOKED_AT = 20


class RuleSet:
    """Rules that are on, in their order. It is never changed: a change of rules makes another one."""

    def __init__(self, version: int, chosen: Sequence[Rule], schema: TableSchema) -> None:
        """version: of all rules of the dataset."""
        self.version = version
        self._of_field: dict[str, list[tuple[Rule, list[StepOfField]]]] = {}
        fields = {field.name: field for field in schema.fields}
        for rule in chosen:
            if rule.enabled and (field := fields.get(rule.repair.column)) is not None:
                steps = [StepOfField(step, field, schema) for step in rule.repair.steps]
                self._of_field.setdefault(field.name, []).append((rule, steps))

    @classmethod
    def read(cls, connection: sa.Connection, dataset: str, schema: TableSchema) -> Self:
        version = rules.version_of(connection, dataset)
        return cls(version, rules.of_dataset(connection, dataset) if version else [], schema)

    @property
    def fields(self) -> set[str]:
        """Those that have a rule."""
        return set(self._of_field)

    def mend(self, cells: Cells, times: Counts | None = None) -> list[Ruled]:
        """Apply the rules of a field to its cells, and say what each of them changed. times: how many cells each one
        stands for."""
        found: list[Ruled] = []
        for rule, steps in self._of_field.get(cells.field.name, ()):
            before = cells.text
            changes = [change for step in steps if (change := step(cells)) is not None]
            if changes:
                whole = changes[0] if len(changes) == 1 else compared(before, cells.text)
                if whole is not None:
                    changed = len(whole.places) if times is None else int(times[whole.places].sum())
                    found.append(Ruled(rule.id, rule.version, changed, _samples(whole)))
        return found


def _samples(change: Change) -> list[tuple[str, str]]:
    """Some pairs of a text before and after."""
    pairs = zip(*(each[:LOOKED_AT].to_pylist() for each in (change.before, change.after)), strict=True)
    return list(dict.fromkeys(pairs))[:SAMPLES]
