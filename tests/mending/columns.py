"""Reads dirty columns: the field, some valid values, and wrong ones, each with what a careful person would make of it.

    # title
    field: {"type": "number"}
    good: 12.5 | 7
    1.204,50 => 1204.5
    n/a =>
    12-15 => ?

Nothing behind the arrow: there is no value. A question mark: nobody can tell without knowing more than the column.
`\\u00a0` stands for a character that is hard to see; spaces around a value belong to it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TUNING, HELD_OUT = (Path(__file__).parent / name for name in ("tuning.txt", "held_out.txt"))
ARROW = " =>"


@dataclass
class DirtyColumn:
    """properties: of its field. truth: wrong value → the right one, "" for no value, None if nobody can tell."""

    title: str
    properties: dict[str, Any] = field(default_factory=dict)
    good: list[str] = field(default_factory=list)
    truth: dict[str, str | None] = field(default_factory=dict)


def columns(path: Path) -> list[DirtyColumn]:
    found: list[DirtyColumn] = []
    for line in _lines(path):
        if line.startswith("# "):
            found.append(DirtyColumn(line[2:]))
        elif line.startswith("field: "):
            found[-1].properties = json.loads(line.removeprefix("field: "))
        elif line.startswith("good: "):
            found[-1].good = line.removeprefix("good: ").split(" | ")
        else:
            value, _, right = line.rpartition(ARROW)
            right = right.removeprefix(" ")
            found[-1].truth[value] = None if right == "?" else right
    return found


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text().split("\n"):
        if line.strip():
            yield re.sub(r"\\u([0-9a-f]{4})", lambda each: chr(int(each[1], 16)), line)
