"""A file of the corpus with its right table, and what an import made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Words that stand for a missing value somewhere in the corpus.
MISSING = {"", "NA", "N/A", "n/a", "null", "NULL", "-", "–", "none", "#N/A", "NaN", ".", "k.A."}  # noqa: RUF001


@dataclass(frozen=True)
class Table:
    """The right table of a file.

    columns: the names in their order. rows: the cells as an export gives them, those of failed rows left out. types:
    of each column, "integer|number" if either is right; None where a careful person would not be sure.
    """

    columns: list[str]
    rows: list[list[str]]
    types: list[str | None] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True)
class Right:
    """What a right import of a file makes of it.

    table: None if the file must be refused. failed: the lines at which the rows begin that must fail, from 1; in a
    worksheet the rows. warnings: the codes, all of them. refused: a phrase of the sentence that says why. any_space:
    spaces around cells and names may be kept or removed. any_names: how a name is joined or completed is free; only
    its letters and digits count. any_spelling: columns whose numbers may come back in another spelling. any_word:
    columns in which one word for a missing value may stand for another, as an export gives the most frequent one.
    """

    table: Table | None = None
    failed: tuple[int, ...] = ()
    warnings: frozenset[str] = frozenset()
    refused: str | None = None
    any_space: bool = False
    any_names: bool = False
    any_spelling: tuple[str, ...] = ()
    any_word: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A file as somebody sends it.

    name: `kind/what is special`. filename: with its ending. right: the ways in which it may be read, the best first.
    schema: of the dataset that receives it; None for a new dataset. options: of the upload.
    """

    name: str
    filename: str
    content: bytes
    right: tuple[Right, ...]
    schema: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Found:
    """What an import made of a file.

    failed: the line of each failed row (None where the product does not tell it), and its cells. error: why the upload
    failed; None if it was completed. crash: of the job itself.
    """

    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    failed: list[tuple[int | None, list[str]]] = field(default_factory=list)
    warnings: frozenset[str] = frozenset()
    error: str | None = None
    crash: str | None = None


class Verdict(StrEnum):
    EXACT = "exact"
    SAID_SO = "wrong but said so"
    REFUSED = "refused wrongly"
    GREEN = "GREEN BUT WRONG"
    CRASH = "crash"


@dataclass(frozen=True)
class Judgement:
    """difference: the first one, in words; "" for an exact table. types_right of types_sure columns have their type."""

    verdict: Verdict
    difference: str = ""
    types_right: int = 0
    types_sure: int = 0
    wrong_types: tuple[str, ...] = ()


def judge(case: Case, found: Found) -> Judgement:
    """The verdict on an import: the best among the ways in which the file may be read."""
    order = list(Verdict)
    return min((_judge(case, right, found) for right in case.right), key=lambda each: order.index(each.verdict))


def _judge(case: Case, right: Right, found: Found) -> Judgement:
    if found.crash is not None:
        return Judgement(Verdict.CRASH, found.crash)
    if right.table is None:
        return _judge_refusal(right, found)
    if found.error is not None:
        return Judgement(Verdict.REFUSED, f"refused: {found.error}")
    wrong = _table_difference(right, right.table, found)
    named = wrong or _failed_difference(case, right, found) or _warnings_difference(right, found)
    is_green = not found.warnings and not found.failed
    if not named:
        return _with_types(right.table, found, Judgement(Verdict.EXACT))
    silent = is_green and bool(wrong or right.failed or right.warnings)
    return _with_types(right.table, found, Judgement(Verdict.GREEN if silent else Verdict.SAID_SO, named))


def _judge_refusal(right: Right, found: Found) -> Judgement:
    if found.error is None:
        is_green = not found.warnings and not found.failed
        difference = f"must be refused ({right.refused}), but has {len(found.rows)} rows of {found.columns[:5]}"
        return Judgement(Verdict.GREEN if is_green else Verdict.SAID_SO, difference)
    if (right.refused or "").casefold() in found.error.casefold():
        return Judgement(Verdict.EXACT)
    return Judgement(Verdict.SAID_SO, f"the refusal does not say “{right.refused}”: {found.error}")


