"""Which stored failed rows have a reason."""

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import failure_places, uploads
from jobs.failure_places import BLOCK_ROWS, BLOCKS_READ, _numbers, _runs
from jobs.files import StoredFile


def upload_of(connection: sa.Connection) -> int:
    return uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef")).id


def pages(connection: sa.Connection, upload_id: int, limit: int, **chosen: str | None) -> list[int]:
    """The rows of all pages of a filter."""
    found: list[int] = []
    column, rule = chosen.get("column"), chosen.get("rule")
    while more := failure_places.find(
        connection, upload_id, column=column, rule=rule, after=found[-1] if found else 0, limit=limit
    ):
        found += more
    return found


def pages_backwards(connection: sa.Connection, upload_id: int, limit: int, **chosen: str | None) -> list[int]:
    found: list[int] = []
    column, rule = chosen.get("column"), chosen.get("rule")
    before = 10**12
    while more := failure_places.find(connection, upload_id, column=column, rule=rule, before=before, limit=limit):
        found, before = more + found, more[0]
    return found


@given(st.sets(st.integers(1, 10**12)))
def test_runs_are_the_same_numbers(numbers: set[int]) -> None:
    assert list(_numbers(_runs(sorted(numbers)))) == sorted(numbers)


def test_consecutive_rows_are_one_run() -> None:
    assert _runs(range(5, 1_000)) == [5, 995]


def test_a_block_is_bounded(connection: sa.Connection) -> None:
    upload_id = upload_of(connection)
    odd = list(range(1, 6 * BLOCK_ROWS, 2))
    failure_places.write(connection, upload_id, {("a", "is wrong"): odd})

    assert pages(connection, upload_id, 50, column="a", rule="is wrong") == odd


def test_the_rows_of_several_reasons_come_in_order_each_once(connection: sa.Connection) -> None:
    upload_id = upload_of(connection)
    for start in range(0, 10_000, 100):
        places = {(column, "is wrong"): range(start + 1, start + 101, step) for column, step in PERIODS.items()}
        failure_places.write(connection, upload_id, places)
    expected = [n for n in range(1, 10_001) if any((n - 1) % 100 % step == 0 for step in PERIODS.values())]

    assert pages(connection, upload_id, 50, rule="is wrong") == expected
    assert pages_backwards(connection, upload_id, 50, rule="is wrong") == expected
    assert pages_backwards(connection, upload_id, 7, column="c") == pages(connection, upload_id, 7, column="c")
    assert pages(connection, upload_id, 7, column="c") == [n for n in expected if (n - 1) % 100 % PERIODS["c"] == 0]


#: Columns, and how often a row fails because of each.
PERIODS = {"a": 2, "b": 3, "c": 5}


def test_a_rare_reason_among_many_blocks_is_found(connection: sa.Connection) -> None:
    upload_id = upload_of(connection)
    for start in range(10 * BLOCKS_READ):
        failure_places.write(connection, upload_id, {("a", "is wrong"): [start * 10 + 1]})
    failure_places.write(connection, upload_id, {("", "has 1 cell"): [10**6]})

    assert pages(connection, upload_id, 50, column="") == [10**6]
    assert pages_backwards(connection, upload_id, 50, column="") == [10**6]
    assert len(pages_backwards(connection, upload_id, 50)) == 10 * BLOCKS_READ + 1
    assert len(pages(connection, upload_id, 50)) == 10 * BLOCKS_READ + 1
