"""Which events a client with a filter is told."""

from dataclasses import replace

import pytest
from starlette.datastructures import QueryParams

from tests.webapp.live.test_feed import EVENT
from webapp.errors import InvalidQueryError
from webapp.live.event_filter import MAX_UPLOADS, Filter, Filtered


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Filter()),
        ("since=yesterday", Filter()),
        ("dataset=sales", Filter(datasets=frozenset({"sales"}))),
        ("status=failed,cancelled", Filter(statuses=frozenset({"failed", "cancelled"}))),
        ("status=failed&status=cancelled", Filter(statuses=frozenset({"failed", "cancelled"}))),
        ("upload=1&upload=2, 3", Filter(uploads=frozenset({1, 2, 3}))),
        ("upload=1&dataset=a&status=pending", Filter(frozenset({"a"}), frozenset({"pending"}), frozenset({1}))),
    ],
)
def test_a_query_says_what_is_asked_for(query: str, expected: Filter) -> None:
    found = Filter.of(QueryParams(query))

    assert found == expected
    assert bool(found) is (expected != Filter())


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("status=done", "`status` must be one or more of pending, processing, completed, failed, cancelled, not “done"),
        ("status=", "`status` must not be empty. Give it a value, or leave it out."),
        ("upload=", "`upload` must not be empty. Give it a value, or leave it out."),
        ("dataset=a,,b", "`dataset` must not be empty. Give it a value, or leave it out."),
        ("upload=one", "`upload` must be one or more numbers of uploads, with commas, not “one”."),
        ("upload=-1", "`upload` must be one or more numbers of uploads, with commas, not “-1”."),
        ("upload=" + "9" * 19, f"`upload` must be one or more numbers of uploads, with commas, not “{'9' * 19}”."),
        ("upload=" + ",".join(map(str, range(MAX_UPLOADS + 1))), "`upload` can name at most 200 uploads."),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_understood_is_refused_with_what_would_be(query: str, sentence: str) -> None:
    with pytest.raises(InvalidQueryError) as refused:
        Filter.of(QueryParams(query))

    assert str(refused.value).startswith(sentence)


def test_of_each_kind_any_one_must_fit() -> None:
    filter_ = Filter(frozenset({"june", "july"}), frozenset({"processing"}), frozenset({1, 2}))

    assert filter_.fits(EVENT)
    assert filter_.fits(replace(EVENT, file_id=2, dataset="july"))
    assert not filter_.fits(replace(EVENT, file_id=3))
    assert not filter_.fits(replace(EVENT, dataset=None))
    assert not filter_.fits(replace(EVENT, status="pending"))


def test_an_upload_that_fits_no_more_is_told_once() -> None:
    filtered = Filtered(Filter(statuses=frozenset({"processing"})))
    pending, other = replace(EVENT, status="pending"), replace(EVENT, file_id=2, status="completed")
    completed = replace(EVENT, status="completed", seq=9)

    assert filtered.of([pending, other]) == []
    assert filtered.of([EVENT]) == [EVENT]
    assert filtered.of([completed, other]) == [completed]
    assert filtered.of([replace(completed, seq=10)]) == []
    assert filtered.of([replace(EVENT, seq=11)]) == [replace(EVENT, seq=11)]


def test_who_comes_back_is_told_once_of_what_may_have_fitted_before() -> None:
    filtered = Filtered(Filter(statuses=frozenset({"processing"})))
    completed = replace(EVENT, status="completed", seq=9)
    filtered.believe([completed])

    assert filtered.of([completed]) == [completed]
    assert filtered.of([completed]) == []
