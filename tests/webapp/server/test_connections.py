"""Which connections are closed to admit others, and when deadlines are checked."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from webapp.server.connections import MARGIN, Connections, Deadlines


class Client:
    """A connection that tells what was done to it."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told
        self.checked = asyncio.Event()

    def check(self, now: float) -> None:
        self.checked.set()
        self._told.append(f"check {self._name}")

    def close(self) -> None:
        self._told.append(f"close {self._name}")


def run(scene: Callable[[list[str]], Awaitable[None]]) -> list[str]:
    """What is done to connections in a scene."""
    told: list[str] = []

    async def play() -> None:
        await scene(told)

    asyncio.run(play())
    return told


def test_the_connection_that_has_been_idle_for_longest_is_closed_first() -> None:
    async def scene(told: list[str]) -> None:
        connections = Connections(limit=3)
        first, second, third = (Client(name, told) for name in ("first", "second", "third"))
        for client in (first, second, third):
            connections.opened(client)
        connections.began_request(first)
        connections.ended_request(first)
        for name in ("fourth", "fifth", "sixth"):
            connections.opened(Client(name, told))

    assert run(scene) == ["close second", "close third", "close first"]


def test_connections_with_a_request_are_never_closed_and_too_many_others_are_refused() -> None:
    async def scene(told: list[str]) -> None:
        connections = Connections(limit=3)
        for number in range(3 + MARGIN):
            client = Client(f"busy {number}", told)
            connections.opened(client)
            connections.began_request(client)
        assert connections.is_full
        connections.opened(Client("one too many", told))

    assert run(scene) == ["close one too many"]


def test_streams_take_no_room() -> None:
    async def scene(told: list[str]) -> None:
        connections = Connections(limit=1)
        streams = [Client("a stream", told) for _ in range(100)]
        for client in streams:
            connections.opened(client)
            connections.began_request(client)
            connections.began_stream(client)
        assert not connections.is_full
        connections.opened(Client("one", told))
        connections.ended_request(streams[0])
        connections.opened(Client("another", told))

    assert run(scene) == ["close one", "close a stream"]


def test_one_timer_checks_all_but_streams_and_ends_with_the_last_connection() -> None:
    async def scene(told: list[str]) -> None:
        connections = Connections(deadlines=Deadlines(head=0.01))
        idle, busy, stream = (Client(name, told) for name in ("idle", "busy", "stream"))
        for client in (idle, busy, stream):
            connections.opened(client)
        for client in (busy, stream):
            connections.began_request(client)
        connections.began_stream(stream)
        await busy.checked.wait()
        assert told == ["check idle", "check busy"]
        connections.closed(idle)
        connections.closed(busy)
        told.clear()
        await asyncio.sleep(0.01)
        connections.opened(busy)
        busy.checked.clear()
        await busy.checked.wait()

    assert set(run(scene)) == {"check busy"}


def test_that_room_is_made_is_logged_once_until_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(told: list[str]) -> None:
        connections = Connections(limit=2, deadlines=Deadlines(head=0.01))
        clients = [Client(str(number), told) for number in range(50)]
        for client in clients:
            connections.opened(client)
        for client in clients:
            connections.closed(client)
        alone = Client("alone", told)
        connections.opened(alone)
        await alone.checked.wait()
        connections.opened(Client("second", told))
        connections.opened(Client("third", told))

    run(scene)
    assert [record.message.partition(",")[0] for record in caplog.records] == ["There are 2 connections"] * 2
