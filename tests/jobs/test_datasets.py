"""Datasets: their names, their schemas, and the tables of their rows, on both databases."""

import csv
import gc
import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import bulk_upload, datasets, tables, uploads
from jobs.database import Database, utc_now
from jobs.datasets import LONGEST_NAME, Dataset, Mode, Position
from jobs.errors import (
    DatasetExistsError,
    DatasetNotFoundError,
    InvalidDatasetNameError,
    InvalidPositionError,
    MissingColumnsError,
    SchemaError,
)
from jobs.import_options import ImportOptions
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, Upload
from tests.support.databases import insert_rows, rows_before
from tests.support.files import store
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("sales.csv", "sales"),
        ("Sales June.csv", "sales_june"),
        ("Ventes d'été 2026.csv", "ventes_d_ete_2026"),
        ("2026-01-31.csv", "file_2026_01_31"),
        ("__init__.csv", "init"),
        ("archive.tar.csv", "archive_tar"),
        ("売上.csv", "file"),
        ("---.csv", "file"),
        (".csv", "file"),
        ("no ending", "no_ending"),
        ("", "file"),
        ("x" * 60 + ".csv", "x" * 48),
        ("9" * 60 + ".csv", "file_" + "9" * 43),
        ("a" * 47 + "-b.csv", "a" * 47),
        ("select.csv", "select"),
        ('"; DROP TABLE uploads; --.csv', "drop_table_uploads"),
    ],
)
def test_a_dataset_is_named_after_its_file(filename: str, name: str) -> None:
    assert name == datasets.name_from_filename(filename)
    assert name == datasets.checked_name(name)


@pytest.mark.parametrize(
    ("wish", "name"),
    [("", ""), ("  ", ""), ("auto", ""), (" auto ", ""), (" sales_2 ", "sales_2"), ("x" * 48, "x" * 48)],
)
def test_a_chosen_name_is_stripped_of_spaces(wish: str, name: str) -> None:
    assert name == datasets.checked_name(wish)


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("sales 2024 Q1", "sales_2024_q1"),
        ("Sales 2024 Q1 \u2013 Zürich", "sales_2024_q1_zurich"),
        ("Sales", "sales"),
        ("Auto", ""),
        ("2026", "dataset_2026"),
        ("_sales", "sales"),
        ("sales__june_", "sales__june_"),  # valid, so it stays
        ("sales-june", "sales_june"),
        ("  Sales / June!  ", "sales_june"),
        ("été", "ete"),
        ("Straße Łódź Ærø", "strasse_lodz_aero"),
        ("İstanbul", "istanbul"),
        ("e\u0301te\u0301", "ete"),
        ("\uff26\uff35\uff2c\uff2c\u3000width", "full_width"),
        ("€ prices", "prices"),
        ('a"b', "a_b"),
        ("a\nb", "a_b"),
        ("sales\x00", "sales"),
        ("x²", "x2"),
    ],
)
def test_a_chosen_name_is_normalised(wish: str, name: str) -> None:
    assert name == datasets.checked_name(wish)
    assert name == datasets.checked_name(name)


@pytest.mark.parametrize(
    "wish", ["\u2013", "!?", "_", "🙂", "\u043f\u0440\u043e", "\u043f 2026", "売上", "a売上", "x" * 49, "é" * 49]
)
def test_a_name_that_cannot_be_normalised_is_refused_with_the_valid_characters(wish: str) -> None:
    with pytest.raises(InvalidDatasetNameError) as refused:
        datasets.checked_name(wish)

    assert str(refused.value) == (
        f"“{wish}” cannot be the name of a dataset. Use at most 48 Latin letters, digits, spaces and underscores, or"
        " leave it empty to name the dataset after the file."
    )


def test_the_error_quotes_only_the_start_of_a_long_name() -> None:
    with pytest.raises(InvalidDatasetNameError) as refused:
        datasets.checked_name("x" * 100_000)

    assert len(str(refused.value)) < 300


SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "id", "type": "integer", "description": "each of 2 values is a whole number"},
            {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
            {"name": "seen", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%SZ"},
        ]
    }
)


def made(settings: Settings, database: Database, *wanted: str) -> list[Dataset]:
    """Datasets created under these names for one upload, each in a transaction of its own."""
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, "x"))
    found = []
    for name in wanted:
        with database.transaction() as connection:
            found.append(datasets.create(connection, name, SCHEMA, upload.id))
    return found


def test_a_name_that_is_taken_gets_the_first_free_number(settings: Settings, database: Database) -> None:
    wanted = ["sales", "sales_by_day", "sales_3", "sales", "sales", "sales", "sales_3", "salesx", "sale"]

    assert [each.name for each in made(settings, database, *wanted)] == [
        "sales", "sales_by_day", "sales_3", "sales_2", "sales_4", "sales_5", "sales_3_2", "salesx", "sale",
    ]  # fmt: skip


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_datasets_created_at_once_with_one_name_get_two_names(settings: Settings, database: Database) -> None:
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor() as pool:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, "x"))
            first = datasets.create(connection, "sales", SCHEMA, upload.id)
            second = pool.submit(made, settings, database, "sales")

            def decided() -> bool:
                with database.reading() as other:  # anew each time: a transaction sees one state of the sessions
                    return second.done() or bool(other.execute(waits).scalar_one())

            until(decided, "the second to wait for the first")

        assert [first.name, *(each.name for each in second.result(30))] == ["sales", "sales_2"]


def test_an_underscore_in_a_name_is_not_a_wildcard(settings: Settings, database: Database) -> None:
    assert [each.name for each in made(settings, database, "axb", "a_b")] == ["axb", "a_b"]


def test_the_longest_name_has_room_for_a_number(settings: Settings, database: Database) -> None:
    first, second = made(settings, database, "x" * LONGEST_NAME, "x" * LONGEST_NAME)

    assert (first.name, second.name) == ("x" * 48, "x" * 48 + "_2")
    with database.reading() as connection:
        tables = sa.inspect(connection).get_table_names()
    assert {f"data_{'x' * 48}", f"data_{'x' * 48}_2"} <= set(tables)


def test_a_dataset_is_read_back_by_its_name(settings: Settings, database: Database) -> None:
    (dataset,) = made(settings, database, "sales")
    with database.reading() as connection:
        found = datasets.get(connection, "sales")
        exists = [datasets.exists(connection, name) for name in ("sales", "SALES", "sale_")]

    assert dataset == found
    assert exists == [True, False, False]


def test_a_dataset_that_does_not_exist_is_not_found(database: Database) -> None:
    with database.reading() as connection, pytest.raises(DatasetNotFoundError) as missing:
        datasets.get(connection, "sales")

    assert str(missing.value) == "There is no dataset called “sales”."
    assert missing.value.name == "sales"


def declared(connection: sa.Connection, name: str = "sales", mode: Mode = Mode.INSERT, **schema: Any) -> Dataset:
    """A declared dataset; by default with the fields id and name."""
    schema.setdefault("fields", [{"name": "id", "type": "integer"}, {"name": "name"}])
    return datasets.declare(connection, name, TableSchema.parse(schema), mode)


def test_a_declared_dataset_exists_before_any_upload(database: Database) -> None:
    with database.transaction() as connection:
        dataset = declared(connection, " sales ", Mode.UPSERT, primaryKey="id", title="Sales by day")
    with database.reading() as connection:
        found = datasets.get(connection, "sales")
        rows = list(datasets.each_after(connection, found, None, limit=9))
        count = datasets.row_count(connection, found)

    assert dataset == found
    assert (found.name, found.mode, found.upload_id) == ("sales", Mode.UPSERT, None)
    assert found.schema.as_json() == {
        "fields": [{"name": "id", "type": "integer"}, {"name": "name"}],
        "primaryKey": ["id"],
        "title": "Sales by day",
    }
    assert (rows, count) == ([], 0)


