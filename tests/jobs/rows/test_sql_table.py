"""Tables whose columns have any names, with each driver: every cell is read back from the column it was written to."""

from typing import Any

import hypothesis
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.pipeline import writer
from jobs.pipeline.conflicts import Collisions
from jobs.rows.sql_table import quoted
from jobs.schema import MAX_NAME_BYTES, OWN_COLUMNS, SYSTEM_COLUMNS, TableSchema
from tests.conftest import UndoneError
from tests.support.databases import rows_before

#: What a driver, SQLAlchemy or a database could take for more than a name.
FRAGMENTS = [
    "%", "%%", "%s", "%(", ")s", "%(x)s", "%(param_1)s", "%(c0)s", "%b", "%t", "x", "X", "?", "?1", ":", "::", ":x",
    ":1", "@x", "$1", "$x", "$$", '"', '""', "'", "`", "[", "]", "{", "}", "{0}", "(", ")", "\\", "\\n", "\\x00", ",",
    ".", ";", "--", "/*", "*/", "#", " ", "=", "+", "|", "||", "~", "^", "__[POSTCOMPILE_x]", "__[", "SELECT", "select",
    "from", "NULL", "null", "rowid", "oid", "_rowid_", "excluded", "staged", "stored", "param_1", "x_1", "_upload",
    "_upload_id_", "_row_number_", "_incoming", "data_", "é", "e\u0301", "ß", "İ", "\u0131", "\u017f", "\u00c5",
    "A\u030a", "\ufb01", "עברית", "العربية", "😀", "\U0001f468\u200d\U0001f680", "数", "\u0301",
]  # fmt: skip

#: The headers of two imports that went wrong, and of others that one of the drivers, or SQLAlchemy, could mistake.
HEADERS = [
    ["%(x)s", "x", "?"],
    ["%(param_1)s"],
    ["%(param_1)s", "param_1", "%(param_2)s", "param_2"],
    ["a.b", "a b", "a:b", "a[b"],
    ["%", "%%", "%%%", "%s", "%%s", "%%(x)s"],
    ["?", ":x", "$1", "@x", "?1"],
    ['"', '""', '"a"', "'", "''", "`", "[a]", "\\", '\\"'],
    ["__[POSTCOMPILE_param_1]", "__[POSTCOMPILE_x]", "x"],
    ["\u00c5", "A\u030a"],  # the same letter, composed and decomposed
    ["é" * 31, "x" * 63, '"' * 63, "%" * 63],
    ["excluded", "staged", "stored", "stored.x", "_incoming_1"],
]


def as_name(text: str) -> str:
    """The text as a valid name; "" if nothing is left."""
    printable = "".join(character for character in text if character.isprintable()).strip()
    return printable.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip()


def are_distinct(names: list[str]) -> bool:
    taken = [name.casefold() for name in (*names, *OWN_COLUMNS, *SYSTEM_COLUMNS)]
    return len(set(taken)) == len(taken)


