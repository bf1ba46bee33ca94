"""Blocks of an export: which rows they have, and that two are made at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Dataset, Mode
from jobs.export import blocks
from jobs.export.blocks import Blocks, ExportStoppedError
from jobs.rows.selection import ALL, Condition, Operator, Selection
from jobs.rows.sql_table import run
from jobs.schema import TableSchema
from tests.support.databases import insert_rows

#: A block made in so many seconds, if another one has to begin meanwhile.
PATIENCE = 30

Row = tuple[str, int, str]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "FIRST_ROWS", 3)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 120)


class Lines:
    """A row a line: its key, and a tag. before: what happens in a thread before it asks for rows."""

    def __init__(self, dataset: Dataset, before: Callable[[sa.Connection], None] = lambda _: None) -> None:
        self._dataset = dataset
        self._before = before

    def head(self) -> bytes:
        return b""

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        self._before(connection)
        table = self._dataset.table(connection.dialect)
        statement, values = table.page("code, n, tag", selection, place, limit=rows)
        found = [" ".join(map(str, row)) + "\n" for row in run(connection, statement, *values)]
        text = "".join(found).encode()
        if largest is not None and len(text) > largest:
            raise blocks.BlockTooLargeError
        return text, len(found)


@contextmanager
def stored(database: Database, rows: list[Row], key: list[str]) -> Iterator[Dataset]:
    fields = [{"name": "code"}, {"name": "n", "type": "integer"}, {"name": "tag"}]
    with database.transaction() as connection:
        schema = TableSchema.parse({"fields": fields, "primaryKey": key})
        dataset = datasets.declare(connection, "blocks", schema, Mode.UPSERT)
        insert_rows(connection, dataset, *(dict(zip(["code", "n", "tag"], row, strict=True)) for row in rows))
    try:
        yield dataset
    finally:
        with database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM datasets")
            connection.exec_driver_sql("DROP TABLE data_blocks")


def made(database: Database, dataset: Dataset, selection: Selection, lines: Lines) -> list[str]:
    export = Blocks(database, dataset.table(database.engine.dialect), selection, lines)
    return b"".join(export).decode().splitlines()


def keys() -> st.SearchStrategy[list[int]]:
    """Runs of numbers that count up in steps of several sizes, with gaps between, somewhere among all numbers."""
    runs = st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([1, 1, 2, 7, 1_000, 10**12]), st.integers(1, 60)),
        min_size=1,
        max_size=6,
    )

    def numbers(runs: list[tuple[int, int, int]], end: int | None) -> list[int]:
        found, last = [], -500
        for gap, step, length in runs:
            found += [last + gap + step * number for number in range(1, length + 1)]
            last = found[-1]
        shift = 0 if end is None else end - last
        return [number + shift for number in found]

    return st.builds(numbers, runs, st.sampled_from([None, 2**62 + 50, 2**63 - 1]))


@hypothesis.settings(max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(
    numbers=keys(),
    tags=st.lists(
        st.sampled_from(["x", "x", "y", "a longer tag that fills a block sooner than others" * 2]), min_size=1
    ),
    codes=st.sampled_from([["a"], ["a", "b"]]),
)
def test_no_row_is_left_out_and_none_comes_twice(
    migrated: Database, numbers: list[int], tags: list[str], codes: list[str]
) -> None:
    rows = [(code, n, tags[place % len(tags)]) for code in codes for place, n in enumerate(numbers)]
    expected = [f"{code} {n} {tag}" for code, n, tag in rows]
    with stored(migrated, rows, ["code", "n"]) as dataset:
        everything = made(migrated, dataset, ALL, Lines(dataset))
        tagged = Selection((Condition("tag", Operator.EQUAL, "x", is_text=True),))
        chosen = made(migrated, dataset, tagged, Lines(dataset))

    assert everything == expected
    assert chosen == [line for line in expected if line.endswith(" x")]


def test_rows_that_come_meanwhile_push_no_other_row_out(migrated: Database) -> None:
    """Before each of the first blocks is made, some come between its rows, which have been counted then."""
    rows: list[Row] = [(f"{number:04}", 0, "old") for number in range(400)]
    numbers = count()

    def insert_between(_: sa.Connection) -> None:
        number = next(numbers)
        if number >= 20:
            return
        new = [{"code": f"{place:04}+", "n": 1, "tag": "new"} for place in range(number, 400, 20)]
        with migrated.transaction() as connection:
            insert_rows(connection, dataset, *new, upload_id=2 + number)

    with stored(migrated, rows, ["code", "n"]) as dataset:
        lines = made(migrated, dataset, ALL, Lines(dataset, insert_between))

    assert [line for line in lines if line.endswith(" old")] == [f"{code} {n} {tag}" for code, n, tag in rows]
    assert lines == sorted(set(lines))


@pytest.mark.parametrize("code", ["a", "{n:03}"])
def test_two_blocks_are_made_at_once(migrated: Database, code: str) -> None:
    """Once they have their size. A key that is a text is looked up."""
    both = threading.Barrier(2)
    met: list[int] = []

    def wait_for_another(_: sa.Connection) -> None:
        if threading.current_thread() is not here and not met:
            met.append(both.wait(PATIENCE))

    here = threading.current_thread()
    rows: list[Row] = [(code.format(n=n), n if code == "a" else 0, "x") for n in range(300)]
    with stored(migrated, rows, ["code", "n"]) as dataset:
        lines = made(migrated, dataset, ALL, Lines(dataset, wait_for_another))

    assert lines == [f"{code} {n} {tag}" for code, n, tag in rows]
    assert met


def test_rows_that_are_wide_come_one_block_at_a_time(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WIDE_ROW", 20)
    threads = set[threading.Thread]()
    rows: list[Row] = [("a", n, "x" * 20) for n in range(100)]
    with stored(migrated, rows, ["code", "n"]) as dataset:
        lines = made(migrated, dataset, ALL, Lines(dataset, lambda _: threads.add(threading.current_thread())))

    assert len(lines) == 100
    assert threads == {threading.current_thread()}


def test_rows_that_are_larger_than_a_block_come_one_by_one_where_keys_get_closer(migrated: Database) -> None:
    rows: list[Row] = [("a", n, "x" * 300) for n in [*range(0, 1_000, 50), *range(1_000, 1_100)]]
    with stored(migrated, rows, ["code", "n"]) as dataset:
        export = Blocks(migrated, dataset.table(migrated.engine.dialect), ALL, Lines(dataset))
        lines = [block.decode() for block in export if block]

    assert lines == [f"{code} {n} {tag}\n" for code, n, tag in rows]


def test_stop_ends_both_statements_that_run(migrated: Database) -> None:
    running = threading.Barrier(3)
    errors: list[BaseException] = []
    forever = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0) SELECT max(i) FROM n"
        if migrated.is_sqlite
        else "SELECT pg_sleep(3600)"
    )

    def never_end(connection: sa.Connection) -> None:
        if threading.current_thread() is reader or threading.current_thread() is here:
            return
        running.wait(PATIENCE)
        try:
            connection.exec_driver_sql(forever)
        except Exception as error:
            errors.append(error)
            raise

    def read() -> None:
        with pytest.raises(ExportStoppedError):
            list(export)
        ended.set()

    here, ended = threading.current_thread(), threading.Event()
    reader = threading.Thread(target=read)
    with stored(migrated, [("a", n, "x") for n in range(300)], ["code", "n"]) as dataset:
        export = Blocks(migrated, dataset.table(migrated.engine.dialect), ALL, Lines(dataset, never_end))
        reader.start()
        running.wait(PATIENCE)
        export.stop()
        assert ended.wait(PATIENCE)
        reader.join()

    assert len(errors) == 2
