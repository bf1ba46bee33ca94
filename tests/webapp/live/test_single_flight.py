"""Reads that are made once for everybody."""

import asyncio
import gc
from collections import Counter

import pytest

from webapp.live.single_flight import SingleFlight


class Source:
    """Something slow to read: each read waits until the test lets it end, and tells its number."""

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


def test_who_asks_before_the_read_begins_shares_it() -> None:
    async def scene() -> tuple[list[str], int]:
        source = Source()
        shared = SingleFlight(source.read)
        source.may_end.release()
        return await asyncio.gather(*(shared.get("table") for _ in range(1000))), source.reads["table"]

    assert asyncio.run(scene()) == (["table 1"] * 1000, 1)


def test_who_asks_while_a_read_is_under_way_gets_a_newer_one() -> None:
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


def test_an_error_reaches_everybody_and_the_next_read_is_none_the_worse() -> None:
    async def scene() -> tuple[list[str | BaseException], str]:
        source = Source()
        shared = SingleFlight(source.read)
        source.failures = [OSError("the database is away")]
        source.may_end.release()
        found = await asyncio.gather(*(shared.get("table") for _ in range(2)), return_exceptions=True)
        source.may_end.release()
        return found, await shared.get("table")

    found, after = asyncio.run(scene())

    assert [str(error) for error in found] == ["the database is away"] * 2
    assert after == "table 2"


def test_an_error_that_nobody_waits_for_any_more_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> str:
        source = Source()
        shared = SingleFlight(source.read)
        asker = asyncio.create_task(shared.get("table"))
        await source.began.wait()
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        source.failures = [OSError("the database is away")]
        source.may_end.release()
        source.may_end.release()
        return await shared.get("table")

    assert asyncio.run(scene()) == "table 2"
    gc.collect()

    assert caplog.records == []


def test_one_who_goes_away_takes_nobody_along() -> None:
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


def test_who_comes_soon_after_a_read_began_waits_for_one_with_all_who_come_meanwhile() -> None:
    async def scene() -> tuple[list[str], str]:
        source = Source()
        shared = SingleFlight(source.read, apart=0.2)
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


def test_what_is_read_again_at_once_does_not_hold_up_what_was_not_read_lately() -> None:
    async def scene() -> list[str]:
        source = Source()
        shared = SingleFlight(source.read, apart=600)
        for _ in range(9):
            source.may_end.release()
        await shared.get("table")
        other = asyncio.create_task(shared.get("other"))
        again = asyncio.create_task(shared.get("table"))
        found = [await other]
        again.cancel()
        return found

    assert asyncio.run(scene()) == ["other 1"]
