"""The filters of the history as its page shows them."""

import pytest

from jobs.history_query import Outcome
from jobs.uploads import Status
from webapp.history import HistoryView
from webapp.history_filters import HistoryFilters


def test_a_view_without_filters_has_nothing_to_remove() -> None:
    filters = HistoryFilters(HistoryView(cursor=7))

    assert (filters.chosen, filters.state, filters.time) == ({}, "", "")
    assert [choice.text for choice in filters.states if choice.is_current] == ["Any"]
    assert [choice.text for choice in filters.times if choice.is_current] == ["Any time"]


@pytest.mark.parametrize(
    ("view", "state", "time"),
    [
        (HistoryView(status=Status.FAILED), "Failed", ""),
        (HistoryView(status=Status.HELD), "Needs review", ""),
        (HistoryView(outcome=Outcome.HELD), "Needs review", ""),
        (HistoryView(status=Status.COMPLETED, outcome=Outcome.WARNINGS), "Completed with warnings", ""),
        (HistoryView(status=Status.FAILED, outcome=Outcome.CLEAN), "Failed, Completed without either", ""),
        (HistoryView(since="24h"), "", "Last 24 hours"),
        (HistoryView(since="3d"), "", "Since 3d ago"),
        (HistoryView(until="2026-01-31"), "", "Until 2026-01-31"),
        (HistoryView(since="2026-01-01", until="7d"), "", "Since 2026-01-01 until 7d ago"),
    ],
)
def test_what_is_chosen_is_said_in_words(view: HistoryView, state: str, time: str) -> None:
    filters = HistoryFilters(view)

    assert (filters.state, filters.time) == (state, time)
    assert [choice.text for choice in filters.states if choice.is_current] in ([state], ["Any"], [])
    assert [chosen.url for chosen in filters.chosen.values()] == ["/uploads"]


def test_a_choice_keeps_the_other_filters_and_begins_at_the_first_page() -> None:
    filters = HistoryFilters(HistoryView("june", Status.FAILED, 9, dataset="sales", since="7d"))
    urls = {choice.text: choice.url for choice in (*filters.states, *filters.times)}

    assert urls["Any"] == "/uploads?q=june&dataset=sales&since=7d"
    assert urls["Completed with failed rows"] == "/uploads?q=june&outcome=failed_rows&dataset=sales&since=7d"
    assert urls["Last 30 days"] == "/uploads?q=june&status=failed&dataset=sales&since=30d"
    assert urls["Any time"] == "/uploads?q=june&status=failed&dataset=sales"


def test_a_kind_is_chosen_beside_the_other_filters() -> None:
    view = HistoryView("june", Status.FAILED, 9, kind="undo")
    filters = HistoryFilters(view)

    assert {choice.text: choice.url for choice in filters.kinds} == {
        "Any": "/uploads?q=june&status=failed",
        "Imports": "/uploads?q=june&status=failed&kind=import",
        "Repairs": "/uploads?q=june&status=failed&kind=repair",
        "Undos": "/uploads?q=june&status=failed&kind=undo",
    }
    assert [choice.text for choice in filters.kinds if choice.is_current] == ["Undos"]
    assert (filters.chosen["kind"].text, filters.chosen["kind"].url) == ("Undos", "/uploads?q=june&status=failed")
    assert filters.kept["search"] == [("status", "failed"), ("kind", "undo")]


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (HistoryView(kind="repair"), "No upload among the repairs."),
        (HistoryView("june"), "No upload named like “june”."),
        (
            HistoryView("june", Status.FAILED, dataset="x", since="7d"),
            "No upload named like “june”, with the state “Failed”, in the dataset “x”, uploaded in the last 7 days.",
        ),
    ],
)
def test_a_page_without_a_match_says_which_filters_it_has(view: HistoryView, sentence: str) -> None:
    assert HistoryFilters(view).sentence == sentence
