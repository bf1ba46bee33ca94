"""What subscribers share of a batch."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from jobs.events import Event
from jobs.view import EVERYTHING, View
from tests.support.hubs import EVENT, at
from webapp.live.delivery.batch import Batch, NotReadyError


def test_events_are_sorted_by_their_times() -> None:
    batch = Batch(1, [at(second, file_id=file_id) for file_id, second in [(1, 5), (2, 3), (3, 9), (4, 1)]], set(), "")

    assert [event.file_id for event in batch.events] == [4, 2, 1, 3]
    assert batch.oldest == at(1).timestamp


def test_a_batch_without_events_has_no_oldest() -> None:
    assert Batch(1, [], {7}, EVENT.timestamp).oldest == ""


def test_who_does_not_see_everything_is_not_told_which_file_was_repeated() -> None:
    detail = "The same file was imported into “prices” on 2026-01-31 as #7. Import it into “sales”, or cancel it."
    batch = Batch(1, [replace(EVENT, dataset="sales", hold=[{"code": "duplicate", "detail": detail}])], set(), "")
    [told] = batch.seen_by(View(frozenset({"prices"}))).events

    assert told.hold == [
        {"code": "duplicate", "detail": "The same file was imported before. Import it into “sales”, or cancel it."}
    ]
    assert batch.seen_by(EVERYTHING).events[0].hold[0]["detail"] == detail


def test_events_are_encoded_once_for_each_key() -> None:
    encoded: list[int] = []

    def encode(events: list[Event]) -> bytes:
        encoded.append(len(events))
        return b"".join(str(event.seq).encode() for event in events)

    batch = Batch(1, [EVENT, replace(EVENT, file_id=2, seq=2)], set(), "")
    found = [batch.encoded(key, encode) for key in ("json", "html") * 50]

    assert found == [b"12"] * 100
    assert len({id(each) for each in found}) == 2
    assert encoded == [2, 2]


async def made(batch: Batch, make: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """The shared result once it is ready."""
    while True:
        try:
            return batch.shared("key", make)
        except NotReadyError as error:
            await asyncio.wait({error.task})


def test_a_shared_result_is_made_once_and_again_after_a_failure() -> None:
    attempts: list[str] = []

    async def make() -> str:
        attempts.append("made")
        await asyncio.sleep(0)
        if len(attempts) == 1:
            raise ZeroDivisionError
        return "bytes"

    async def scene() -> list[Any]:
        batch = Batch(1, [EVENT], set(), "")
        tasks = set()
        for _ in range(50):
            with pytest.raises(NotReadyError) as raised:
                batch.shared("key", make)
            tasks.add(raised.value.task)
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        return [*map(type, failures), *[await made(batch, make) for _ in range(3)]]

    assert asyncio.run(scene()) == [ZeroDivisionError, "bytes", "bytes", "bytes"]
    assert len(attempts) == 2


def test_a_failure_that_nobody_asks_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def make() -> str:
        raise OSError("the database does not respond")

    async def scene() -> None:
        with pytest.raises(NotReadyError) as raised:
            Batch(1, [EVENT], set(), "").shared("key", make)
        await asyncio.wait({raised.value.task})

    asyncio.run(scene())
    gc.collect()

    assert caplog.records == []
