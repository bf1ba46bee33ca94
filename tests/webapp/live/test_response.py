"""How a stream goes on, ends and is closed, on a real uvicorn."""

import gc
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from jobs.database import Database
from jobs.settings import Settings
from jobs.uploads import LONGEST_ERROR
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served, Web, stream
from tests.support.streams import (
    GENERAL,
    HISTORY,
    all_of,
    toast_of,
    wait_for,
)
from tests.support.waiting import until
from webapp.live import response
from webapp.live.delivery import heartbeat
from webapp.live.response import StreamResponse
from webapp.server.connection import Connection

#: What is open when no client is: no connection, no request, no stream and no subscriber.
NOTHING = (0, 0, 0, 0)
#: Uploads with a long error, whose states are more than is buffered.
MANY = 30


def connected(url: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", httpx.URL(url).port or 0))
    return client


def deaf(url: str, path: str = GENERAL) -> socket.socket:
    """A client that asks for a stream, and buffers little of it."""
    client = connected(url)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def much(records: Records) -> str:
    """The address of a stream whose snapshot is more than is buffered for a client that does not read."""
    for _ in range(MANY):
        records.fail(records.processing(), "x" * LONGEST_ERROR)
    return f"{GENERAL}?since=2026-01-01"


@ONE_DATABASE
def test_a_stream_outlives_a_database_that_does_not_respond_and_misses_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    with ExitStack() as stack:
        listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload)]
        for listener in listeners:
            wait_for(listener, upload)
        upload = served.records.claim(served.records.retry(served.records.fail(upload)))
        failing = {"failures": 0}
        original = Database.reading

        def reading(self: Database) -> Any:
            if self is not served.records.database and failing["failures"] < 5:
                failing["failures"] += 1
                raise OperationalError("SELECT", {}, Exception("no response"))
            return original(self)

        monkeypatch.setattr(Database, "reading", reading)
        upload = served.records.fail(upload)
        for listener in listeners[2:]:
            wait_for(listener, upload)

        assert failing["failures"] > 0


@ONE_DATABASE
def test_every_stream_has_heartbeats(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.1)
    with Served(settings) as served:
        listen_for_heartbeats(served)


def listen_for_heartbeats(served: Served) -> None:
    upload = served.records.pending()
    for path in all_of(upload):
        with served.client.stream("GET", path) as answer:
            text = ""
            for part in answer.iter_text():
                text += part
                if re.search(r"(^|\n)event: ping\ndata: 20[^\n]+Z\n\n", text):
                    break

            assert "ping" in text


@ONE_DATABASE
def test_a_stream_ends_at_its_max_age(settings: Settings) -> None:
    with Served(settings.model_copy(update={"stream_max_age": 0.3})) as served:
        upload = served.records.pending()
        for path in all_of(upload):
            with served.stream(path) as listener:
                assert len(listener.rest()) == 1, path


@ONE_DATABASE
def test_a_client_that_reads_nothing_is_disconnected(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with Served(settings.model_copy(update={"stream_write_timeout": 0.3})) as served:
        is_disconnected(served, caplog)


def is_disconnected(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "webapp.live.delivery.write_timeout")
    upload = served.records.processing()
    with deaf(served.url) as client, served.stream(GENERAL) as listener:
        client.recv(1)

        def is_closed() -> bool:
            """Whether it was disconnected. If not, it is sent a few thousand bytes more than it reads."""
            listener.until_seq(served.records.fail(served.records.retry(upload), "x" * LONGEST_ERROR))
            return "its connection was closed" in caplog.text

        served.records.fail(upload)
        until(is_closed, "a word about the client in the log")
        missed = served.records.pending("missed.csv")
        listener.until_seq(missed)
        received = b""
        with suppress(ConnectionResetError):
            while data := client.recv(1 << 20):
                received += data

    assert b"missed.csv" not in received
    assert len(received) < 1_000_000
    assert "Traceback" not in caplog.text
    assert "ASGI" not in caplog.text


@ONE_DATABASE
def test_a_client_that_reads_again_receives_what_it_missed(settings: Settings) -> None:
    with (
        Served(settings) as served,
        deaf(served.url, much(served.records)) as client,
        served.stream(GENERAL) as listener,
    ):
        client.recv(1)
        listener.until_seq(served.records.pending("missed.csv"))
        received = b""
        while b"missed.csv" not in received:
            received += client.recv(1 << 20)

        assert received.count(b"x" * LONGEST_ERROR) == MANY


@ONE_DATABASE
def test_a_client_that_reads_nothing_is_disconnected_although_its_stream_is_at_its_end(settings: Settings) -> None:
    changed = {"stream_max_age": 0.3, "stream_write_timeout": 0.6}
    with Served(settings.model_copy(update=changed)) as served, deaf(served.url, much(served.records)) as client:
        assert client.recv(1)

        until(lambda: served.open == NOTHING, "the stream to leave nothing behind")


@ONE_DATABASE
def test_streams_that_are_dropped_leave_nothing_behind(settings: Settings) -> None:
    with Served(settings) as served:
        upload = served.records.pending()
        for is_begun in (False, True):
            with ExitStack() as stack:
                for path in all_of(upload) * 25:
                    client = stack.enter_context(connected(served.url))
                    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    if is_begun:
                        assert client.recv(1)

            until(lambda: served.open == NOTHING, "the streams to leave nothing behind")


@ONE_DATABASE
def test_streams_that_end_are_forgotten_without_the_garbage_collector(settings: Settings) -> None:
    """A thousand of them at once would keep it busy for a while, and nothing else would go on."""
    with Served(settings) as served:
        upload = served.records.pending()
        gc.collect()
        gc.disable()
        try:
            with ExitStack() as stack:
                listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload) * 5]
                for listener in listeners:
                    listener.next()
                assert alive() >= 20
            until(lambda: not alive(), "the streams to be forgotten")
        finally:
            gc.enable()


