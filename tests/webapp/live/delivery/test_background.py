"""Steps that run again and again."""

import asyncio

import pytest

from tests.support.hubs import PATIENCE, blocking
from tests.support.waiting import until
from webapp.live.delivery import background
from webapp.live.delivery.background import running


async def until_ten(rounds: list[int]) -> None:
    await blocking(until, lambda: len(rounds) >= 10, "ten rounds")


def test_each_step_runs_again_and_again_until_the_block_ends() -> None:
    rounds: dict[str, list[int]] = {"one": [], "other": []}

    def step(name: str) -> background.Step:
        async def run() -> None:
            rounds[name].append(1)
            await asyncio.sleep(0)

        return run

    async def scene() -> None:
        async with running({name: step(name) for name in rounds}):
            for name in rounds:
                await until_ten(rounds[name])
        counts = {name: len(found) for name, found in rounds.items()}
        await asyncio.sleep(0.01)

        assert {name: len(found) for name, found in rounds.items()} == counts

    asyncio.run(scene())


def test_a_step_that_fails_is_logged_by_name_and_runs_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RETRY_DELAY", 0.001)
    rounds: list[int] = []

    async def step() -> None:
        rounds.append(1)
        raise ZeroDivisionError

    async def scene() -> None:
        async with running({"divider": step}):
            await until_ten(rounds)

    asyncio.run(scene())

    assert "The background task “divider” failed; it runs again in 0.001 s." in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_step_that_swallows_a_cancellation_still_ends() -> None:
    swallowed: list[int] = []

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if len(swallowed) >= 3:
                raise
            swallowed.append(1)

    async def scene() -> None:
        async with asyncio.timeout(PATIENCE), running({"stubborn": step}):
            await asyncio.sleep(0)

    asyncio.run(scene())

    assert len(swallowed) == 3
