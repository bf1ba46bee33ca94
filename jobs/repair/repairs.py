"""Repairs: what can be done to the values of one field so that they are valid. What a repair does to values is in
jobs/pipeline/mending; here is what it is, in JSON and in words. No pandas: the web processes import this module.

| kind | from | to | what it does |
|---|---|---|---|
| replace | a value | a value | Replaces the value. |
| trim | null | null | Removes spaces and invisible characters around values. |
| missing | a word, or null for all that mean no value | null | Makes the value empty. |
| number | an example, or null | null, or "fraction" | Reads 1.204,50, (12), 12 EUR. |
| date | formats, or null | null | Reads dates, times, or both, in other notations. |
| boolean | null, or two words as in "s/n" | null | Reads yes and no in other languages. |
| case | null | null, "upper" or "lower" | Spells values as in the list of allowed ones, or in capitals. |
| nearest | null | null | Replaces misspellings of allowed values. |

A compound of several, such as `trim+case`, has lists in from and to, with an element for each. Only replace, trim and
missing with a word touch values that are valid already; all others leave them as they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobs.errors import InvalidChangeError
from jobs.excerpt import excerpt
from jobs.schema import SchemaField

KINDS = ("replace", "trim", "missing", "number", "date", "boolean", "case", "nearest")
#: The types of fields that a kind is for; the others are for all.
TYPES_OF = {
    "number": {"integer", "number"},
    "date": {"date", "datetime", "time"},
    "boolean": {"boolean"},
    "case": {"string"},
    "nearest": {"string"},
}
#: Characters of `from` and of `to`, and steps of a compound.
LONGEST, MAX_STEPS = 1_000, 4
#: Characters of a value that a title quotes.
_QUOTED = 40

#: What may follow a kind in `to`.
_TARGETS: dict[str, tuple[str | None, ...]] = {"number": (None, "fraction"), "case": (None, "upper", "lower")}


@dataclass(frozen=True)
class Step:
    """One change of a value. source, target: `from` and `to` of the contract; what they mean depends on the kind."""

    kind: str
    source: str | None = None
    target: str | None = None

    @property
    def is_explicit(self) -> bool:
        """Whether it changes valid values too, because somebody named what is to be changed."""
        return self.kind in ("replace", "trim") or (self.kind == "missing" and self.source is not None)


@dataclass(frozen=True)
class Repair:
    """column: the name of a field. steps: one, or those of a compound, one after the other."""

    column: str
    steps: tuple[Step, ...]

    @classmethod
    def single(cls, column: str, kind: str, source: str | None = None, target: str | None = None) -> Self:
        return cls(column, (Step(kind, source, target),))

    @property
    def kind(self) -> str:
        return "+".join(step.kind for step in self.steps)

    @property
    def id(self) -> str:
        """The same for the same repair, everywhere and always."""
        text = json.dumps([self.column, [[each.kind, each.source, each.target] for each in self.steps]])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        sources: list[str | None] = [each.source for each in self.steps]
        targets: list[str | None] = [each.target for each in self.steps]
        is_single = len(self.steps) == 1
        return {
            "column": self.column,
            "kind": self.kind,
            "from": sources[0] if is_single else sources,
            "to": targets[0] if is_single else targets,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidChangeError, which names the property."""
        column, kind = data.get("column"), data.get("kind")
        if not isinstance(column, str) or not column:
            raise InvalidChangeError([("column", "Name a field of the dataset.")])
        if not isinstance(kind, str) or not kind:
            raise InvalidChangeError([("kind", f"Use one of {', '.join(KINDS)}.")])
        kinds = kind.split("+")
        if len(kinds) > MAX_STEPS:
            raise InvalidChangeError([("kind", f"A compound has at most {MAX_STEPS} steps.")])
        sources, targets = (_texts(name, data.get(name), len(kinds)) for name in ("from", "to"))
        steps = (_step(*each) for each in zip(kinds, sources, targets, strict=True))
        return cls(column, tuple(steps))

    def check(self, field: SchemaField) -> None:
        """Raises InvalidChangeError if the repair is not for such a field."""
        for step in self.steps:
            types = TYPES_OF.get(step.kind)
            if types and field.type not in types:
                what = f"{step.kind} is for the types {', '.join(sorted(types))}; “{field.name}” is {field.type}."
                raise InvalidChangeError([("kind", what)])
            needs_list = step.kind == "nearest" or (step.kind == "case" and step.target is None)
            if needs_list and field.constraints.enum is None:
                raise InvalidChangeError([("kind", f"{step.kind} needs a field with a list of allowed values.")])

    @property
    def title(self) -> str:
        """What it does, for people."""
        first, *others = map(_title, self.steps)
        return ", then ".join([first, *(each[0].lower() + each[1:] for each in others)])


