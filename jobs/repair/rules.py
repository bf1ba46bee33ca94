"""Rules of a dataset: repairs that every import into it applies, in their order, before its values are parsed.

Each change of a rule makes its version larger, and the version of all rules of the dataset. An import compares the
latter in the transaction of each chunk (attempt.py), so a rule takes effect with the next chunk, and what each version
of a rule changed is counted in the transaction that writes the rows. No pandas: the web processes import this module.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from jobs import datasets as stored_datasets
from jobs.errors import InvalidChangeError, RuleNotFoundError
from jobs.excerpt import excerpt
from jobs.people import audit
from jobs.people.audit import Actor
from jobs.repair.repairs import Repair
from jobs.tables import datasets, rules

#: Rules that a dataset may have: each looks at the values of its field in every chunk.
MAX_RULES = 100
#: Pairs of a value before and after that an upload keeps of a rule, and characters of each value.
SAMPLES, SAMPLE_LENGTH = 3, 60
#: Versions of rules that an upload keeps apart.
MAX_KEPT = 200


@dataclass(frozen=True)
class Rule:
    """position: 1 is applied first. version: 1 until it is changed."""

    id: int
    repair: Repair
    enabled: bool
    version: int
    position: int

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        data = {"column": row.column, "kind": row.kind, "from": row.source, "to": row.target}
        return cls(row.id, Repair.from_json(data), row.enabled, row.version, row.position)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["id"], Repair.from_json(data), data["enabled"], data["version"], data["position"])

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            **self.repair.to_json(),
            "enabled": self.enabled,
            "version": self.version,
            "position": self.position,
        }


@dataclass(frozen=True)
class Wanted:
    """What is to be changed of a rule. None: stays as it is."""

    repair: Repair | None = None
    enabled: bool | None = None
    position: int | None = None


class Ruled(NamedTuple):
    """What a rule changed in some rows. samples: pairs of a value before and after."""

    rule: int
    version: int
    cells: int
    samples: Sequence[tuple[str, str]]


def of_dataset(connection: sa.Connection, name: str) -> list[Rule]:
    """In the order in which they are applied."""
    found = sa.select(rules).where(rules.c.dataset == name).order_by(rules.c.position, rules.c.id)
    return [Rule.from_row(row) for row in connection.execute(found)]


def version_of(connection: sa.Connection, name: str) -> int:
    """A number that each change of the rules of a dataset makes larger; 0 if it never had any."""
    return connection.scalar(_VERSION, {"name": name}) or 0


_VERSION = sa.select(datasets.c.rules_version).where(datasets.c.name == sa.bindparam("name"))


def get(connection: sa.Connection, name: str, rule_id: int) -> Rule:
    """A rule of a dataset. Raises RuleNotFoundError."""
    found = sa.select(rules).where(rules.c.dataset == name, rules.c.id == rule_id)
    row = connection.execute(found).one_or_none()
    if row is None:
        raise RuleNotFoundError(name, rule_id)
    return Rule.from_row(row)


def add(
    connection: sa.Connection,
    actor: Actor,
    name: str,
    repair: Repair,
    *,
    enabled: bool = True,
    position: int | None = None,
) -> Rule:
    """Add a rule, by default behind the others. One that the dataset has is switched on, and is not added again.

    Raises DatasetNotFoundError, InvalidChangeError.
    """
    _check(stored_datasets.lock(connection, name), repair)
    present = of_dataset(connection, name)
    same = next((each for each in present if each.repair == repair), None)
    if same is not None:
        return change(connection, actor, name, same.id, Wanted(enabled=enabled, position=position))
    if len(present) >= MAX_RULES:
        raise InvalidChangeError([("", f"A dataset has at most {MAX_RULES} rules. Remove one that is not needed.")])
    values = _columns(repair) | {"dataset": name, "enabled": enabled, "version": 1, "position": len(present) + 1}
    rule = Rule.from_row(connection.execute(sa.insert(rules).values(values).returning(rules)).one())
    if position is not None:
        _order(connection, [*present, rule], rule, position)
    _changed(connection, actor, name, "rule_add", _described(rule))
    return get(connection, name, rule.id)


def change(connection: sa.Connection, actor: Actor, name: str, rule_id: int, wanted: Wanted) -> Rule:
    """Change a rule, switch it or move it. Raises DatasetNotFoundError, RuleNotFoundError, InvalidChangeError."""
    dataset = stored_datasets.lock(connection, name)
    before = get(connection, name, rule_id)
    repair = wanted.repair or before.repair
    after = replace(before, repair=repair, enabled=before.enabled if wanted.enabled is None else wanted.enabled)
    present = of_dataset(connection, name)
    position = before.position if wanted.position is None else max(1, min(wanted.position, len(present)))
    if repair != before.repair:
        _check(dataset, repair)
        if any(each.repair == repair for each in present):
            raise InvalidChangeError([("", "The dataset has this rule already.")])
    if after == before and position == before.position:
        return before
    values = _columns(repair) | {"enabled": after.enabled, "version": before.version + 1}
    connection.execute(sa.update(rules).where(rules.c.id == rule_id).values(values))
    _order(connection, present, before, position)
    what = "" if after.enabled == before.enabled else " is on" if after.enabled else " is off"
    _changed(connection, actor, name, "rule_change", f"{_described(after)}{what}")
    return get(connection, name, rule_id)


def remove(connection: sa.Connection, actor: Actor, name: str, rule_id: int) -> None:
    """Raises DatasetNotFoundError, RuleNotFoundError."""
    stored_datasets.lock(connection, name)
    rule = get(connection, name, rule_id)
    _delete(connection, name, [rule])
    _changed(connection, actor, name, "rule_remove", _described(rule))


def rename_field(connection: sa.Connection, name: str, before: str, after: str) -> None:
    """The rules of a field whose name is changed, in a dataset that the caller has locked."""
    if before == after:
        return
    named = sa.update(rules).where(rules.c.dataset == name, rules.c.column == before)
    found = connection.execute(named.values(column=after, version=rules.c.version + 1).returning(rules.c.id)).all()
    if found:
        _renew(connection, name)


def forget(connection: sa.Connection, name: str, field: str | None = None) -> None:
    """Remove the rules of a dataset that is deleted, or only those of a field that is dropped."""
    gone = [each for each in of_dataset(connection, name) if field is None or each.repair.column == field]
    if gone:
        _delete(connection, name, gone)
        _renew(connection, name)


def merged(before: Sequence[Mapping[str, Any]], ruled: Iterable[Ruled]) -> list[dict[str, Any]]:
    """What rules changed in an upload, with what they changed in one more chunk. before: `Upload.rules`."""
    found = {(each["id"], each["version"]): dict(each) for each in before}
    for each in ruled:
        empty: dict[str, Any] = {"id": each.rule, "version": each.version, "cells": 0, "samples": []}
        known = found.setdefault((each.rule, each.version), empty)
        known["cells"] += each.cells
        pairs = [[excerpt(text, SAMPLE_LENGTH) for text in pair] for pair in each.samples]
        known["samples"] = [*known["samples"], *(pair for pair in pairs if pair not in known["samples"])][:SAMPLES]
    return list(found.values())[:MAX_KEPT]


def cells(kept: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """How many cells each rule changed in an upload, all versions of the rule together. kept: `Upload.rules`."""
    counts: dict[int, int] = {}
    for each in kept:
        counts[each["id"]] = counts.get(each["id"], 0) + each["cells"]
    return [{"id": rule, "cells": count} for rule, count in counts.items()]


def _check(dataset: stored_datasets.Dataset, repair: Repair) -> None:
    """Raises InvalidChangeError."""
    field = next((each for each in dataset.schema.fields if each.name == repair.column), None)
    if field is None:
        names = ", ".join(dataset.schema.names[:20])
        raise InvalidChangeError([("column", f"“{excerpt(repair.column, 60)}” is not a field; there are: {names}.")])
    repair.check(field)


def _columns(repair: Repair) -> dict[str, Any]:
    data = repair.to_json()
    return {"column": data["column"], "kind": data["kind"], "source": data["from"], "target": data["to"]}


def _order(connection: sa.Connection, present: Sequence[Rule], moved: Rule, position: int) -> None:
    """Number all rules from 1, one of them at a position."""
    others = [each for each in present if each.id != moved.id]
    place = max(1, min(position, len(present))) - 1
    for number, each in enumerate([*others[:place], moved, *others[place:]], start=1):
        if each.position != number:
            connection.execute(sa.update(rules).where(rules.c.id == each.id).values(position=number))


def _delete(connection: sa.Connection, name: str, gone: Sequence[Rule]) -> None:
    numbers = {each.id for each in gone}
    connection.execute(sa.delete(rules).where(rules.c.id.in_(numbers)))
    left = of_dataset(connection, name)
    if left:
        _order(connection, left, left[0], 1)


def _described(rule: Rule) -> str:
    return f"rule {rule.id}, {excerpt(rule.repair.column, 60)}: {rule.repair.title}"


def _changed(connection: sa.Connection, actor: Actor, name: str, action: str, detail: str) -> None:
    _renew(connection, name)
    audit.write(connection, actor, f"dataset.{action}", f"dataset {name}", detail=detail)


def _renew(connection: sa.Connection, name: str) -> None:
    changed = sa.update(datasets).where(datasets.c.name == name)
    connection.execute(changed.values(rules_version=datasets.c.rules_version + 1))
