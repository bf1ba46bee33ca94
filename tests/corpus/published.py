"""Real files, as packages carry them (README.md has their sources), with their right tables.

Python's own csv module reads them here, as this module says for each file, so the right table does not come from the
product. Types stand here as somebody who has read the file would say them.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.case import Case, Right, Table, lines_of

_FOLDER = Path(__file__).parent / "real"
#: Types by letter; `?` where nobody could be sure.
_TYPES = {"t": "string", "b": "boolean", "i": "integer", "n": "number", "d": "date", "m": "datetime", "?": None}


@dataclass(frozen=True)
class _Layout:
    """How a file is laid out.

    types: a letter for each column. delimiter: None for any number of spaces and tabs. header: its line; 0 if there is
    none. spaced: spaces around cells are not part of them. comment: the beginning of lines that are none of the table.
    columns: those that are part of the table, if the lines have more. escape: the character before a quote in a cell.
    """

    types: str
    delimiter: str | None = ","
    header: int = 1
    spaced: bool = False
    comment: str = ""
    columns: int | None = None
    escape: str | None = None
    warnings: tuple[str, ...] = ()

    def table(self, text: str) -> Table:
        lines = [line for line in text.splitlines()[max(self.header - 1, 0) :] if line.strip()]
        kept = [line for line in lines if not (self.comment and line.startswith(self.comment))]
        records = [record[: self.columns] for record in self._records(kept)]
        if self.header == 0:
            records.insert(0, [f"column_{n}" for n in range(1, len(records[0]) + 1)])
        names = [" ".join(name.split()) or f"column_{n}" for n, name in enumerate(records[0], start=1)]
        return Table(_unique(names), records[1:], [_TYPES[letter] for letter in self.types])

    def _records(self, lines: list[str]) -> list[list[str]]:
        if self.delimiter is None:
            return [line.split() for line in lines]
        found = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.spaced, escapechar=self.escape)
        return [[cell.strip() if self.spaced else cell for cell in record] for record in found]


def _unique(names: list[str]) -> list[str]:
    """Repeated names with a number, as in `name_2`."""
    return [
        f"{name}_{names[:place].count(name) + 1}" if name in names[:place] else name for place, name in enumerate(names)
    ]


_GAPS = ("values_as_missing",)
_NONE = ("no_header",)
_FILES: dict[str, _Layout] = {
    "airlines.csv": _Layout("tt"),
    "airports.csv": _Layout("tt??iitt"),
    "anes96.csv": _Layout("iiiiiiiiiii", delimiter=" "),
    "anscombe.csv": _Layout("nnnnnnnn", spaced=True),
    "antibiotics.csv": _Layout("tnnnt", spaced=True),
    "bachelors_degrees.csv": _Layout("i" + "?" * 17),
    "birdstrikes.csv": _Layout("tttdttttttiiii"),
    "blocks.txt": _Layout("tt", delimiter=";", header=0, spaced=True, comment="#", warnings=_NONE),
    "battery.dat": _Layout("nnnn", delimiter=None, header=0, warnings=_NONE),
    "cities.dat": _Layout("ttitt", delimiter="\t", header=0, warnings=_NONE),
    "cows.csv": _Layout("ntt"),
    "danish_data.csv": _Layout("tnnnnn"),
    "elements.csv": _Layout("itt?ttnn?n" + "?" * 11, warnings=_GAPS),
    "elnino.dat": _Layout("iinnnnnnnn", delimiter=None),
    "engel.csv": _Layout("??"),
    "finance.dat": _Layout("dnnnn" + "i??" + "???", delimiter="\t", header=0, warnings=_NONE),
    "forensic_glass.csv": _Layout("?nnnnnnnnt"),
    "fuel_economy.csv": _Layout("itt" + "nii" + "tt" + "ii" + "tt"),
    "global_temp.csv": _Layout("in"),
    "grunfeld.csv": _Layout("nnnti"),
    "immigration.dat": _Layout("t" + "i" * 23, delimiter="\t", header=3, comment="#", columns=24, warnings=_GAPS),
    "iowa_electricity.csv": _Layout("dti"),
    "lincoln_weather.csv": _Layout("ttdii"),
    "linnerud_exercise.csv": _Layout("iii", delimiter=" "),
    "linnerud_physiological.csv": _Layout("iii", delimiter=" "),
    "longley.csv": _Layout("iiniiiii"),
    "modechoice.csv": _Layout("iiiiiii"),
    "name_aliases.txt": _Layout("ttt", delimiter=";", header=0, comment="#", warnings=_NONE),
    "nile.csv": _Layout("ii"),
    "numberly.csv": _Layout("?" * 10),
    "obiszow_mtb_xcm.csv": _Layout("nnn"),
    "penguins.csv": _Layout("ttnniiti", warnings=_GAPS),
    "penguins_raw.csv": _Layout("titttttb" + "dnniitnnt", warnings=_GAPS),
    "planes.csv": _Layout("tittt" + "ii" + "tt", warnings=_GAPS),
    "probly.csv": _Layout("?" * 17),
    "seattle_weather.csv": _Layout("dnnnnt"),
    "silver.dat": _Layout("nnn", delimiter=None, header=0, warnings=_NONE),
    "sprint.csv": _Layout("tttni", spaced=True, escape="\\"),
    "statecrime.csv": _Layout("tnnnnnnn"),
    "strikes.csv": _Layout("i?", spaced=True),
    "sunspots_yearly.dat": _Layout("ii", delimiter=None, header=0, warnings=_NONE),
    "titanic.csv": _Layout("tt?ti"),
    "unemp.csv": _Layout("titn", header=10, columns=4),
    "unemployment.tsv": _Layout("i?", delimiter="\t"),
    "unemployment1948.csv": _Layout("i" + "n" * 13),
    "unicode_data.txt": _Layout("t" * 3 + "?" * 12, delimiter=";", header=0, warnings=_NONE),
    "us_airports.csv": _Layout("ittttt??i???tt"),
    "us_employment.csv": _Layout("d" + "?" * 23),
    "us_marriages_divorces.csv": _Layout("iiiinn"),
    "world_energy.dat": _Layout("iit" + "iiiiii", delimiter="\t"),
}


def cases() -> Iterator[Case]:
    for name, layout in _FILES.items():
        table = layout.table(_text(name))
        numbers = tuple(
            column for column, kind in zip(table.columns, table.types, strict=True) if kind in ("number", None)
        )
        right = Right(table, warnings=frozenset(layout.warnings), any_spelling=numbers)
        yield _case(name, right, *_others(name, right))
    yield from _ambiguous()


def _others(name: str, right: Right) -> Iterator[Right]:
    """Other ways in which a file may be read."""
    if name == "immigration.dat" and right.table:
        table = right.table
        wider = Table([*table.columns, "column_25"], [[*row, ""] for row in table.rows], [*table.types, None])
        yield Right(wider, warnings=right.warnings)
        yield Right(table, warnings=right.warnings | {"surplus_cells"})


def _ambiguous() -> Iterator[Case]:
    """Files that several tables fit."""
    text = _text("iris_of_scikit-learn.csv")
    named, bare = _Layout("nnnn?").table(text), _Layout("nnnn?", header=0).table(text)
    guessed = Right(named, warnings=frozenset(["header_guessed"]), any_spelling=tuple(named.columns))
    without = Right(bare, warnings=frozenset(_NONE), any_spelling=tuple(bare.columns))
    # The first line has the numbers of rows and columns, and the names of classes.
    yield _case("iris_of_scikit-learn.csv", guessed, without)

    text = _text("umath_exp.csv")
    table = _Layout("ttt?", comment="#").table(text)
    yield _case("umath_exp.csv", *_with_lines_between(table, *lines_of(text, "## ")))

    table = _Layout("i" + "n" * 12, delimiter=None, header=3, comment="-").table(_text("sunspots_monthly.dat"))
    yield _case("sunspots_monthly.dat", *_with_lines_between(table, 4))


def _with_lines_between(table: Table, *lines: int) -> Iterator[Right]:
    """A table with lines of comments or dashes among its rows: they are skipped, or fail."""
    numbers = tuple(table.columns)
    yield Right(table, any_spelling=numbers)
    yield Right(table, any_spelling=numbers, failed=lines)
    yield Right(table, any_spelling=numbers, warnings=frozenset(["lines_skipped"]))


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8-sig")


def _case(name: str, *right: Right) -> Case:
    return Case(f"real/{name}", name, (_FOLDER / name).read_bytes(), right)
