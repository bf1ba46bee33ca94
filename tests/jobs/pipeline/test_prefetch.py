"""Prefetching items in a thread."""

import threading
from collections.abc import Generator, Iterator

import pytest

from jobs.pipeline.prefetch import prefetch


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
