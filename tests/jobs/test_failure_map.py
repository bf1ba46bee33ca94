"""Where in its file rows fail."""

from collections import Counter

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from jobs import failure_map, uploads
from jobs.failure_map import MAX_COUNTS, FailureMap, Stretch
from jobs.files import StoredFile


def test_each_row_of_a_small_file_has_a_stretch_of_its_own() -> None:
    found = FailureMap().adding([2, 3]).stretches(4, 100)

    assert found == [Stretch(1, 1, 0), Stretch(2, 2, 1), Stretch(3, 3, 1), Stretch(4, 4, 0)]


def test_a_file_without_rows_has_no_stretches() -> None:
    assert FailureMap().stretches(0, 100) == []


@given(st.lists(st.integers(1, MAX_COUNTS), unique=True), st.integers(1, 100))
def test_a_map_is_exact_as_long_as_it_counts_single_rows(numbers: list[int], count: int) -> None:
    found = FailureMap().adding(numbers).stretches(MAX_COUNTS, count)

    assert len(found) == count
    for stretch in found:
        assert stretch.failed == sum(stretch.first <= number <= stretch.last for number in numbers)


@given(st.lists(st.lists(st.integers(1, 10**7), max_size=20), max_size=5), st.integers(1, 100))
def test_no_failed_row_is_lost_however_long_the_file_is(chunks: list[list[int]], count: int) -> None:
    found = FailureMap()
    for numbers in chunks:
        found = found.adding(numbers)
    stretches = found.stretches(10**7, count)

    assert len(found.counts) <= MAX_COUNTS
    assert sum(stretch.failed for stretch in stretches) == sum(map(len, chunks))
    assert all(stretch.failed >= 0 for stretch in stretches)
    assert [each.first for each in stretches[1:]] == [each.last + 1 for each in stretches[:-1]]


def test_failed_rows_of_a_long_file_are_about_where_they_failed() -> None:
    numbers = [*range(100_001, 110_001), *range(900_001, 900_011)]
    found = FailureMap().adding(numbers).stretches(1_000_000, 100)
    failed = Counter({place: stretch.failed for place, stretch in enumerate(found) if stretch.failed})

    assert abs(failed[10] - 10_000) < 10_000 * 0.2
    assert sum(failed[place] for place in (89, 90, 91)) == 10


def test_a_file_that_is_longer_than_expected_is_shown_as_long_as_it_is() -> None:
    found = FailureMap().adding([10]).stretches(4, 100)

    assert (found[-1], len(found)) == (Stretch(10, 10, 1), 10)


def test_a_map_is_kept_and_added_to(connection: sa.Connection) -> None:
    upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))
    other = uploads.create(connection, StoredFile("july.csv", "00ff", 8, "beef"))
    for numbers in ([1, 3], [4, 2_000]):
        failure_map.write(connection, upload.id, failure_map.read(connection, upload.id).adding(numbers))
    kept = failure_map.read(connection, upload.id)

    assert kept == FailureMap().adding([1, 3]).adding([4, 2_000])
    assert failure_map.read(connection, other.id) == FailureMap()