@dataclass(frozen=True)
class Suggestion:
    """A repair whose yield was measured.

    rule: of the failed rows that it is for; with the column, it names their group. rescues: how many land if it alone
    is applied. of: the open rows of the group. samples: pairs of a value before and after.
    """

    repair: Repair
    rule: str
    rescues: int
    of: int
    samples: Sequence[tuple[str, str]]

    @property
    def id(self) -> str:
        return self.repair.id

    @property
    def title(self) -> str:
        return self.repair.title

    def to_json(self) -> dict[str, Any]:
        """For the API. `repair` is what `from_json` needs, and what a rule is made of."""
        return {
            "id": self.id,
            "column": self.repair.column,
            "kind": self.repair.kind,
            "title": self.title,
            "rule": self.rule,
            "rescues": self.rescues,
            "of": self.of,
            "samples": [list(pair) for pair in self.samples],
            "repair": self.repair.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        samples = [(before, after) for before, after in data["samples"]]
        return cls(Repair.from_json(data["repair"]), data["rule"], data["rescues"], data["of"], samples)


def _texts(name: str, value: object, steps: int) -> list[str | None]:
    """`from` or `to` of each step. Raises InvalidChangeError."""
    texts: list[Any] = list(value) if isinstance(value, list | tuple) and steps > 1 else [value] * steps
    if len(texts) != steps or not all(each is None or isinstance(each, str) for each in texts):
        what = "a text or null" if steps == 1 else f"null, or a list of {steps} texts or nulls"
        raise InvalidChangeError([(name, f"`{name}` must be {what}.")])
    if any(each is not None and (len(each) > LONGEST or "\0" in each) for each in texts):
        raise InvalidChangeError([(name, f"`{name}` must have at most {LONGEST:,} characters, none of them NUL.")])
    return texts


def _step(kind: str, source: str | None, target: str | None) -> Step:
    """Raises InvalidChangeError."""
    if kind not in KINDS:
        raise InvalidChangeError([("kind", f"“{excerpt(kind, _QUOTED)}” is unknown; use one of {', '.join(KINDS)}.")])
    if kind == "replace":
        for name, value in (("from", source), ("to", target)):
            if value is None:
                raise InvalidChangeError([(name, f"`{name}` is missing: replace needs a value.")])
        return Step(kind, source, target)
    if kind in ("trim", "case", "nearest") and source is not None:
        raise InvalidChangeError([("from", f"`from` must be null for {kind}.")])
    if kind == "boolean" and source is not None and not all(_pair(source)):
        raise InvalidChangeError([("from", "`from` must be null, or the words for yes and no, as in “s/n”.")])
    if kind == "missing" and target == "":
        target = None
    if target not in (allowed := _TARGETS.get(kind, (None,))):
        words = " or ".join("null" if each is None else f"“{each}”" for each in allowed)
        raise InvalidChangeError([("to", f"`to` must be {words} for {kind}.")])
    return Step(kind, source, target)


def _dates_like(source: str) -> str:
    """An example of each format: 31/12/2026 for %d/%m/%Y."""
    examples = []
    for each in source.split(" | "):
        text = each.partition("@")[0]
        for directive, part in (("%d", "31"), ("%m", "12"), ("%Y", "2026"), ("%y", "26")):
            text = text.replace(directive, part)
        examples += [text] if text else []
    return excerpt(" and ".join(examples), _QUOTED) or "31 Dec 26"


def _pair(source: str) -> tuple[str, str]:
    yes, _, no = source.partition("/")
    return yes.strip(), no.strip()


def _title(step: Step) -> str:
    source = excerpt(step.source or "", _QUOTED)
    match step.kind:
        case "replace":
            target = excerpt(step.target or "", _QUOTED)
            return f"Replace “{source}” with “{target}”" if target else f"Treat “{source}” as empty"
        case "trim":
            return "Remove spaces around values"
        case "missing":
            return f"Treat “{source}” as empty" if step.source else "Treat words for “no value” as empty"
        case "number":
            how = f" like {source}" if step.source else " written in other ways"
            return f"Read numbers{how}{' as fractions' if step.target else ''}"
        case "date":
            return f"Read dates like {_dates_like(step.source)}" if step.source else "Read dates in other notations"
        case "boolean":
            return f"Read {' as yes, '.join(_pair(source))} as no" if step.source else "Read yes and no in other words"
        case "nearest":
            return "Replace misspellings with the nearest allowed value"
    cases = {"upper": "Write in capital letters", "lower": "Write in small letters"}
    return cases.get(step.target or "", "Spell values as in the list of allowed values")
