"""Files for a dataset that exists: its fields are filled by name, or by position where a file has no header."""

from collections.abc import Iterator
from typing import Any

from tests.corpus import tables
from tests.corpus.case import Case, Table, case, read, refused
from tests.corpus.tables import rows_of
from tests.corpus.writing import body, csv, joined, line, lines

NAMES, KINDS = (
    ["id", "name", "town", "born", "salary", "active"],
    ["integer", "string", "string", "date", "number", "boolean"],
)
#: The dataset of staff. No constraint but the types.
STAFF: dict[str, Any] = {"fields": [{"name": name, "type": kind} for name, kind in zip(NAMES, KINDS, strict=True)]}
#: Salaries come back without zeros behind: the dataset does not say how they are written.
LOOSE = ("salary",)


def cases() -> Iterator[Case]:
    people = tables.people()
    yield _case("as declared", csv(people), read(people, any_spelling=LOOSE))
    order = ["town", "id", "active", "salary", "name", "born"]
    yield _case("columns in another order", csv(tables.columns_of(people, *order)), read(people, any_spelling=LOOSE))
    capitals = tables.renamed(people, *(name.upper() for name in NAMES))
    yield _case("names in capital letters", csv(capitals, ";"), read(people, any_spelling=LOOSE))
    yield from _columns(people)
    yield from _values(people)
    bare = joined(body(people))
    yield _case("no header", bare, read(people, any_spelling=LOOSE, warnings="no_header"))
    chosen = read(people, any_spelling=LOOSE)
    yield _case(
        "no header, as chosen",
        bare,
        chosen,
        read(people, any_spelling=LOOSE, warnings="no_header"),
        options={"header_row": 0},
    )
    titled = joined(["Staff of all branches, 2025", "", *lines(people)])
    yield _case("a title above", titled, read(people, any_spelling=LOOSE))
    shifted = lines(people)
    shifted[9] = line([*people.rows[8][:1], "", *people.rows[8][1:-1], ""])
    yield _case(
        "a row shifted", joined(shifted), read(rows_of(people, lambda p: p != 8), any_spelling=LOOSE, failed=(10,))
    )


def _case(name: str, text: str, *right: Any, **more: Any) -> Case:
    return case(f"datasets/{name}", text, *right, **({"schema": STAFF} | more))


def _columns(people: Table) -> Iterator[Case]:
    """Columns that the dataset does not have, and fields that the file does not fill."""
    wider = Table([*NAMES, "Full name", "Country"], [[*row, f"{row[1]} jr", "IE"] for row in people.rows])
    yield _case("columns left over", csv(wider), read(people, any_spelling=LOOSE, warnings="columns_ignored"))
    narrow = tables.columns_of(people, "id", "name", "salary")
    kept = [[row[0], row[1], "", "", row[4], ""] for row in people.rows]
    filled = Table(NAMES, kept)
    yield _case("fields left empty", csv(narrow), read(filled, any_spelling=LOOSE, warnings="fields_empty"))
    both = tables.renamed(people, "id", "Full name", "town", "born", "salary", "active")
    emptied = Table(NAMES, [[row[0], "", *row[2:]] for row in people.rows])
    codes = ("columns_ignored", "fields_empty")
    yield _case("a column under another name", csv(both), read(emptied, any_spelling=LOOSE, warnings=codes))
    required = {
        "fields": [*STAFF["fields"][:1], {"name": "name", "constraints": {"required": True}}, *STAFF["fields"][2:]]
    }
    yield _case("a required field left empty", csv(both), refused("name"), schema=required)
    yield _case(
        "a key left empty",
        csv(tables.columns_of(people, "name", "town")),
        refused("id"),
        schema=STAFF | {"primaryKey": "id"},
    )


def _values(people: Table) -> Iterator[Case]:
    rows = [list(row) for row in people.rows]
    rows[3][0], rows[11][3], rows[20][4] = "x17", "31.12.1999", "n/a"
    bad = read(rows_of(people, lambda place: place not in (3, 11, 20)), any_spelling=LOOSE, failed=(5, 13, 22))
    yield _case("values that do not fit", csv(Table(NAMES, rows)), bad)
    twice = Table(NAMES, [*people.rows[:25], people.rows[4], *people.rows[25:]])
    key = STAFF | {"primaryKey": "id"}
    yield _case("a key twice", csv(twice), read(people, any_spelling=LOOSE, failed=(27,)), schema=key)