def alive() -> int:
    """Connections and responses of streams that are in memory."""
    return sum(type(each) in (Connection, StreamResponse) for each in gc.get_objects())


def test_clients_learn_that_they_have_to_reconnect_when_the_process_ends(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web, ExitStack() as stack:
        upload = records.processing()
        listeners = [stack.enter_context(stream(web.client, path)) for path in all_of(upload) for _ in range(5)]
        for listener in listeners:
            listener.next()
        web.process.terminate()
        for listener in listeners:
            rest = listener.rest()

            assert [event.event for event in rest] == ["bye"]
            assert rest[0].retry == response.SHUTDOWN_RETRY_MS

        assert web.process.wait(60) == 0
        assert "Traceback" not in web.log
        assert "ERROR" not in web.log


@ONE_DATABASE
def test_a_client_that_reads_nothing_does_not_delay_the_end_of_the_process(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web, deaf(web.url, much(records)) as client:
        assert client.recv(1)
        web.process.terminate()

        assert web.process.wait(60) == 0
        assert "timeout graceful shutdown exceeded" not in web.log


@ONE_DATABASE
def test_clients_of_a_killed_process_miss_nothing(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web:
        upload = records.processing()
        with stream(web.client, GENERAL) as general, stream(web.client, HISTORY) as history:
            ids = general.next().id, history.next().id
            web.kill()
            for listener in (general, history):
                with pytest.raises(httpx.TransportError):
                    listener.rest()
        upload = records.complete(upload)
        web.restart()
        with stream(web.client, GENERAL, ids[0]) as general, stream(web.client, HISTORY, ids[1]) as history:
            general.until_seq(upload)

            assert history.next().data.count(toast_of(upload)) == 1


MEGABYTE = b"1,2\n" * (1 << 18)


@ONE_DATABASE
def test_streams_go_on_while_a_large_file_arrives_slowly(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web, stream(web.client, GENERAL) as listener:
        upload = records.processing(rows=1000)

        def body() -> Iterator[bytes]:
            nonlocal upload
            for number in range(50):
                yield MEGABYTE
                if number % 10 == 5:
                    upload = records.advance(upload)
                    listener.until_seq(upload)

        answer = httpx.post(f"{web.url}/api/v1/uploads?filename=large.csv", content=body(), timeout=60)

        assert answer.json()["size"] == 50 * len(MEGABYTE)


@ONE_DATABASE
def test_streams_go_on_while_a_large_file_arrives_as_fast_as_it_can(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web, stream(web.client, GENERAL) as listener:
        upload = records.processing(rows=1_000_000)
        began, answers = threading.Event(), []

        def body() -> Iterator[bytes]:
            for _ in range(50):
                yield MEGABYTE
                began.set()

        def send() -> None:
            answers.append(httpx.post(f"{web.url}/api/v1/uploads?filename=large.csv", content=body(), timeout=60))

        sender = threading.Thread(target=send)
        sender.start()
        began.wait(30)
        heard = 0
        while sender.is_alive():
            upload = records.advance(upload)
            listener.until_seq(upload)
            heard += sender.is_alive()
        sender.join()

        assert answers[0].json()["size"] == 50 * len(MEGABYTE)
        assert heard > 0
