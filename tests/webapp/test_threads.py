"""Blocking work leaves the event loop free, and is never left behind."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import anyio
import pytest

from webapp.errors import ServerBusyError
from webapp.threads import OTHER_THREADS, ThreadLimit, in_thread


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


def test_the_end_of_a_scope_of_anyio_waits_for_the_thread_once() -> None:
    """anyio repeats a cancellation in each round of the loop; the caller must not spin meanwhile."""
    begun, may_end = threading.Event(), threading.Event()
    rounds = 0

    def work() -> None:
        begun.set()
        may_end.wait(30)

    async def count() -> None:
        nonlocal rounds
        while not may_end.is_set():
            rounds += 1
            await asyncio.sleep(0.001)

    async def scene() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(in_thread, work)
            await asyncio.to_thread(begun.wait, 30)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                asyncio.get_running_loop().call_later(0.1, may_end.set)
                before = asyncio.get_running_loop().time()
                await count()
                assert asyncio.get_running_loop().time() > before
        return rounds

    assert asyncio.run(scene()) < 200


def test_work_of_no_kind_has_a_limited_number_of_threads_too() -> None:
    may_end = threading.Event()
    used: set[int] = set()

    def work() -> None:
        used.add(threading.get_ident())
        may_end.wait(30)

    async def scene() -> None:
        tasks = [asyncio.create_task(in_thread(work)) for _ in range(5 * OTHER_THREADS)]
        while len(used) < OTHER_THREADS:
            await asyncio.to_thread(lambda: None)
        assert await ThreadLimit("another", 1, patience=30).run(lambda: len(used)) == OTHER_THREADS
        may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert len(used) <= OTHER_THREADS + 1  # of which one may have served the other kind first


def test_one_kind_of_work_does_not_wait_for_another() -> None:
    slow, fast = ThreadLimit("slow", 1, patience=30), ThreadLimit("fast", 1, patience=30)
    may_end = threading.Event()

    async def scene() -> str:
        blocked = [asyncio.create_task(slow.run(lambda: may_end.wait(30))) for _ in range(60)]
        await asyncio.sleep(0)
        found = await fast.run(lambda: "at once")
        may_end.set()
        assert all(await asyncio.gather(*blocked))
        return found

    assert asyncio.run(scene()) == "at once"


def test_no_more_threads_than_allowed_are_used_and_each_is_given_back() -> None:
    limit, running, most = ThreadLimit("three", 3, patience=30), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        raise ValueError("no")

    async def scene() -> list[BaseException | None]:
        return await asyncio.gather(*(limit.run(work) for _ in range(50)), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(scene())] == [ValueError] * 50
    assert most <= 3


def test_work_that_waits_too_long_for_a_thread_is_refused_without_being_run() -> None:
    limit, may_end, ran = ThreadLimit("one", 1, patience=0.05), threading.Event(), threading.Event()

    async def scene() -> None:
        blocked = asyncio.create_task(limit.run(lambda: may_end.wait(30)))
        await asyncio.sleep(0)
        with pytest.raises(ServerBusyError, match="try again"):
            await limit.run(ran.set)
        may_end.set()
        await blocked
        assert not ran.is_set()
        await limit.run(ran.set)

    asyncio.run(scene())
    assert ran.is_set()


def test_a_cancelled_caller_gives_its_thread_back_when_the_work_ends_and_not_before() -> None:
    limit, begun, may_end = ThreadLimit("one", 1, patience=30), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(30)

    async def scene() -> bool:
        caller = asyncio.create_task(limit.run(work))
        await asyncio.to_thread(begun.wait, 30)
        caller.cancel()
        following = asyncio.create_task(limit.run(lambda: may_end.is_set()))
        await asyncio.sleep(0.02)
        may_end.set()
        return await following

    assert asyncio.run(scene())


def test_an_iteration_takes_no_thread_while_its_reader_does_not_ask() -> None:
    limit = ThreadLimit("one", 1, patience=0.05)

    async def scene() -> tuple[list[int], list[int]]:
        stalled, other = limit.iterate(iter(range(3))), limit.iterate(iter(range(3)))
        first = [await anext(stalled)]
        all_of_other = [item async for item in other]
        return first + [item async for item in stalled], all_of_other

    assert asyncio.run(scene()) == ([0, 1, 2], [0, 1, 2])


def test_an_item_is_produced_while_the_reader_has_the_one_before() -> None:
    produced: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(3):
            produced.append(number)
            if number == 1:
                second.set()
            yield number

    async def scene() -> list[int]:
        found = []
        async for item in ThreadLimit("test ahead", 1, patience=10).iterate_ahead(items(), lambda: None):
            if item == 0:
                assert await in_thread(lambda: second.wait(30))
            found.append(item)
        return found

    assert asyncio.run(scene()) == produced == [0, 1, 2]


def test_a_reader_that_leaves_stops_the_production_of_the_next_item() -> None:
    begun, stopped, ended = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        begun.set()
        stopped.wait(30)
        ended.set()
        yield 1

    async def scene() -> None:
        ahead = ThreadLimit("test leaving", 1, patience=10).iterate_ahead(items(), stopped.set)
        async with aclosing(ahead):
            async for _ in ahead:
                assert await in_thread(lambda: begun.wait(30))
                break
        assert await in_thread(lambda: ended.wait(30))

    asyncio.run(scene())


def test_a_reader_that_leaves_stops_the_production_also_when_the_next_item_is_ready() -> None:
    """Others may be on their way."""
    stopped = threading.Event()

    async def scene() -> None:
        ahead = ThreadLimit("test ready", 1, patience=10).iterate_ahead(iter(range(3)), stopped.set)
        async with aclosing(ahead):
            async for _ in ahead:
                await ThreadLimit("test others", 1, patience=10).run(lambda: None)
                break
        assert await in_thread(lambda: stopped.wait(30))

    asyncio.run(scene())


def test_a_reader_that_reads_to_the_end_stops_nothing() -> None:
    stops: list[None] = []

    async def scene() -> list[int]:
        limit = ThreadLimit("test end", 1, patience=10)
        return [item async for item in limit.iterate_ahead(iter(range(3)), lambda: stops.append(None))]

    assert asyncio.run(scene()) == [0, 1, 2]
    assert stops == []


def test_an_error_of_an_item_reaches_the_reader() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("no")

    async def scene() -> list[int]:
        return [item async for item in ThreadLimit("test error", 1, patience=10).iterate_ahead(items(), lambda: None)]

    with pytest.raises(ValueError, match="no"):
        asyncio.run(scene())