def _table_difference(right: Right, table: Table, found: Found) -> str:
    """The first difference between the tables, in words."""
    wanted, names = [_name(right, name) for name in table.columns], [_name(right, name) for name in found.columns]
    if wanted != names:
        return f"columns {found.columns[:12]}, expected {table.columns[:12]}"
    numbers, words = ({table.columns.index(name) for name in names} for names in (right.any_spelling, right.any_word))
    for number, (row, kept) in enumerate(zip(table.rows, found.rows, strict=False), start=1):
        for place, (cell, other) in enumerate(zip(row, kept, strict=True)):
            if not (
                _same(cell, other, right.any_space)
                or (place in numbers and _same_number(cell, other))
                or (place in words and {cell, other} <= MISSING)
            ):
                return f"kept row {number}, {table.columns[place]}: {other[:60]!r}, expected {cell[:60]!r}"
    if len(table.rows) != len(found.rows):
        longer = "missing" if len(table.rows) > len(found.rows) else "too many"
        rows = table.rows if longer == "missing" else found.rows
        first = rows[min(len(table.rows), len(found.rows))]
        return f"{len(found.rows)} rows, expected {len(table.rows)}; the first {longer}: {first[:8]}"
    return ""


def _name(right: Right, name: str) -> str:
    if right.any_names:
        return "".join(character for character in name.casefold() if character.isalnum())
    return name.strip() if right.any_space else name


def _same(cell: str, other: str, any_space: bool) -> bool:
    return cell == other or (any_space and cell.strip() == other.strip())


def _same_number(cell: str, other: str) -> bool:
    try:
        return float(cell) == float(other)
    except ValueError:
        return False


def _failed_difference(case: Case, right: Right, found: Found) -> str:
    lines = [line for line, _ in found.failed]
    if None not in lines:
        return (
            ""
            if sorted(right.failed) == sorted(map(int, filter(None, lines)))
            else (f"failed rows at lines {lines[:12]}, expected {list(right.failed)[:12]}")
        )
    if len(right.failed) != len(found.failed):
        return f"{len(found.failed)} failed rows, expected those at lines {list(right.failed)[:12]}"
    return ""


def _warnings_difference(right: Right, found: Found) -> str:
    if right.warnings == found.warnings:
        return ""
    return f"warnings {sorted(found.warnings)}, expected {sorted(right.warnings)}"


def _with_types(table: Table, found: Found, judgement: Judgement) -> Judgement:
    """The judgement with its count of types, if the columns are the right ones."""
    if len(table.types) != len(found.types):
        return judgement
    sure = [(name, wanted, kind) for name, wanted, kind in zip(table.columns, table.types, found.types, strict=True)]
    sure = [each for each in sure if each[1] is not None]
    wrong = tuple(
        f"{name} is {kind}, expected {wanted}" for name, wanted, kind in sure if kind not in str(wanted).split("|")
    )
    return Judgement(judgement.verdict, judgement.difference, len(sure) - len(wrong), len(sure), wrong)


def lines_of(text: str, *parts: str) -> tuple[int, ...]:
    """The numbers, from 1, of the lines that contain one of these parts."""
    return tuple(number for number, line in enumerate(text.split("\n"), start=1) if any(part in line for part in parts))


def case(
    name: str, text: str | bytes, *right: Right, ending: str = "csv", encoding: str = "utf-8", **more: Any
) -> Case:
    """A case of text, or of bytes. more: fields of Case."""
    content = text if isinstance(text, bytes) else text.encode(encoding)
    filename = f"{name.rpartition('/')[2].replace(' ', '_')}{'.' if ending else ''}{ending}"
    return Case(name, filename, content, right, **more)


def read(table: Table, **more: Any) -> Right:
    """The table without a warning, unless `more` says otherwise. warnings: one code or several."""
    return Right(table, **_codes(more))


def refused(phrase: str) -> Right:
    return Right(refused=phrase)


def _codes(more: dict[str, Any]) -> dict[str, Any]:
    warnings: str | Sequence[str] = more.pop("warnings", ())
    return more | {"warnings": frozenset([warnings] if isinstance(warnings, str) else warnings)}
