"""Prefetching items in a thread."""

import threading
from collections.abc import Generator, Iterator

import pytest

from jobs.pipeline.prefetch import Prefetch, prefetch


def close(items: Iterator[int]) -> None:
    """Close the generator, as leaving a loop over it does."""
    assert isinstance(items, Generator)
    items.close()


def test_prefetched_items_keep_their_order() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([]))) == []


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("the second")

    items = prefetch(source())

    assert next(items) == 1
    with pytest.raises(LookupError, match="the second"):
        next(items)


def test_the_next_item_is_produced_while_one_is_in_use() -> None:
    made = threading.Semaphore(0)

    def source() -> Iterator[int]:
        for number in range(9):
            yield number
            made.release()

    items = prefetch(source())
    next(items)

    assert made.acquire(timeout=10)
    close(items)


def test_closing_early_leaves_no_thread() -> None:
    before = threading.active_count()
    items = prefetch(iter(range(1000)))
    next(items)
    close(items)

    assert threading.active_count() == before


def test_an_item_is_waited_for_only_so_long() -> None:
    may_come = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        may_come.wait()
        yield 2

    with Prefetch(source()) as items:
        assert items.soon(600) == 1
        assert items.soon(0.01) is None
        may_come.set()
        assert items.soon(600) == 2
        assert items.soon(600) is None
        assert list(items) == []


def test_who_does_not_want_to_wait_meets_no_error_and_the_next_one_does() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("the second")

    with Prefetch(source()) as items:
        assert items.soon(600) == 1
        assert items.soon(600) is None
        with pytest.raises(LookupError, match="the second"):
            next(items)
        assert list(items) == []