def test_a_dataset_cannot_be_declared_twice(database: Database) -> None:
    with database.transaction() as connection:
        declared(connection)

        with pytest.raises(DatasetExistsError, match=r"A dataset named “sales” already exists\. Choose another name"):
            declared(connection)


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "Enter a name for the dataset."), ("?", "cannot be the name of a dataset")]
)
def test_a_declared_dataset_needs_a_valid_name(database: Database, name: str, sentence: str) -> None:
    with database.transaction() as connection, pytest.raises(InvalidDatasetNameError, match=sentence):
        declared(connection, name)


def test_an_upsert_needs_a_key(database: Database) -> None:
    with database.transaction() as connection, pytest.raises(SchemaError) as refused:
        declared(connection, mode=Mode.UPSERT)

    assert refused.value.problems == ("primaryKey: is missing; mode upsert needs it to find the row to replace",)


def fields(*names: str, **aliases: list[str]) -> TableSchema:
    """Text fields of these names; those with a star at the end are required."""
    return TableSchema.parse(
        {
            "fields": [
                {"name": name, "aliases": aliases.get(name, []), "constraints": {"required": bool(star)}}
                for name, star, _ in (each.partition("*") for each in names)
            ]
        }
    )


@pytest.mark.parametrize(
    ("schema", "header", "sources", "ignored"),
    [
        (fields("id", "name"), ["id", "name"], {"id": "id", "name": "name"}, []),
        (fields("id", "name"), ["name", "id"], {"id": "id", "name": "name"}, []),
        (fields("unit_price"), ["Unit Price"], {"unit_price": "Unit Price"}, []),
        (fields("unit price"), ["UNIT-PRICE"], {"unit price": "UNIT-PRICE"}, []),
        (fields("straße"), ["STRASSE"], {"straße": "STRASSE"}, []),
        (fields("price", price=["amount", "sum"]), ["x", "Amount"], {"price": "Amount"}, ["x"]),
        (fields("price", price=["amount", "sum"]), ["sum", "amount"], {"price": "amount"}, ["sum"]),
        (fields("price", price=["amount"]), ["amount", "Price"], {"price": "Price"}, ["amount"]),
        (fields("price"), ["Price", "price"], {"price": "price"}, ["Price"]),
        (fields("a b", "ab"), ["ab"], {"ab": "ab"}, []),
        (fields("a b", "ab"), ["ab", "A B"], {"a b": "A B", "ab": "ab"}, []),
        (fields("total", "sum", total=["s_u_m"]), ["sum"], {"sum": "sum"}, []),
        (fields("total", "a", total=["s u m"]), ["SUM"], {"total": "SUM"}, []),
        (fields("-", "_x"), ["-", "x"], {"-": "-", "_x": "x"}, []),
        (fields("id", "name"), ["city"], {}, ["city"]),
    ],
)
def test_columns_match_by_name_then_by_case_and_spaces_then_by_alias(
    schema: TableSchema, header: list[str], sources: dict[str, str], ignored: list[str]
) -> None:
    assert datasets.Match(sources, ignored) == datasets.match(schema, header)


def test_a_column_matches_its_escaped_name() -> None:
    schema = TableSchema.parse({"fields": [{"name": "=a", "constraints": {"required": True}}, {"name": "b;-c"}]})

    assert datasets.match(schema, ["'=a", "b;'-c"]) == datasets.Match({"=a": "'=a", "b;-c": "b;'-c"}, [])


def test_the_error_names_all_missing_columns_and_those_of_the_file() -> None:
    with pytest.raises(MissingColumnsError) as missing:
        datasets.match(fields("id*", "name", "born*"), ["Name", "city"])

    assert missing.value.missing == ("id", "born")
    assert str(missing.value) == (
        "Required columns are missing: “id”, “born”. The columns of the file are “Name”, “city”."
    )


