"""Concurrent callers share a read."""

import asyncio
import gc
from collections import Counter

import pytest

from webapp.live.single_flight import SingleFlight


class Source:
    """A slow read: each waits until the test lets it end, and returns its number."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.may_end = asyncio.Semaphore(0)
        self.began = asyncio.Event()
        self.failures: list[Exception] = []

    async def read(self, key: str) -> str:
        self.reads[key] += 1
        number = self.reads[key]
        self.began.set()
        await self.may_end.acquire()
        if self.failures:
            raise self.failures.pop()
        return f"{key} {number}"


def test_all_callers_before_a_read_begins_share_it() -> None:
    async def scene() -> tuple[list[str], int]:
        source = Source()
        shared = SingleFlight(source.read)
        source.may_end.release()
        return await asyncio.gather(*(shared.get("table") for _ in range(1000))), source.reads["table"]

    assert asyncio.run(scene()) == (["table 1"] * 1000, 1)


def test_a_caller_during_a_read_gets_a_newer_one() -> None:
    async def scene() -> list[str]:
        source = Source()
        shared = SingleFlight(source.read)
        early = asyncio.create_task(shared.get("table"))
        await source.began.wait()
        late = [asyncio.create_task(shared.get("table")) for _ in range(3)]
        await asyncio.sleep(0)
        source.may_end.release()
        source.may_end.release()
        return await asyncio.gather(early, *late)

    assert asyncio.run(scene()) == ["table 1", "table 2", "table 2", "table 2"]


def test_each_key_has_a_read_of_its_own() -> None:
    async def scene() -> tuple[list[str], Counter[str]]:
        source = Source()
        shared = SingleFlight(source.read)
        for _ in range(2):
            source.may_end.release()
        found = await asyncio.gather(*(shared.get(key) for key in "aba"))
        return found, source.reads

    assert asyncio.run(scene()) == (["a 1", "b 1", "a 1"], Counter(a=1, b=1))


def test_an_error_reaches_all_callers_and_the_next_read_works() -> None:
    async def scene() -> tuple[list[str | BaseException], str]:
        source = Source()
        shared = SingleFlight(source.read)
        source.failures = [OSError("the database does not respond")]
        source.may_end.release()
        found = await asyncio.gather(*(shared.get("table") for _ in range(2)), return_exceptions=True)
        source.may_end.release()
        return found, await shared.get("table")

    found, after = asyncio.run(scene())

    assert [str(error) for error in found] == ["the database does not respond"] * 2
    assert after == "table 2"


def test_an_error_without_a_waiting_caller_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> str:
        source = Source()
        shared = SingleFlight(source.read)
        asker = asyncio.create_task(shared.get("table"))
        await source.began.wait()
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        source.failures = [OSError("the database does not respond")]
        source.may_end.release()
        source.may_end.release()
        return await shared.get("table")

    assert asyncio.run(scene()) == "table 2"
    gc.collect()

    assert caplog.records == []


def test_a_caller_that_is_cancelled_takes_no_other_along() -> None:
    async def scene() -> str:
        source = Source()
        shared = SingleFlight(source.read)
        leaving, staying = (asyncio.create_task(shared.get("table")) for _ in range(2))
        await source.began.wait()
        leaving.cancel()
        source.may_end.release()
        await asyncio.gather(leaving, return_exceptions=True)
        return await staying

    assert asyncio.run(scene()) == "table 1"


def test_callers_within_the_min_interval_share_the_read_after_it() -> None:
    async def scene() -> tuple[list[str], str]:
        source = Source()
        shared = SingleFlight(source.read, min_interval=0.2)
        for _ in range(9):
            source.may_end.release()
        found = [await shared.get("table")]
        storm = []
        for _ in range(5):
            storm.append(asyncio.create_task(shared.get("table")))
            for _ in range(9):  # more than a read takes here
                await asyncio.sleep(0)
        return [*found, *await asyncio.gather(*storm)], await shared.get("other")

    assert asyncio.run(scene()) == (["table 1", *["table 2"] * 5], "other 1")


def test_a_key_that_waits_for_its_interval_does_not_delay_another() -> None:
    async def scene() -> list[str]:
        source = Source()
        shared = SingleFlight(source.read, min_interval=600)
        for _ in range(9):
            source.may_end.release()
        await shared.get("table")
        other = asyncio.create_task(shared.get("other"))
        again = asyncio.create_task(shared.get("table"))
        found = [await other]
        again.cancel()
        return found

    assert asyncio.run(scene()) == ["other 1"]