NAMES = (
    st.lists(st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
    .map(lambda parts: as_name("".join(parts)))
    .filter(bool)
)
ANY_HEADER = st.lists(NAMES, min_size=1, max_size=8).filter(are_distinct)


def cells(header: list[str], upload: str, numbers: range) -> list[list[str]]:
    """Rows whose cells tell their place: upload, row and column."""
    return [[f"{upload}r{number}c{column}" for column in range(len(header))] for number in numbers]


def write(
    connection: sa.Connection, dataset: Dataset, rows: list[list[str]], *, upload_id: int, first: int = 1
) -> Collisions:
    text = pd.DataFrame(rows, columns=dataset.schema.names, dtype="string[pyarrow]")
    chunk = text.set_axis(pd.RangeIndex(first, first + len(rows)))
    each = writer.writer_for(connection.dialect, dataset, upload_id)
    return each.write(connection, each.pack(chunk)).collisions


def forwards(connection: sa.Connection, dataset: Dataset) -> list[list[str]]:
    """All rows, read one by one."""
    found: list[datasets.Row] = []
    while page := list(datasets.each_after(connection, dataset, found[-1].position if found else None, limit=1)):
        found += page
    if found:
        before = rows_before(connection, dataset, found[-1].position, limit=99)
        assert [row.cells for row in before] == [row.cells for row in found[:-1]]
    return [row.cells for row in found]


def declared(connection: sa.Connection, header: list[str], mode: Mode = Mode.INSERT, **more: Any) -> Dataset:
    """more: a schema's; `unique` are columns without repeated values."""
    unique = more.pop("unique", [])
    fields = [{"name": name, "constraints": {"unique": name in unique}} for name in header]
    dataset = datasets.declare(connection, "june", TableSchema.parse({"fields": fields, **more}), mode)
    assert datasets.get(connection, "june") == dataset
    return dataset


def check_inserts(connection: sa.Connection, header: list[str]) -> None:
    dataset = declared(connection, header)
    rows = cells(header, "", range(3))
    write(connection, dataset, rows[:2], upload_id=1)
    write(connection, dataset, rows[2:], upload_id=2)

    assert forwards(connection, dataset) == rows


def check_collisions(connection: sa.Connection, header: list[str]) -> None:
    """Rows whose key, or whose unique value, is stored are not inserted, and the rows beside them are."""
    key, unique = header[:2], header[-1:]
    dataset = declared(connection, header, primaryKey=key, unique=unique)
    old, new = cells(header, "a", range(3)), cells(header, "b", range(3))
    taken = [
        old[1][place] if name in key else cell for place, (name, cell) in enumerate(zip(header, new[1], strict=True))
    ]
    write(connection, dataset, old, upload_id=1)
    collisions = write(connection, dataset, [new[0], taken, [*new[2][:-1], old[2][-1]]], upload_id=2)

    assert collisions.keys() == {2, 3}
    assert forwards(connection, dataset) == sorted([*old, new[0]])


def check_upserts(connection: sa.Connection, header: list[str]) -> None:
    """Rows replace those of the same key, except where a unique value is that of another row."""
    dataset = declared(connection, header, Mode.UPSERT, primaryKey=header[:1], unique=header[1:2])
    old = cells(header, "a", range(4))
    replaced = [[old[2][0], *cells(header, "b", range(2, 3))[0][1:]], *cells(header, "b", range(3, 4))]
    write(connection, dataset, old, upload_id=1)
    collisions = write(connection, dataset, replaced, upload_id=2)
    failing = write(connection, dataset, [[old[0][0], *old[1][1:]]], upload_id=3) if len(header) > 1 else {1: []}

    assert collisions == {}
    assert failing.keys() == {1}
    assert forwards(connection, dataset) == sorted([*old[:2], replaced[0], old[3], replaced[1]])


CHECKS = [check_inserts, check_collisions, check_upserts]


def run(check: Any, database: Database, header: list[str]) -> None:
    """In a transaction that is rolled back."""

    def undone() -> None:
        with database.transaction() as connection:
            check(connection, header)
            raise UndoneError

    with pytest.raises(UndoneError):
        undone()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("header", HEADERS)
def test_cells_stay_in_columns_whose_names_look_like_sql(migrated: Database, header: list[str], check: Any) -> None:
    run(check, migrated, header)


@pytest.mark.parametrize("check", CHECKS)
@given(header=ANY_HEADER)
@hypothesis.settings(max_examples=60)
def test_cells_stay_in_columns_of_any_name(migrated: Database, check: Any, header: list[str]) -> None:
    run(check, migrated, header)


@pytest.mark.parametrize(("name", "identifier"), [("a", '"a"'), ('say "hi"', '"say ""hi"""'), ("%(x)s", '"%(x)s"')])
def test_a_quoted_name_is_an_identifier(name: str, identifier: str) -> None:
    assert quoted(name) == identifier
