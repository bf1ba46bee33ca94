"""Which events a client with a filter is told."""

from dataclasses import replace

import pytest
from starlette.datastructures import QueryParams

from tests.webapp.live.test_feed import EVENT
from webapp.errors import QueryError
from webapp.live.event_filter import MAX_UPLOADS, EventFilter, FilteredEvents


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", EventFilter()),
        ("since=yesterday", EventFilter()),
        ("dataset=sales", EventFilter(datasets=frozenset({"sales"}))),
        ("status=failed,cancelled", EventFilter(statuses=frozenset({"failed", "cancelled"}))),
        ("status=failed&status=cancelled", EventFilter(statuses=frozenset({"failed", "cancelled"}))),
        ("upload=1&upload=2, 3", EventFilter(uploads=frozenset({1, 2, 3}))),
        ("upload=1&dataset=a&status=pending", EventFilter(frozenset({"a"}), frozenset({"pending"}), frozenset({1}))),
    ],
)
def test_a_query_says_what_is_asked_for(query: str, expected: EventFilter) -> None:
    found = EventFilter.from_query(QueryParams(query))

    assert found == expected
    assert bool(found) is (expected != EventFilter())


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", "“done” is no status. Use pending, processing, completed, failed, cancelled, several with"),
        ("status=", "status is empty: give it a value, or leave it out."),
        ("upload=", "upload is empty: give it a value, or leave it out."),
        ("dataset=a,,b", "dataset is empty: give it a value, or leave it out."),
        ("upload=one", "upload must be the number of an upload, several with commas, not “one”."),
        ("upload=-1", "upload must be the number of an upload, several with commas, not “-1”."),
        ("upload=" + "9" * 19, f"upload must be the number of an upload, several with commas, not “{'9' * 19}”."),
        ("upload=" + ",".join(map(str, range(MAX_UPLOADS + 1))), "A stream follows at most 200 uploads that are"),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_understood_is_refused_with_what_would_be(query: str, sentence: str) -> None:
    with pytest.raises(QueryError) as refused:
        EventFilter.from_query(QueryParams(query))

    assert str(refused.value).startswith(sentence)


def test_of_each_kind_any_one_must_fit() -> None:
    filter_ = EventFilter(frozenset({"june", "july"}), frozenset({"processing"}), frozenset({1, 2}))

    assert filter_.matches(EVENT)
    assert filter_.matches(replace(EVENT, file_id=2, dataset="july"))
    assert not filter_.matches(replace(EVENT, file_id=3))
    assert not filter_.matches(replace(EVENT, dataset=None))
    assert not filter_.matches(replace(EVENT, status="pending"))


def test_an_upload_that_fits_no_more_is_told_once() -> None:
    filtered = FilteredEvents(EventFilter(statuses=frozenset({"processing"})))
    pending, other = replace(EVENT, status="pending"), replace(EVENT, file_id=2, status="completed")
    completed = replace(EVENT, status="completed", seq=9)

    assert filtered.matching([pending, other]) == []
    assert filtered.matching([EVENT]) == [EVENT]
    assert filtered.matching([completed, other]) == [completed]
    assert filtered.matching([replace(completed, seq=10)]) == []
    assert filtered.matching([replace(EVENT, seq=11)]) == [replace(EVENT, seq=11)]


def test_who_comes_back_is_told_once_of_what_may_have_fitted_before() -> None:
    filtered = FilteredEvents(EventFilter(statuses=frozenset({"processing"})))
    completed = replace(EVENT, status="completed", seq=9)
    filtered.mark_known([completed])

    assert filtered.matching([completed]) == [completed]
    assert filtered.matching([completed]) == []
