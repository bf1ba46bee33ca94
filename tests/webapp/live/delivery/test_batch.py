"""What subscribers share of a batch."""

import asyncio
from dataclasses import replace
from typing import Any

from jobs.events import Event
from tests.support.hubs import EVENT, at
from webapp.live.delivery.batch import Batch


def test_events_are_sorted_by_their_times() -> None:
    batch = Batch(1, [at(second, file_id=file_id) for file_id, second in [(1, 5), (2, 3), (3, 9), (4, 1)]], set(), "")

    assert [event.file_id for event in batch.events] == [4, 2, 1, 3]
    assert batch.oldest == at(1).timestamp


def test_a_batch_without_events_has_no_oldest() -> None:
    assert Batch(1, [], {7}, EVENT.timestamp).oldest == ""


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


def test_a_shared_result_is_made_once_and_again_after_a_failure() -> None:
    made: list[str] = []

    async def make() -> str:
        made.append("made")
        await asyncio.sleep(0)
        if len(made) == 1:
            raise ZeroDivisionError
        return "bytes"

    async def scene() -> list[Any]:
        batch = Batch(1, [EVENT], set(), "")
        first = await asyncio.gather(*(batch.shared("key", make) for _ in range(50)), return_exceptions=True)
        return [*{type(each) for each in first}, *[await batch.shared("key", make) for _ in range(3)]]

    assert asyncio.run(scene()) == [ZeroDivisionError, "bytes", "bytes", "bytes"]
    assert len(made) == 2


def test_a_caller_that_is_cancelled_takes_no_other_along() -> None:
    async def scene() -> str:
        batch, may_end = Batch(1, [EVENT], set(), ""), asyncio.Event()

        async def make() -> str:
            await may_end.wait()
            return "bytes"

        leaving, staying = (asyncio.create_task(batch.shared("key", make)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        may_end.set()
        return await staying

    assert asyncio.run(scene()) == "bytes"
