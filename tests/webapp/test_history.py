"""The filters and the page of the history, from a URL and back."""

from typing import Any

import pytest
from httpx import URL

from jobs.events import Event
from jobs.history_query import Outcome
from jobs.uploads import Status
from webapp.errors import InvalidQueryError
from webapp.history import HistoryView


def an_event(**otherwise: Any) -> Event:
    known: dict[str, Any] = {
        "event": "bulk_upload_error", "file_id": 7, "seq": 3, "attempt": 1, "filename": "June.csv", "dataset": None,
        "status": "failed", "progress": 0, "rows_total": None, "rows_processed": 0, "rows_success": 0, "rows_failed": 0,
        "error": "No.", "timestamp": "", "created_at": "2026-01-31T09:00:00.000000Z",
    }  # fmt: skip
    return Event(**{**known, **otherwise})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, HistoryView()),
        ({"q": "  june  "}, HistoryView(search="june")),
        ({"status": "failed"}, HistoryView(status=Status.FAILED)),
        ({"cursor": "17"}, HistoryView(cursor=17)),
        ({"outcome": "failed_rows"}, HistoryView(outcome=Outcome.FAILED_ROWS)),
        ({"dataset": " sales "}, HistoryView(dataset="sales")),
        ({"since": "7d", "until": "2026-01-31"}, HistoryView(since="7d", until="2026-01-31")),
        ({"dataset": "", "since": "", "until": "", "outcome": ""}, HistoryView()),
        ({"q": "a&b=c", "status": "pending", "cursor": "3"}, HistoryView("a&b=c", Status.PENDING, 3)),
    ],
)
def test_a_view_is_parsed_from_the_query(query: dict[str, str], expected: HistoryView) -> None:
    assert HistoryView.from_query(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"status": "FAILED"},
        {"status": "gone"},
        {"status": "\x00"},
        {"status": ""},
        {"outcome": "FAILED_ROWS"},
        {"since": "yesterday"},
        {"since": "0d"},
        {"until": "2026-02-30"},
        {"until": "9999-12-31"},
        {"cursor": ""},
        {"cursor": "-1"},
        {"cursor": "1.5"},
        {"cursor": "seventeen"},
        {"cursor": "9" * 19},
        {"cursor": "9" * 5000},
        {"cursor": "²"},
    ],
)
def test_an_invalid_value_is_rejected_with_its_parameter(query: dict[str, str]) -> None:
    [name] = query
    with pytest.raises(InvalidQueryError, match=f"^`{name}` must be") as refused:
        HistoryView.from_query(query)

    assert refused.value.parameter == name


@pytest.mark.parametrize("query", [{"q": "   "}, {"q": "\x00"}, {"q": ""}, {"page": "3"}])
def test_an_empty_search_and_other_parameters_are_ignored(query: dict[str, str]) -> None:
    assert HistoryView.from_query(query) == HistoryView()


def test_a_long_search_is_truncated() -> None:
    assert HistoryView.from_query({"q": "x" * 10_000}).search == "x" * 200


def test_a_search_has_no_nul() -> None:
    assert HistoryView.from_query({"q": "ju\x00ne"}).search == "june"


@pytest.mark.parametrize(
    "view",
    [
        HistoryView(),
        HistoryView("50 % & more?", Status.COMPLETED, 4),
        HistoryView(search="июнь"),
        HistoryView(cursor=1),
        HistoryView("a", Status.COMPLETED, 9, Outcome.WARNINGS, "sales & more", "24h", "2026-01-31T09:00:00+01:00"),
    ],
)
def test_a_url_is_parsed_back_to_its_view(view: HistoryView) -> None:
    assert HistoryView.from_query(dict(URL(view.url("/uploads")).params)) == view
    assert HistoryView.from_stream_query(dict(URL(view.stream_url("2026-01-31T09:00:00.000000Z")).params)) == view


def test_a_url_has_only_values_that_differ_from_the_default() -> None:
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
        (HistoryView(dataset="sales"), True),
        (HistoryView(since="7d"), True),
        (HistoryView(), False),
        (HistoryView(cursor=3), False),
    ],
)
def test_a_view_with_a_filter_is_filtered(view: HistoryView, expected: bool) -> None:
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
        (HistoryView(outcome=Outcome.CLEAN), False),
        (HistoryView(since="2026-01-31"), True),
        (HistoryView(since="2026-02-01"), False),
        (HistoryView(until="2026-01-31"), True),
        (HistoryView(until="2026-01-30"), False),
        (HistoryView(since="2026-01-31T09:00:00Z", until="2026-01-31T09:00:01Z"), True),
        (HistoryView(until="2026-01-31T10:00:00+01:00"), False),
        (HistoryView(since="7d"), False),
    ],
)
def test_a_view_includes_the_uploads_it_would_show(view: HistoryView, expected: bool) -> None:
    for dataset in ("Sales", None):
        event = an_event(dataset=dataset)

        assert view.includes(event) is (expected and (dataset is not None or view.search != "sale"))


def test_a_search_ignores_case_in_any_script() -> None:
    assert HistoryView(search="a\u0308RGER").includes(an_event(filename="Ärger.csv"))


def test_each_filter_looks_at_the_fields_of_the_event() -> None:
    completed = an_event(status="completed", error=None, dataset="sales", rows_failed=3, warnings=[{"code": "x"}])

    assert HistoryView(dataset="sales").includes(completed)
    assert not HistoryView(dataset="sale").includes(completed)
    assert HistoryView(outcome=Outcome.FAILED_ROWS).includes(completed)
    assert HistoryView(outcome=Outcome.WARNINGS).includes(completed)
    assert not HistoryView(outcome=Outcome.CLEAN).includes(completed)
    assert HistoryView(outcome=Outcome.HELD).includes(an_event(status="cancelled", attempt=0))


def test_an_event_of_an_earlier_release_counts_as_new() -> None:
    assert HistoryView(since="24h").includes(an_event(created_at=""))
    assert not HistoryView(until="2026-01-31").includes(an_event(created_at=""))
