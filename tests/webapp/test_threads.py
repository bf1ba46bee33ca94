"""Blocking work leaves the event loop free, and is never left behind."""

import asyncio
import threading

import pytest

from webapp.threads import in_thread


def test_the_work_runs_in_another_thread_and_its_result_is_returned() -> None:
    assert asyncio.run(in_thread(threading.current_thread)) is not threading.current_thread()


def test_an_error_of_the_work_reaches_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_thread(fail))


def test_the_event_loop_goes_on_while_the_work_blocks() -> None:
    event = threading.Event()

    async def scene() -> bool:
        work = asyncio.create_task(in_thread(lambda: event.wait(30)))
        await asyncio.sleep(0)
        event.set()
        return await work

    assert asyncio.run(scene())


def test_a_cancelled_caller_waits_until_the_thread_has_ended() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ended: list[bool] = []

    def work() -> None:
        begun.set()
        ended.append(may_end.wait(30))

    async def scene() -> bool:
        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):  # also one that is impatient
            task.cancel()
            await asyncio.sleep(0)
        waited = not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return waited

    assert asyncio.run(scene())
    assert ended == [True]