def test_a_key_is_required_whatever_its_constraints_say() -> None:
    schema = TableSchema.parse({"fields": [{"name": "id"}, {"name": "day"}], "primaryKey": ["id", "day"]})

    with pytest.raises(MissingColumnsError, match="Required columns are missing: “day”"):
        datasets.match(schema, ["id"])


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["id", "name"], ["sales"]),
        (["NAME", "Id"], ["sales"]),
        (["id"], []),
        (["id", "name", "city"], []),
        (["a", "b"], ["b_a", "a_b"]),
        (["k", "v"], []),
    ],
)
def test_the_matching_datasets_have_exactly_these_columns_the_newest_first(
    database: Database, header: list[str], found: list[str]
) -> None:
    with database.transaction() as connection:
        declared(connection)
        declared(connection, "a_b", fields=[{"name": "a"}, {"name": "b"}])
        declared(connection, "b_a", fields=[{"name": "b"}, {"name": "a"}])
        earlier = sa.update(tables.datasets).where(tables.datasets.c.name == "a_b")
        connection.execute(earlier.values(created_at=utc_now(-60)))
    with database.reading() as connection:
        assert found == datasets.matching(connection, header)


def test_the_dataset_into_which_a_file_was_imported_last_matches_first(settings: Settings, database: Database) -> None:
    with database.transaction() as connection:
        for name in ("early", "late", "never"):
            declared(connection, name)
    for name in ("late", "early"):
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, "x"), dataset=name)
            claimed = uploads.claim(connection, upload.id, worker="a test", lease=60)
            assert claimed is not None
            uploads.advance(connection, Claim(claimed.id, claimed.attempt), lease=60, good=1, bad=0, next_byte=1)
    with database.reading() as connection:
        assert datasets.matching(connection, ["id", "name"]) == ["early", "late", "never"]


@pytest.mark.parametrize("values", [(3, 17), (0, 0), ("Zoë", -7), ("a/b?c=d&e", 0.1), (True,), ("",)])
def test_a_position_is_decoded_to_the_values_it_was_encoded_from(values: tuple[Any, ...]) -> None:
    position = Position(values)

    assert position == Position.parse(str(position))
    assert re.fullmatch(r"[\w-]+", str(position), re.ASCII)


@pytest.mark.parametrize(
    "text", ["", "3-17", "x", "=", "é", "AAAA", "eyJhIjoxfQ", "W10", "InRleHQi", "WzEsMl0x", "W1tb" * 9999]
)
def test_an_invalid_position_is_rejected(text: str) -> None:
    with pytest.raises(InvalidPositionError):
        Position.parse(text)


@pytest.mark.parametrize(
    "values", [(3,), (3, 17, 1), ("x", 1), (10**30, 1), (float("inf"), 1), ([3], 1), (None, 1), ({}, 1)]
)
def test_a_position_of_another_dataset_is_rejected(database: Database, values: tuple[Any, ...]) -> None:
    with database.transaction() as connection:
        dataset = declared(connection)

        with pytest.raises(
            InvalidPositionError, match=r"This is not a position in this dataset\. Start again from its first page\."
        ):
            list(datasets.each_after(connection, dataset, Position(values), limit=9))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_position_with_invalid_text_is_rejected(database: Database, text: str) -> None:
    with database.transaction() as connection:
        dataset = declared(connection, fields=[{"name": "name"}], primaryKey="name")

        with pytest.raises(InvalidPositionError):
            rows_before(connection, dataset, Position((text,)), limit=9)


Importing = Callable[[str], Dataset]


