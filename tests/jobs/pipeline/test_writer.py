"""Writing rows to their table on both databases, and rows whose keys exist."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.errors import UnreadableFileError
from jobs.failed_rows import Reason
from jobs.pipeline import writer
from jobs.pipeline.conflicts import Collisions
from jobs.pipeline.writer import Writer
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from tests.support.waiting import until

#: A column of each type that the validator returns.
FIELDS: list[dict[str, Any]] = [
    {"name": "text"},
    {"name": "whole", "type": "integer"},
    {"name": "decimal", "type": "number"},
    {"name": "flag", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
    {"name": "day", "type": "date"},
    {"name": "moment", "type": "datetime"},
    {"name": "clock", "type": "time"},
]
KINDS = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


def declared(
    database: Database, *fields: dict[str, Any], mode: Mode = Mode.INSERT, unique: str = "", **more: Any
) -> Dataset:
    """An empty dataset with these fields. unique: the names of the unique ones."""
    with database.transaction() as connection:
        declared = [{**each, "constraints": {"unique": each["name"] in unique.split()}} for each in fields]
        return datasets.declare(connection, "june", TableSchema.parse({"fields": declared, **more}), mode)


def rows(dataset: Dataset, *values: tuple[Any, ...], first: int = 1) -> pd.DataFrame:
    """A chunk as the validator returns it."""
    fields = dataset.schema.fields
    columns = list(zip(*values, strict=True)) or [()] * len(fields)
    data = {
        field.name: pd.Series(list(column), dtype=pd.ArrowDtype(KINDS.get(field.type, pa.string())))
        for field, column in zip(fields, columns, strict=True)
    }
    frame = pd.DataFrame(data)
    frame.index = pd.RangeIndex(first, first + len(frame))
    return frame


def put(connection: sa.Connection, found: Writer, chunk: pd.DataFrame) -> Collisions:
    """Write a chunk and count the rows that it added, as an import does."""
    written = found.write(connection, found.pack(chunk))
    datasets.count_rows(connection, "june", written.added)
    return written.collisions


@pytest.fixture(autouse=True)
def _exact_count(database: Database) -> Iterator[None]:
    """In whatever way rows are inserted, replaced or refused, their number is the one that is kept."""
    yield
    with database.reading() as connection:
        kept = connection.execute(sa.text("SELECT rows FROM datasets WHERE name = 'june'")).scalar()
        if kept is not None:
            assert run(connection, "SELECT count(*) FROM data_june").scalar_one() == kept


def write(
    database: Database, dataset: Dataset, *values: tuple[Any, ...], upload_id: int = 7, first: int = 1
) -> Collisions:
    """Write one chunk of an upload in its own transaction."""
    with database.transaction() as connection:
        return put(
            connection, writer.writer_for(connection.dialect, dataset, upload_id), rows(dataset, *values, first=first)
        )


def stored(database: Database, dataset: Dataset) -> list[tuple[Any, ...]]:
    """The rows of the dataset, read as for its pages."""
    with database.reading() as connection:
        found = list(datasets.each_after(connection, dataset, None, limit=100))
        return [(row.upload_id, row.row_number, *row.cells) for row in found]


def sentences(collisions: Collisions) -> dict[int, list[str]]:
    return {number: [reason.sentence for reason in reasons] for number, reasons in sorted(collisions.items())}


def test_values_of_every_type_survive_a_round_trip(database: Database) -> None:
    dataset = declared(database, *FIELDS)
    values = ("Zoë", 1, 0.1, True, "2024-02-29", "2024-02-29T10:00:00.250000Z", "10:00:00")
    write(database, dataset, values, first=41)

    assert stored(database, dataset) == [
        (7, 41, "Zoë", "1", "0.1", "yes", "2024-02-29", "2024-02-29T10:00:00.250000Z", "10:00:00")
    ]


def test_missing_values_are_null_in_every_type_of_column(database: Database) -> None:
    dataset = declared(database, *FIELDS)
    write(database, dataset, (None,) * 7, ("x", None, None, False, None, None, None), ("", *[None] * 6))
    nulls = ", ".join(f"{each['name']} IS NULL" for each in FIELDS)
    with database.reading() as connection:
        missing = connection.execute(sa.text(f"SELECT {nulls} FROM data_june")).all()

    assert [tuple(map(bool, row)) for row in missing] == [
        (True,) * 7,
        (False, True, True, False, True, True, True),
        (False, *[True] * 6),
    ]


#: Text with a special meaning in SQL, CSV or COPY.
TEXTS = [
    "a,b", '"', '""', "'", "\\", "\\.", "\\N", "\n\\.\n", "two\nlines", "two\r\nlines", "\r", "\t", " ", "NULL",
    "\u2028", "%s", ":p", "😀",
]  # fmt: skip


def test_special_characters_are_stored_as_text(database: Database) -> None:
    dataset = declared(database, *FIELDS[:1])
    write(database, dataset, *((text,) for text in TEXTS))

    assert [(7, number, text) for number, text in enumerate(TEXTS, start=1)] == stored(database, dataset)


def test_special_characters_are_compared_as_text_in_keys(database: Database) -> None:
    dataset = declared(database, *FIELDS[:1], primaryKey="text")
    first = write(database, dataset, *((text,) for text in TEXTS))
    second = write(database, dataset, *((text,) for text in TEXTS), upload_id=8)

    assert first == {}
    assert list(range(1, len(TEXTS) + 1)) == sorted(second)
    assert sorted(TEXTS) == sorted(text for _, _, text in stored(database, dataset))


@pytest.mark.parametrize("key", [[], ["whole"]])
@pytest.mark.parametrize("mode", Mode)
def test_a_chunk_without_rows_writes_nothing(database: Database, key: list[str], mode: Mode) -> None:
    if not key and mode is Mode.UPSERT:
        return
    dataset = declared(database, *FIELDS, primaryKey=key, mode=mode)

    assert write(database, dataset) == {}
    assert stored(database, dataset) == []


def test_rows_are_rolled_back_with_their_transaction(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole")

    def interrupted() -> None:
        with database.transaction() as connection:
            chunk = rows(dataset, ("x", 1))
            put(connection, writer.writer_for(connection.dialect, dataset, 7), chunk)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()

    assert stored(database, dataset) == []


def test_a_row_cannot_be_written_twice(database: Database) -> None:
    dataset = declared(database, *FIELDS[:1])
    write(database, dataset, ("x",))

    with pytest.raises(Exception, match=r"(?i)unique"):
        write(database, dataset, ("x",))

    assert len(stored(database, dataset)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_too_many_columns_for_postgresql_are_refused_with_advice(database: Database) -> None:
    dataset = declared(database, *({"name": f"c{n}", "type": "integer"} for n in range(1200)))

    with pytest.raises(UnreadableFileError, match=r"too many columns for PostgreSQL: .* Split the file into several"):
        write(database, dataset, (1,) * 1200)

    assert stored(database, dataset) == []


# Existing keys


def test_rows_with_existing_keys_are_returned_and_others_written(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole")
    write(database, dataset, ("a", 1), ("b", 2), first=41)
    collisions = write(database, dataset, ("x", 2), ("y", 3), ("z", 1), upload_id=8)

    assert sentences(collisions) == {
        1: ["whole: is already in the dataset (upload #7, row 42)"],
        3: ["whole: is already in the dataset (upload #7, row 41)"],
    }
    assert stored(database, dataset) == [(7, 41, "a", "1"), (7, 42, "b", "2"), (8, 2, "y", "3")]


def test_keys_of_earlier_chunks_of_the_same_file_exist_too(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole")
    with database.transaction() as connection:
        found = writer.writer_for(connection.dialect, dataset, 7)
        put(connection, found, rows(dataset, ("a", 1)))
        second = put(connection, found, rows(dataset, ("b", 1), ("c", 2), first=2))
        third = put(connection, found, rows(dataset, ("d", 2), ("e", 3), first=4))

    assert second == {2: [Reason("whole", "is already in the dataset", detail="upload #7, row 1")]}
    assert third == {4: [Reason("whole", "is already in the dataset", detail="upload #7, row 3")]}
    assert [cells for _, _, *cells in stored(database, dataset)] == [["a", "1"], ["c", "2"], ["e", "3"]]


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("text", ("Zoë",)),
        ("whole", (2**63 - 1,)),
        ("decimal", (0.1,)),
        ("flag", (True,)),
        ("day", ("2024-02-29",)),
        ("moment", ("2024-02-29T10:00:00Z",)),
        ("clock", ("10:00:00",)),
    ],
)
def test_existing_keys_of_any_type_are_found(database: Database, key: str, taken: tuple[Any, ...]) -> None:
    (field,) = (each for each in FIELDS if each["name"] == key)
    dataset = declared(database, field, primaryKey=key)
    write(database, dataset, taken)
    collisions = write(database, dataset, taken, upload_id=8)

    assert sentences(collisions) == {1: [f"{key}: is already in the dataset (upload #7, row 1)"]}


def test_a_key_of_several_columns_is_compared_as_a_whole(database: Database) -> None:
    dataset = declared(database, *FIELDS[:3], primaryKey=["whole", "text"])
    write(database, dataset, ("a", 1, 0.5), ("b", 1, 0.5))
    collisions = write(database, dataset, ("a", 2, 0.5), ("b", 1, 0.7), ("b", 2, 0.5), upload_id=8)

    assert sentences(collisions) == {2: ["has the same whole, text as a row in the dataset (upload #7, row 2)"]}
    assert len(stored(database, dataset)) == 4


def test_each_existing_value_is_a_reason(database: Database) -> None:
    dataset = declared(database, *FIELDS[:3], primaryKey="whole", unique="text decimal")
    write(database, dataset, ("a", 1, 0.5), ("b", 2, None), (None, 3, None))
    collisions = write(database, dataset, ("b", 1, 0.5), ("c", 4, None), (None, 5, 0.5), (None, 6, None), upload_id=8)

    assert sentences(collisions) == {
        1: [
            "whole: is already in the dataset (upload #7, row 1)",
            "text: is already in the dataset (upload #7, row 2)",
            "decimal: is already in the dataset (upload #7, row 1)",
        ],
        3: ["decimal: is already in the dataset (upload #7, row 1)"],
    }
    assert [cells[1] for _, _, *cells in stored(database, dataset)] == ["1", "2", "3", "4", "6"]


def test_a_unique_value_needs_no_key(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], unique="text")
    write(database, dataset, ("a", 1), (None, 2))
    collisions = write(database, dataset, (None, 3), ("a", 4), ("b", 5), upload_id=8)

    assert sentences(collisions) == {2: ["text: is already in the dataset (upload #7, row 1)"]}
    assert [cells[1] for _, _, *cells in stored(database, dataset)] == ["1", "2", "3", "5"]


# Upserts


def test_an_upsert_replaces_the_row_with_its_upload_and_number(database: Database) -> None:
    dataset = declared(database, *FIELDS[:3], primaryKey="whole", mode=Mode.UPSERT)
    first = write(database, dataset, ("a", 1, 0.5), ("b", 2, 0.5))
    second = write(database, dataset, ("x", 2, None), ("y", 3, 0.7), upload_id=8)

    assert (first, second) == ({}, {})
    assert stored(database, dataset) == [(7, 1, "a", "1", "0.5"), (8, 1, "x", "2", ""), (8, 2, "y", "3", "0.7")]


def test_an_upsert_compares_the_whole_key(database: Database) -> None:
    dataset = declared(database, *FIELDS[:3], primaryKey=["text", "whole"], mode=Mode.UPSERT)
    write(database, dataset, ("a", 1, 0.5), ("a", 2, 0.5))
    write(database, dataset, ("a", 1, 0.7), ("b", 1, 0.7), upload_id=8)

    assert stored(database, dataset) == [
        (8, 1, "a", "1", "0.7"),
        (7, 2, "a", "2", "0.5"),
        (8, 2, "b", "1", "0.7"),
    ]


def test_an_upsert_of_a_key_alone_finds_a_stored_row_unchanged(database: Database) -> None:
    dataset = declared(database, FIELDS[1], primaryKey="whole", mode=Mode.UPSERT)
    write(database, dataset, (1,))
    write(database, dataset, (1,), (2,), upload_id=8)

    assert stored(database, dataset) == [(7, 1, "1"), (8, 2, "2")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "attached",
    [
        "CREATE TABLE attached (key text REFERENCES data_june ON DELETE CASCADE)",
        "CREATE TABLE attached (key text); CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN DELETE FROM attached WHERE key = OLD.key; RETURN OLD; END $$;"
        " CREATE TRIGGER forgets BEFORE DELETE ON data_june FOR EACH ROW EXECUTE FUNCTION forget()",
    ],
    ids=["foreign key", "trigger"],
)
def test_a_replaced_row_is_not_deleted_for_what_somebody_attached_to_it(database: Database, attached: str) -> None:
    dataset = declared(database, {"name": "key"}, {"name": "value"}, mode=Mode.UPSERT, primaryKey="key")
    write(database, dataset, ("a", "old"), ("b", "old"))
    with database.transaction() as connection:
        connection.exec_driver_sql(attached)
        connection.exec_driver_sql("INSERT INTO attached VALUES ('a')")
    with database.transaction() as connection:
        found = writer.writer_for(connection.dialect, dataset, 8)
        put(connection, found, rows(dataset, ("a", "new"), ("b", "new"), first=1))
        put(connection, found, rows(dataset, ("a", "newer"), ("c", "new"), first=3))

    assert stored(database, dataset) == [(8, 3, "a", "newer"), (8, 2, "b", "new"), (8, 4, "c", "new")]
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT key FROM attached").scalars().all() == ["a"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_rows_that_are_replaced_are_deleted_and_inserted(database: Database) -> None:
    dataset = declared(database, {"name": "key"}, {"name": "value"}, mode=Mode.UPSERT, primaryKey="key")
    write(database, dataset, ("a", "old"), ("b", "old"))
    before = _statistics(database)

    write(database, dataset, ("b", "new"), ("c", "new"), upload_id=8)

    assert stored(database, dataset) == [(7, 1, "a", "old"), (8, 1, "b", "new"), (8, 2, "c", "new")]
    until(lambda: _statistics(database) != before, "the statistics of the second upload")
    inserted, updated, deleted = (now - then for now, then in zip(_statistics(database), before, strict=True))
    assert (updated, deleted) == (0, 1)
    assert inserted >= 2  # the direct attempt, which failed, inserted rows too


def _statistics(database: Database) -> list[int]:
    """Rows inserted, updated and deleted in the table of the dataset."""
    with database.transaction() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with database.reading() as connection:
        query = "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'data_june'"
        return list(connection.exec_driver_sql(query).one())


def test_an_upsert_cannot_take_a_unique_value_of_another_row(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole", unique="text", mode=Mode.UPSERT)
    write(database, dataset, ("a", 1), ("b", 2))
    collisions = write(database, dataset, ("a", 1), ("a", 2), ("b", 3), ("c", 4), upload_id=8)

    assert sentences(collisions) == {
        2: ["text: is already in the dataset (upload #7, row 1)"],
        3: ["text: is already in the dataset (upload #7, row 2)"],
    }
    assert stored(database, dataset) == [(7, 1, "a", "1"), (7, 2, "b", "2"), (8, 4, "c", "4")]


def test_an_upsert_may_release_a_unique_value_for_a_later_chunk(database: Database) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole", unique="text", mode=Mode.UPSERT)
    write(database, dataset, ("a", 1))
    write(database, dataset, ("b", 1), upload_id=8)

    assert write(database, dataset, ("a", 2), upload_id=9) == {}
    assert stored(database, dataset) == [(8, 1, "b", "1"), (9, 1, "a", "2")]


# Concurrent imports


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def blocked(database: Database) -> Callable[[], object]:
    """Whether a session waits for the transaction of another."""
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def count() -> object:
        with database.transaction() as connection:
            return connection.execute(waits).scalar_one()

    return count


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ends", ["commits", "fails"])
def test_the_writer_waits_for_a_key_of_a_concurrent_import(
    database: Database, pool: ThreadPoolExecutor, ends: str
) -> None:
    dataset = declared(database, *FIELDS[:2], primaryKey="whole")

    def first() -> None:
        with database.transaction() as connection:
            put(connection, writer.writer_for(connection.dialect, dataset, 7), rows(dataset, ("a", 1), ("b", 2)))
            second.append(pool.submit(write, database, dataset, ("x", 2), ("y", 3), upload_id=8))
            until(blocked(database), "the second to wait for the first")
            if ends == "fails":
                raise InterruptedError

    second: list[Future[Collisions]] = []
    with suppress(InterruptedError):
        first()
    collisions = second[0].result(30)

    if ends == "commits":
        assert sentences(collisions) == {1: ["whole: is already in the dataset (upload #7, row 2)"]}
        assert stored(database, dataset) == [(7, 1, "a", "1"), (7, 2, "b", "2"), (8, 2, "y", "3")]
    else:
        assert collisions == {}
        assert stored(database, dataset) == [(8, 1, "x", "2"), (8, 2, "y", "3")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_more_rows_collide_than_a_statement_has_parameters(database: Database) -> None:
    count = 2**16
    dataset = declared(database, *FIELDS[:2], mode=Mode.UPSERT, primaryKey="whole", unique="text")
    first = write(database, dataset, *((f"{n}", n) for n in range(count)))
    second = write(database, dataset, *((f"{n}", count + n) for n in range(count)), ("new", -1), upload_id=8)

    assert (len(first), len(second)) == (0, count)
    assert stored(database, dataset)[0] == (8, count + 1, "new", "-1")


#: Before its second row, a session waits until two sessions have written their first row: each then waits for the
#: other's key.
DEADLOCK = (
    """
CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW._row_number = 2 THEN
        PERFORM pg_advisory_lock_shared(4711);
        WHILE (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711) < 2 LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
    END IF;
    RETURN NEW;
END $$
""",
    "CREATE TRIGGER deadlock BEFORE INSERT ON data_june FOR EACH ROW EXECUTE FUNCTION deadlock()",
)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("unique", ["key", "unique"])
def test_two_chunks_with_each_others_keys_are_both_imported(
    database: Database, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    more: dict[str, Any] = {"primaryKey": "text"} if unique == "key" else {"unique": "text"}
    dataset = declared(database, *FIELDS[:1], **more)
    with database.transaction() as connection:
        for statement in DEADLOCK:
            connection.exec_driver_sql(statement)
    codes: list[str] = []
    check = writer._check_is_collision

    def record(error: Exception, keys: Any) -> None:
        codes.append(getattr(getattr(error, "orig", error), "sqlstate", ""))
        check(error, keys)

    monkeypatch.setattr(writer, "_check_is_collision", record)
    chunks = {7: (("a",), ("b",)), 8: (("b",), ("a",))}
    running = {
        upload_id: pool.submit(write, database, dataset, *chunk, upload_id=upload_id)
        for upload_id, chunk in chunks.items()
    }
    collisions = {upload_id: each.result(60) for upload_id, each in running.items()}
    (winner,) = {upload_id for upload_id, _, _ in stored(database, dataset)}
    (loser,) = set(chunks) - {winner}

    assert writer.DEADLOCK_DETECTED in codes
    assert collisions[winner] == {}
    assert sentences(collisions[loser]) == {
        1: [f"text: is already in the dataset (upload #{winner}, row 2)"],
        2: [f"text: is already in the dataset (upload #{winner}, row 1)"],
    }
    assert len(stored(database, dataset)) == 2
