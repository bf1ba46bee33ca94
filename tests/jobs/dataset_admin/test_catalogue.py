"""The list of datasets: search, order, and what it says of each."""

from typing import Any

import pytest

from jobs import datasets
from jobs.dataset_admin import catalogue
from jobs.dataset_admin.catalogue import CatalogueQuery, Entry, Order
from jobs.datasets import Mode
from tests.support.serving import Records


def listed(records: Records, *words: Any, **more: Any) -> list[Entry]:
    with records.database.reading() as connection:
        return catalogue.entries(connection, CatalogueQuery(*words), **more)


def names(found: list[Entry]) -> list[str]:
    return [entry.name for entry in found]


@pytest.fixture
def three(records: Records) -> Records:
    """Datasets whose order differs by name, rows and last change."""
    records.dataset("weather", [(1, "sun", True)])
    records.dataset("sales", [(n, "x", True) for n in range(3)])
    records.declare("airlines", {"name": "code"}, title="Ärlines of Europe")
    records.dataset("planes", [(n, "x", True) for n in range(2)])
    return records


def test_datasets_are_listed_by_name_with_what_is_known_of_them(three: Records) -> None:
    found = listed(three)
    uploads = {each.dataset: each for each in three.all()}

    assert [(each.name, each.title, each.rows, each.columns) for each in found] == [
        ("airlines", "Ärlines of Europe", 0, 1), ("planes", None, 2, 3), ("sales", None, 3, 3), ("weather", None, 1, 3)
    ]  # fmt: skip
    assert [each.last_upload for each in found] == [None, uploads["planes"], uploads["sales"], uploads["weather"]]
    assert [each.upload_id for each in found[1:]] == [uploads[each.name].id for each in found[1:]]
    assert (found[0].mode, found[0].changed_at) == (Mode.INSERT, None)
    assert all(each.changed_at and each.changed_at >= each.created_at for each in found[1:])


@pytest.mark.parametrize(
    ("order", "descending", "expected"),
    [
        (Order.NAME, True, "weather sales planes airlines"),
        (Order.ROWS, False, "airlines weather planes sales"),
        (Order.ROWS, True, "sales planes weather airlines"),
        (Order.CHANGED, False, "weather sales airlines planes"),
        (Order.CHANGED, True, "planes airlines sales weather"),
    ],
)
def test_the_list_is_sorted(three: Records, order: Order, descending: bool, expected: str) -> None:
    assert names(listed(three, "", order, descending)) == expected.split()


@pytest.mark.parametrize(
    ("search", "expected"),
    [("ÄRL", "airlines"), ("europe", "airlines"), ("LES", "sales"), ("a", "airlines planes sales weather"), ("%", "")],
)
def test_datasets_are_found_by_a_part_of_their_name_or_title(three: Records, search: str, expected: str) -> None:
    assert names(listed(three, search)) == expected.split()


def test_the_list_has_pages(three: Records) -> None:
    assert names(listed(three, limit=2, skipped=1)) == ["planes", "sales"]
    assert names(listed(three, limit=2, skipped=4)) == []


def test_the_last_upload_is_the_newest_into_the_dataset_whatever_became_of_it(records: Records) -> None:
    records.dataset("sales", [(1, "x", True)])
    last = records.fail(records.processing("more.csv", dataset="sales"))
    records.processing("other.csv", dataset="weather")
    with records.database.reading() as connection:
        entry = catalogue.entry(connection, "sales")

    assert (entry.rows, entry.last_upload) == (1, last)


def test_rows_that_imports_add_are_counted(records: Records) -> None:
    records.declare("sales", {"name": "id"})
    for added in (5, 2, 0):
        with records.database.transaction() as connection:
            datasets.count_rows(connection, "sales", added)
    with records.database.reading() as connection:
        entry = catalogue.entry(connection, "sales")

    assert entry.rows == 7
    assert entry.changed_at is not None
