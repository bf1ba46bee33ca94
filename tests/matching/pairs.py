"""Pairs of header sets: the columns of a file, the fields of a dataset, and by hand which is which.

The format of `tuning.txt` and `held_out.txt`, of which README.md speaks:

    == name | language | source
    field type property=value …
    --
    Column | sample ; sample | field

`-` is a column that is no field. `~field` is one that a person would have to think about: assigning it is right, and
leaving it is no mistake.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.pipeline.matching import Column
from jobs.schema import TableSchema

FOLDER = Path(__file__).parent
TUNING, HELD_OUT = FOLDER / "tuning.txt", FOLDER / "held_out.txt"


@dataclass(frozen=True)
class Pair:
    """right: column → its field, None for no field. open: columns that may as well be left."""

    name: str
    language: str
    source: str
    schema: TableSchema
    columns: list[Column]
    right: dict[str, str | None]
    open: frozenset[str]


def pairs(path: Path) -> list[Pair]:
    blocks = path.read_text(encoding="utf-8").split("\n== ")
    return [_pair(block.removeprefix("== ")) for block in blocks]


def _pair(block: str) -> Pair:
    head, *lines = [line for line in block.splitlines() if line.strip()]
    name, language, source = head.split(" | ", 2)
    middle = lines.index("--")
    columns, right, undecided = [], {}, set()
    for line in lines[middle + 1 :]:
        column, samples, field = (part.strip() for part in line.rsplit("|", 2))
        columns.append(Column(column, tuple(each.strip() for each in samples.split(";") if each.strip())))
        right[column] = None if field == "-" else field.lstrip("~")
        if field.startswith("~"):
            undecided.add(column)
    schema = TableSchema.parse({"fields": [_field(line) for line in lines[:middle]]})
    unknown = {field for field in right.values() if field is not None} - set(schema.names)
    assert not unknown, f"{name}: {unknown}"
    return Pair(name, language, source, schema, columns, right, frozenset(undecided))


def _field(line: str) -> dict[str, Any]:
    name, kind, *properties = shlex.split(line)
    field: dict[str, Any] = {"name": name, "type": kind}
    for each in properties:
        key, value = each.split("=", 1)
        if key == "alias":
            field.setdefault("aliases", []).append(value)
        elif key in ("enum", "pattern"):
            field.setdefault("constraints", {})[key] = value.split(",") if key == "enum" else value
        else:
            field[key] = value
    return field
