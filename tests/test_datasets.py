"""Datasets: their names, their schemas, and the tables that rows land in, on both databases."""

import csv
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, uploads
from jobs.database import Database
from jobs.datasets import LONGEST_NAME, Dataset, Field, Position, Schema
from jobs.errors import DatasetNotFoundError, RefusedError
from jobs.settings import Settings
from jobs.uploads import Claim
from tests.conftest import store
from tests.waiting import until


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
    assert name == datasets.name_after(filename)
    assert name == datasets.checked_name(name)


@pytest.mark.parametrize(
    ("wish", "name"),
    [("", ""), ("  ", ""), ("auto", ""), (" auto ", ""), (" sales_2 ", "sales_2"), ("x" * 48, "x" * 48)],
)
def test_a_wish_for_a_name_is_taken_without_spaces_around_it(wish: str, name: str) -> None:
    assert name == datasets.checked_name(wish)


@pytest.mark.parametrize(
    "wish", ["Sales", "2026", "_sales", "sales june", "sales-june", "été", "x" * 49, 'a"b', "a\nb", "sales\x00", "x²"]
)
def test_a_name_that_no_dataset_can_have_is_refused_with_what_it_can(wish: str) -> None:
    with pytest.raises(RefusedError) as refused:
        datasets.checked_name(wish)

    assert str(refused.value) == (
        f"“{wish}” cannot be a dataset's name. Use up to 48 small letters, digits and _, beginning with a letter;"
        " or leave it empty, and it is named after the file."
    )


def test_a_refusal_does_not_repeat_a_whole_book() -> None:
    with pytest.raises(RefusedError) as refused:
        datasets.checked_name("x" * 100_000)

    assert len(str(refused.value)) < 300


SCHEMA = Schema(
    [
        Field("id", "integer", {}, "each of 2 values is a whole number"),
        Field("paid", "boolean", {"trueValues": ["yes"], "falseValues": ["no"]}, "each of 2 values is yes or no"),
        Field("seen", "datetime", {"format": "%Y-%m-%dT%H:%M:%SZ"}),
    ]
)


def test_a_schema_is_a_table_schema() -> None:
    assert SCHEMA.as_json() == {
        "fields": [
            {"name": "id", "type": "integer", "description": "each of 2 values is a whole number"},
            {
                "name": "paid",
                "type": "boolean",
                "trueValues": ["yes"],
                "falseValues": ["no"],
                "description": "each of 2 values is yes or no",
            },
            {"name": "seen", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%SZ", "description": ""},
        ],
        "missingValues": [""],
    }


def test_a_schema_survives_its_json() -> None:
    assert Schema.from_json(SCHEMA.as_json()) == SCHEMA


def made(settings: Settings, database: Database, *wanted: str) -> list[Dataset]:
    """Datasets that want these names, of one upload, each made in a transaction of its own."""
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
def test_two_that_want_one_name_at_the_same_time_get_two(settings: Settings, database: Database) -> None:
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor() as pool:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, "x"))
            first = datasets.create(connection, "sales", SCHEMA, upload.id)
            second = pool.submit(made, settings, database, "sales")
            with database.reading() as other:
                until(lambda: second.done() or other.execute(waits).scalar_one(), "the second to wait for the first")

        assert [first.name, *(each.name for each in second.result(30))] == ["sales", "sales_2"]


def test_an_underscore_in_a_name_stands_for_itself_only(settings: Settings, database: Database) -> None:
    assert [each.name for each in made(settings, database, "axb", "a_b")] == ["axb", "a_b"]


def test_the_longest_name_has_room_for_a_number(settings: Settings, database: Database) -> None:
    first, second = made(settings, database, "x" * LONGEST_NAME, "x" * LONGEST_NAME)

    assert (first.name, second.name) == ("x" * 48, "x" * 48 + "_2")
    with database.reading() as connection:
        tables = sa.inspect(connection).get_table_names()
    assert {f"data_{'x' * 48}", f"data_{'x' * 48}_2"} <= set(tables)


def test_a_dataset_is_found_by_its_name_as_it_was_made(settings: Settings, database: Database) -> None:
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


