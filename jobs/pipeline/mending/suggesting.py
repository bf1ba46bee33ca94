"""Which repairs may help the values of a column that are not valid. Whether they do is measured (measuring.py)."""

from collections.abc import Iterator, Mapping, Sequence

from jobs.pipeline.mending import dates, numbers
from jobs.pipeline.mending.applying import is_missing
from jobs.repair.repairs import Repair, Step
from jobs.schema import SchemaField


def suggest(field: SchemaField, wrong: Mapping[str, int], good: Sequence[str]) -> list[Repair]:
    """wrong: the different values that are not valid, with the rows of each. good: some values that are valid, as text.

    The repairs of single steps, then compounds of two, of which each changes what the other leaves. None of them turns
    a value into a wrong one, as far as the column tells.
    """
    steps = [*_steps(field, wrong, good)]
    trim = Step("trim")
    compounds = [(trim, step) for step in steps if step.kind == "case"] if trim in steps else []
    return [Repair(field.name, each) for each in [*((step,) for step in steps), *compounds]]


def _steps(field: SchemaField, wrong: Mapping[str, int], good: Sequence[str]) -> Iterator[Step]:
    yield Step("trim")
    if step := _missing(field, wrong):
        yield step
    yield from numbers.propose(field, wrong, good)
    yield from dates.propose(field, wrong, good)
    if field.type == "boolean":
        yield from _booleans(wrong, good)
    if field.type != "string":
        return
    if field.constraints.enum is not None:
        yield Step("case")
        yield Step("nearest")
    elif field.constraints.pattern is not None:
        yield Step("case", target="upper")
        yield Step("case", target="lower")


def _missing(field: SchemaField, wrong: Mapping[str, int]) -> Step | None:
    """The only word for no value, or all of them. An empty cell is none that could become empty."""
    found: dict[str, str] = {}
    for text in wrong:
        if (word := text.strip()) and is_missing(word, field):
            found.setdefault(word.lower(), word)
    if not found:
        return None
    return Step("missing", next(iter(found.values())) if len(found) == 1 else None)


def _booleans(wrong: Mapping[str, int], good: Sequence[str]) -> Iterator[Step]:
    """Letters that mean yes in some languages, and are only known by their counterpart."""
    yield Step("boolean")
    found = {text.strip().lower() for text in [*wrong, *good]}
    for yes, no in (("s", "n"), ("o", "n"), ("v", "f"), ("d", "n")):
        others = found - {yes, no, ""}
        if {yes, no} <= found and not any(len(each) == 1 and each.isalpha() for each in others):
            yield Step("boolean", f"{yes}/{no}")
