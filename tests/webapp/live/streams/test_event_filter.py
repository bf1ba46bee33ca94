"""Which events a client with a filter receives."""

from dataclasses import replace

import pytest
from starlette.datastructures import QueryParams

from tests.support.hubs import EVENT
from webapp.errors import InvalidQueryError
from webapp.live.streams.event_filter import MAX_UPLOADS, EventFilter, FilteredEvents


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
def test_a_filter_is_read_from_a_query(query: str, expected: EventFilter) -> None:
    found = EventFilter.from_query(QueryParams(query))

    assert found == expected
    assert bool(found) is (expected != EventFilter())


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", "`status` must be one or more of pending, processing, held, completed, failed, cancelled,"
         " separated by commas, not “done”."),
        ("status=", "`status` is empty. Give it a value, or leave it out."),
        ("upload=", "`upload` is empty. Give it a value, or leave it out."),
        ("dataset=a,,b", "`dataset` is empty. Give it a value, or leave it out."),
        *((f"upload={id_}", f"`upload` must be one or more numbers of uploads, separated by commas, not “{id_}”.")
          for id_ in ("one", "-1", "9" * 19)),
        ("upload=" + ",".join(map(str, range(MAX_UPLOADS + 1))), "`upload` may name at most 200 uploads. Without it the"
         " stream has the events of all uploads; each event says in `file_id` which one it is about."),
    ],
)  # fmt: skip
def test_an_invalid_query_is_refused_with_what_is_valid(query: str, sentence: str) -> None:
    with pytest.raises(InvalidQueryError) as refused:
        EventFilter.from_query(QueryParams(query))

    assert str(refused.value) == sentence


def test_an_event_matches_with_one_value_of_each_kind() -> None:
    filter_ = EventFilter(frozenset({"june", "july"}), frozenset({"processing"}), frozenset({1, 2}))

    assert filter_.matches(EVENT)
    assert filter_.matches(replace(EVENT, file_id=2, dataset="july"))
    assert not filter_.matches(replace(EVENT, file_id=3))
    assert not filter_.matches(replace(EVENT, dataset=None))
    assert not filter_.matches(replace(EVENT, status="pending"))


def test_an_upload_that_stops_matching_passes_once_more() -> None:
    filtered = FilteredEvents(EventFilter(statuses=frozenset({"processing"})))
    pending, other = replace(EVENT, status="pending"), replace(EVENT, file_id=2, status="completed")
    completed = replace(EVENT, status="completed", seq=9)

    assert filtered.matching([pending, other]) == []
    assert filtered.matching([EVENT]) == [EVENT]
    assert filtered.matching([completed, other]) == [completed]
    assert filtered.matching([replace(completed, seq=10)]) == []
    assert filtered.matching([replace(EVENT, seq=11)]) == [replace(EVENT, seq=11)]


def test_an_upload_that_a_reconnecting_client_may_know_passes_once() -> None:
    filtered = FilteredEvents(EventFilter(statuses=frozenset({"processing"})))
    completed = replace(EVENT, status="completed", seq=9)
    filtered.mark_known([completed])

    assert filtered.matching([completed]) == [completed]
    assert filtered.matching([completed]) == []