@pytest.fixture
def importing(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Upload]:
    """Runs the whole job on a file and returns its upload."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(content: str, **more: Any) -> Upload:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, content), **more)
        bulk_upload.run(upload.id)
        with database.reading() as connection:
            return uploads.get(connection, upload.id)

    return run


@pytest.fixture
def imported(importing: Callable[..., Upload], database: Database) -> Importing:
    """Runs the whole job on a file and returns its dataset."""

    def run(content: str) -> Dataset:
        upload = importing(content)
        with database.reading() as connection:
            assert upload.dataset is not None
            return datasets.get(connection, upload.dataset)

    return run


def cells_of(database: Database, dataset: Dataset) -> list[list[str]]:
    with database.reading() as connection:
        return [row.cells for row in list(datasets.each_after(connection, dataset, None, limit=999))]


#: Names that a database, a driver or SQLAlchemy could take for something else.
ODD_NAMES = [
    "a b", "it's", 'say "hi"', "100%", "%s", "%(x)s", "%%", ":p", "::text", "?", "$1", "a:b", "(a)", "[b]", "{c}",
    "a.b", "data.june", "a,b", "a;b", "`a`", "\\", "\\n", "--", "/* a */", "#", "été", "売上", "😀", "ß", "select",
    "ORDER", "Table", "user", "null", "id", "ID", "rowid", "oid", "xmin", "ctid", "_rowid_", "_upload_id",
    "_row_number", "1", "-1", "x" * 63, "é" * 40, "x" * 70, "",
]  # fmt: skip


def test_columns_of_any_name_hold_their_rows(imported: Importing, database: Database) -> None:
    file = io.StringIO()
    rows = [[f"{number} {column}" for column in range(len(ODD_NAMES))] for number in range(2)]
    csv.writer(file).writerows([ODD_NAMES, *rows])
    dataset = imported(file.getvalue())
    names = [each.name for each in dataset.schema.fields]
    kept = {name for name in ODD_NAMES if name.lower() not in {"id", "xmin", "ctid", "_upload_id", "_row_number", ""}}

    assert rows == cells_of(database, dataset)
    assert {name for name in kept if len(name.encode()) <= 63} <= set(names)
    assert len(ODD_NAMES) == len({name.casefold() for name in names})


ANY_HEADER = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(ODD_NAMES), min_size=2, max_size=12
).filter(any)


@given(header=ANY_HEADER)
@hypothesis.example(header=["%(x)s", "x", "?"])
@hypothesis.example(header=["%(param_1)s", "a.b", "a b"])
@hypothesis.example(header=["a", "true", "false", "null"])
@hypothesis.example(header=["true", "rowid"])
@hypothesis.settings(max_examples=20, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_columns_of_any_header_hold_their_rows(
    importing: Callable[..., Upload], database: Database, header: list[str]
) -> None:
    """Of a file that makes a dataset, and of one whose rows replace others."""
    file, rows = io.StringIO(), [[f"{number} {column}" for column in range(len(header))] for number in range(2)]
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    options = ImportOptions(encoding="utf-8", delimiter=",", header_row=1)
    upload = importing(file.getvalue(), options=options)
    with database.transaction() as connection:
        assert upload.dataset is not None
        inserted = datasets.get(connection, upload.dataset)
        schema = {"fields": [{"name": name} for name in inserted.schema.names], "primaryKey": inserted.schema.names[:2]}
        name = f"replaced_{upload.id}"
        replaced = datasets.declare(connection, name, TableSchema.parse(schema), Mode.UPSERT)
    again = [importing(file.getvalue(), options=options, dataset=name) for _ in range(2)]

    assert [upload.rows_success, *(each.rows_success for each in again)] == [2, 2, 2]
    assert rows == cells_of(database, inserted)
    assert rows == cells_of(database, replaced)


#: Columns by their type, with cells that are returned unchanged.
CELLS = [
    ("string", ["Zoë", "", " ", "007", "+5", "1e3"]),
    ("string", ["TRUE", "true", "no"]),
    ("string", ["12345678901234567890", "1"]),
    ("string", ["2023-02-30", "2023-01-01"]),
    ("integer", ["0", "", "-7", "999999999999999999", "-999999999999999999"]),
    ("number", ["0.1", "", "-0.25", "123456789.123456", "0.3"]),
    ("number", ["0.00001", "0.00000000000001", "-0.000012345"]),
    ("boolean", ["true", "false", ""]),
    ("boolean", ["TRUE", "", "FALSE"]),
    ("boolean", ["False", "True"]),
    ("date", ["2024-02-29", "", "0001-01-01", "0999-12-31", "9999-12-31"]),
    ("datetime", ["2024-02-29T23:59:59Z", "", "0001-01-01T00:00:00Z", "0999-12-31T00:00:00Z"]),
    ("datetime", ["2024-02-29T23:59:59", "", "0001-01-01T00:00:00", "9999-12-31T23:59:59"]),
    ("datetime", ["2024-02-29 23:59:59", "", "0001-01-01 00:00:00", "0099-12-31 23:59:59"]),
]


def test_cells_are_returned_as_they_were_uploaded(imported: Importing, database: Database) -> None:
    rows = list(zip_longest(*(cells for _, cells in CELLS), fillvalue=""))
    header = ",".join(f"c{n}" for n in range(len(CELLS)))
    dataset = imported("\n".join([header, *map(",".join, rows)]))

    assert [type_ for type_, _ in CELLS] == [each.type for each in dataset.schema.fields]
    assert rows == [tuple(cells) for cells in cells_of(database, dataset)]


def test_a_number_of_mixed_decimals_keeps_its_value_but_not_its_zeros(imported: Importing, database: Database) -> None:
    dataset = imported("n\n1.50\n100000000000000\n2\n0.5\n")

    assert cells_of(database, dataset) == [["1.5"], ["100000000000000"], ["2"], ["0.5"]]


def test_uniform_decimals_currencies_words_and_days_come_back_as_they_were(
    imported: Importing, database: Database
) -> None:
    rows = [["1.10", "$1,234.50", "5/19/2006 0:00", "ja", "7"], ["2.00", "$2.00", "1/2/2006 10:05", "nein", "n/a"]]
    dataset = imported("a;b;c;d;e\n" + "".join(";".join(row) + "\n" for row in rows))

    assert [field.type for field in dataset.schema.fields] == ["number", "number", "datetime", "boolean", "integer"]
    assert cells_of(database, dataset) == rows


def test_rows_are_paged_forwards_and_backwards(imported: Importing, database: Database) -> None:
    dataset = imported("n\n" + "".join(f"{n}\n" for n in range(1, 8)))
    with database.reading() as connection:
        first = list(datasets.each_after(connection, dataset, None, limit=3))
        second = list(datasets.each_after(connection, dataset, first[-1].position, limit=3))
        third = list(datasets.each_after(connection, dataset, second[-1].position, limit=3))
        beyond = list(datasets.each_after(connection, dataset, third[-1].position, limit=3))
        back = rows_before(connection, dataset, third[0].position, limit=3)
        near = rows_before(connection, dataset, second[0].position, limit=9)
        before = rows_before(connection, dataset, first[0].position, limit=3)

    assert [[row.cells for row in page] for page in (first, second, third)] == [
        [["1"], ["2"], ["3"]],
        [["4"], ["5"], ["6"]],
        [["7"]],
    ]
    assert (second, first, [], []) == (back, near, before, beyond)
    assert [Position((dataset.upload_id, number)) for number in (1, 2, 3)] == [row.position for row in first]
    assert [(dataset.upload_id, number) for number in (1, 2, 3)] == [(row.upload_id, row.row_number) for row in first]


@pytest.mark.parametrize(
    ("field", "lower", "higher"),
    [
        ({"type": "string"}, "Zoë", "a"),
        ({"type": "integer"}, "9", "10"),
        ({"type": "number"}, "-0.25", "1.5"),
        ({"type": "boolean"}, "false", "true"),
        ({"type": "date"}, "2025-12-31", "2026-02-01"),
        ({"type": "date", "format": "%d/%m/%Y"}, "31/12/2025", "01/02/2026"),
        ({"type": "time"}, "09:30:00", "10:00:00"),
        ({"type": "datetime"}, "2026-01-31T09:00:00Z", "2026-01-31T10:00:00Z"),
        ({"type": "datetime", "format": "%Y-%m-%d %H:%M"}, "2026-01-31 09:00", "2026-01-31 10:00"),
    ],
)
def test_rows_of_any_key_are_paged_in_its_order(
    importing: Callable[..., Upload], database: Database, field: dict[str, Any], lower: str, higher: str
) -> None:
    with database.transaction() as connection:
        dataset = declared(connection, fields=[{"name": "key", **field}, {"name": "n"}], primaryKey=["key", "n"])
    importing(f"key,n\n{higher},1\n{lower},2\n{higher},3\n{lower},4\n", dataset="sales")
    forth: list[str] = []
    position: Position | None = None
    with database.reading() as connection:
        while page := list(datasets.each_after(connection, dataset, position, limit=1)):
            forth += page[0].cells[:1]
            position = Position.parse(str(page[0].position))
        assert position is not None
        back = rows_before(connection, dataset, position, limit=9)

    assert [lower, lower, higher, higher] == forth
    assert forth[:3] == [row.cells[0] for row in back]


def test_replaced_rows_are_not_counted_twice(importing: Callable[..., Upload], database: Database) -> None:
    with database.transaction() as connection:
        dataset = declared(connection, mode=Mode.UPSERT, primaryKey="id")
    for name in ("Zoë", "Ann"):
        importing(f"id,name\n1,{name}\n2,{name}\n", dataset="sales")
    with database.reading() as connection:
        assert datasets.row_count(connection, dataset) == 2


def test_a_missing_value_is_formatted_as_its_dataset_parses_it(
    importing: Callable[..., Upload], database: Database
) -> None:
    fields = [
        {"name": "id", "type": "integer", "missingValues": ["none", "-"]},
        {"name": "name"},
        {"name": "city", "missingValues": ["?", ""]},
        {"name": "note", "missingValues": []},
    ]
    with database.transaction() as connection:
        dataset = declared(connection, fields=fields, missingValues=["NA"])
    importing("id,name,city\nnone,NA,?\n1,,\n", dataset="sales")

    assert cells_of(database, dataset) == [["-", "NA", "", ""], ["1", "", "", ""]]


def test_reading_rows_leaves_nothing_in_memory(settings: Settings) -> None:
    """SQLAlchemy would keep 500 compiled statements, and sqlite3 128 prepared ones: of wide tables, gigabytes."""
    database = Database(settings.database)  # as the web process opens it
    with database.transaction() as connection:
        for number in range(20):
            dataset = declared(connection, f"sales_{number}")
            insert_rows(connection, dataset, {"id": 1, "name": "a"}, {"id": 2, "name": "b"})

    def read(name: str) -> None:
        with database.reading() as connection:
            dataset = datasets.get(connection, name)
            (first,) = list(datasets.each_after(connection, dataset, None, limit=1))
            (last,) = list(datasets.each_after(connection, dataset, first.position, limit=50))
            assert rows_before(connection, dataset, last.position, limit=2) == [first]
            assert datasets.row_count(connection, dataset) == 0

    def kept() -> tuple[int, int]:
        """Compiled and prepared statements."""
        compiled = database.engine._compiled_cache
        assert compiled is not None
        prepared = [each for each in gc.get_objects() if type(each).__module__ == "sqlite3"]
        return len(compiled), sum(type(each).__name__ == "Statement" for each in prepared)

    read("sales_0")
    before = kept()
    for number in range(100):
        read(f"sales_{number % 20}")

    assert kept() == before
    database.close()
