"""Which part of the history a page shows, in its address and back."""

import pytest
from httpx import URL

from jobs.events import Event
from jobs.uploads import Status
from webapp.errors import InvalidQueryError
from webapp.history import HistoryView


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, HistoryView()),
        ({"q": "  june  "}, HistoryView(search="june")),
        ({"status": "failed"}, HistoryView(status=Status.FAILED)),
        ({"cursor": "17"}, HistoryView(cursor=17)),
        ({"q": "a&b=c", "status": "pending", "cursor": "3"}, HistoryView("a&b=c", Status.PENDING, 3)),
    ],
)
def test_a_view_is_read_from_the_address(query: dict[str, str], expected: HistoryView) -> None:
    assert HistoryView.from_query(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"status": "FAILED"},
        {"status": "gone"},
        {"status": "\x00"},
        {"status": ""},
        {"cursor": ""},
        {"cursor": "-1"},
        {"cursor": "1.5"},
        {"cursor": "seventeen"},
        {"cursor": "9" * 19},
        {"cursor": "9" * 5000},
        {"cursor": "²"},
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name(query: dict[str, str]) -> None:
    [name] = query
    with pytest.raises(InvalidQueryError, match=f"^`{name}` must be") as refused:
        HistoryView.from_query(query)

    assert refused.value.parameter == name


@pytest.mark.parametrize("query", [{"q": "   "}, {"q": "\x00"}, {"q": ""}, {"page": "3"}])
def test_a_search_for_nothing_and_other_parameters_change_nothing(query: dict[str, str]) -> None:
    assert HistoryView.from_query(query) == HistoryView()


def test_a_search_is_not_longer_than_names_are() -> None:
    assert HistoryView.from_query({"q": "x" * 10_000}).search == "x" * 200


def test_a_search_has_no_character_that_a_database_refuses() -> None:
    assert HistoryView.from_query({"q": "ju\x00ne"}).search == "june"


@pytest.mark.parametrize(
    "view",
    [
        HistoryView(),
        HistoryView("50 % & more?", Status.COMPLETED, 4),
        HistoryView(search="июнь"),
        HistoryView(cursor=1),
    ],
)
def test_an_address_leads_back_to_its_view(view: HistoryView) -> None:
    assert HistoryView.from_query(dict(URL(view.url("/uploads")).params)) == view


def test_an_address_names_only_what_is_not_as_usual() -> None:
    assert HistoryView().url("/uploads") == "/uploads"
    assert HistoryView().url("/uploads", limit="3") == "/uploads?limit=3"
    assert HistoryView(search="june").at(7).url("/uploads") == "/uploads?q=june&cursor=7"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (HistoryView(), True),
        (HistoryView(search="june"), False),
        (HistoryView(status=Status.FAILED), False),
        (HistoryView(cursor=3), False),
    ],
)
def test_new_uploads_belong_on_the_first_page_without_a_filter(view: HistoryView, expected: bool) -> None:
    assert view.is_newest is expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (HistoryView(search="june"), True),
        (HistoryView(status=Status.FAILED), True),
        (HistoryView(status=Status.FAILED, cursor=3), True),
        (HistoryView(), False),
        (HistoryView(cursor=3), False),
    ],
)
def test_what_becomes_of_an_upload_matters_to_a_page_with_a_filter(view: HistoryView, expected: bool) -> None:
    assert view.is_filtered is expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (HistoryView(), True),
        (HistoryView(search="JUNE"), True),
        (HistoryView(search="sale"), True),
        (HistoryView(search="june sales"), False),
        (HistoryView(search="%"), False),
        (HistoryView(status=Status.FAILED), True),
        (HistoryView(status=Status.PENDING), False),
        (HistoryView("june", Status.PENDING), False),
        (HistoryView(cursor=7), True),
        (HistoryView(cursor=6), False),
        (HistoryView("june", Status.FAILED, 8), True),
    ],
)
def test_an_upload_fits_a_page_that_would_show_it(view: HistoryView, expected: bool) -> None:
    for dataset in ("Sales", None):
        event = Event("bulk_upload_error", 7, 3, 1, "June.csv", dataset, "failed", 0, None, 0, 0, 0, "No.", "")

        assert view.includes(event) is (expected and (dataset is not None or view.search != "sale"))


def test_a_name_fits_in_any_case_of_any_script() -> None:
    event = Event("bulk_upload_error", 7, 3, 1, "Ärger.csv", None, "failed", 0, None, 0, 0, 0, "No.", "")

    assert HistoryView(search="a\u0308RGER").includes(event)