def test_all_datasets_are_listed_by_name_with_their_rows(settings: Settings, database: Database) -> None:
    made(settings, database, "weather", "sales")
    with database.transaction() as connection:
        upload = uploads.claim(connection, uploads.create(connection, store(settings, "x")).id, worker="w", lease=60)
        assert upload is not None
        claim = Claim(upload.id, upload.attempt)
        uploads.profiled(connection, claim, lease=60, dataset="sales", rows_total=9, next_byte=0, notes=[])
        uploads.advance(connection, claim, lease=60, good=5, bad=[], next_byte=0)
        listed = [(each.name, rows) for each, rows in datasets.everything(connection)]
        counts = [datasets.row_count(connection, name) for name in ("sales", "weather")]

    assert listed == [("sales", 5), ("weather", 0)]
    assert counts == [5, 0]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("3-17", Position(3, 17)),
        ("0-0", Position(0, 0)),
        ("", None),
        ("3", None),
        ("3-", None),
        ("-17", None),
        ("3-17-1", None),
        ("3--17", None),
        ("a-b", None),
        ("3-" + "9" * 19, None),
        (" 3-17", None),
        ("3-17\n", None),
    ],
)
def test_a_position_is_read_from_text_or_not_at_all(text: str, position: Position | None) -> None:
    assert position == Position.parse(text)


def test_a_position_is_written_as_it_is_read() -> None:
    assert Position(3, 17) == Position.parse(str(Position(3, 17)))


Importing = Callable[[str], Dataset]


@pytest.fixture
def imported(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Importing:
    """Runs the whole job on a file; gives the dataset that it became."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(content: str) -> Dataset:
        with database.transaction() as connection:
            upload = uploads.create(connection, store(settings, content))
        bulk_upload.run(upload.id)
        with database.reading() as connection:
            name = uploads.get(connection, upload.id).dataset
            assert name is not None
            return datasets.get(connection, name)

    return run


def cells_of(database: Database, dataset: Dataset) -> list[list[str]]:
    with database.reading() as connection:
        return [cells for _, cells in datasets.rows_after(connection, dataset, None, limit=999)]


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


#: Columns by their type, with cells that come back as they are.
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


def test_cells_are_given_back_as_they_came(imported: Importing, database: Database) -> None:
    rows = list(zip_longest(*(cells for _, cells in CELLS), fillvalue=""))
    header = ",".join(f"c{n}" for n in range(len(CELLS)))
    dataset = imported("\n".join([header, *map(",".join, rows)]))

    assert [type_ for type_, _ in CELLS] == [each.type for each in dataset.schema.fields]
    assert rows == [tuple(cells) for cells in cells_of(database, dataset)]


def test_a_number_keeps_its_value_and_not_the_way_it_was_written(imported: Importing, database: Database) -> None:
    dataset = imported("n\n1.50\n100000000000000\n2\n0.5\n")

    assert cells_of(database, dataset) == [["1.5"], ["100000000000000.0"], ["2.0"], ["0.5"]]


def test_rows_are_paged_forth_and_back(imported: Importing, database: Database) -> None:
    dataset = imported("n\n" + "".join(f"{n}\n" for n in range(1, 8)))
    with database.reading() as connection:
        first = datasets.rows_after(connection, dataset, None, limit=3)
        second = datasets.rows_after(connection, dataset, first[-1][0], limit=3)
        third = datasets.rows_after(connection, dataset, second[-1][0], limit=3)
        beyond = datasets.rows_after(connection, dataset, third[-1][0], limit=3)
        back = datasets.rows_before(connection, dataset, third[0][0], limit=3)
        near = datasets.rows_before(connection, dataset, second[0][0], limit=9)
        before = datasets.rows_before(connection, dataset, first[0][0], limit=3)

    assert [[cell for _, (cell,) in page] for page in (first, second, third)] == [
        ["1", "2", "3"],
        ["4", "5", "6"],
        ["7"],
    ]
    assert (second, first, [], []) == (back, near, before, beyond)
    assert [Position(dataset.upload_id, number) for number in (1, 2, 3)] == [position for position, _ in first]
