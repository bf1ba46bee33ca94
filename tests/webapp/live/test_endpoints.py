"""The routes of the streams, on a real uvicorn."""

import socket
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from redis import Redis

from jobs import uploads
from jobs.events import GENERAL_CHANNEL
from jobs.settings import Settings
from tests.support.clients import TIMEOUT
from tests.support.databases import ONE_DATABASE
from tests.support.services import RedisServer
from tests.support.serving import Records, Served, stream
from tests.support.streams import GENERAL, HISTORY, all_of, wait_for
from tests.support.waiting import until


@ONE_DATABASE
def test_a_head_request_ends(served: Served) -> None:
    upload = served.records.pending()
    for path in all_of(upload):
        answer = served.client.head(path)

        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@ONE_DATABASE
def test_a_head_request_opens_no_stream(settings: Settings) -> None:
    """Nor does it count towards the limit."""
    settings = settings.model_copy(update={"streams": 4})
    with Served(settings) as served, ExitStack() as stack:
        upload = served.records.pending()
        listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload)]
        for path in all_of(upload) * 3:
            assert served.client.head(path).status_code == 200
        for listener in listeners:
            listener.next()


@ONE_DATABASE
def test_streams_beyond_the_limit_are_refused_in_plain_text_or_json(settings: Settings) -> None:
    settings = settings.model_copy(update={"streams": 9, "streams_per_address": 4})
    with Served(settings) as served, ExitStack() as stack:
        upload = served.records.pending()
        listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload)]
        for listener in listeners:
            listener.next()
        for path in all_of(upload):
            answer = served.client.get(path, headers={"Accept": "text/html, text/event-stream"})

            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "127.0.0.1, has reached its limit of 4 open event streams" in answer.text
            expected = "application/problem+json" if "/api/" in path else "text/plain; charset=utf-8"
            assert answer.headers["content-type"] == expected

        stack.close()
        until(lambda: served.client.head("/healthz") and is_open(served, GENERAL), "a stream to end")


def is_open(served: Served, path: str) -> bool:
    with served.client.stream("GET", path) as answer:
        return answer.status_code == 200


@ONE_DATABASE
def test_many_clients_that_connect_at_once_share_their_queries(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        served.records.processing()
    queries: list[str] = []
    for name in ("active", "changed_since", "newest_change", "page", "ended_since"):
        original = getattr(uploads, name)

        def counted(*words: Any, original: Any = original, name: str = name, **more: Any) -> Any:
            queries.append(name)
            return original(*words, **more)

        monkeypatch.setattr(uploads, name, counted)

    clients, since = 150, "2026-01-01T00:00:00.000000Z"
    request = "GET {} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: " + since + "\r\n\r\n"
    with ExitStack() as stack:
        connections = []
        for number in range(clients):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0)))
            connection.settimeout(TIMEOUT)
            connection.sendall(request.format((GENERAL, HISTORY)[number % 2]).encode())
            connections.append(connection)
        for connection in connections:
            received = b""
            while b"june.csv" not in received:
                received += connection.recv(1 << 16)

    assert len(queries) < clients


@ONE_DATABASE
def test_a_process_has_one_subscription_however_many_streams_are_open(settings: Settings) -> None:
    redis_server = RedisServer()
    settings = settings.model_copy(update={"redis_url": redis_server.url})
    try:
        with Records(settings) as records, Served(settings) as served, ExitStack() as stack:
            upload = records.processing()
            listeners = [stack.enter_context(stream(served.client, path)) for path in all_of(upload) for _ in range(5)]
            for listener in listeners:
                listener.next()
            with Redis.from_url(settings.redis) as redis:
                subscribers = [client for client in redis.client_list() if int(client["sub"]) or int(client["psub"])]

                assert redis.pubsub_numsub(GENERAL_CHANNEL) == [(GENERAL_CHANNEL.encode(), 1)]
                assert redis.pubsub_numpat() == 1
                assert len(subscribers) == 1

            upload = records.advance(upload)
            for listener in listeners:
                wait_for(listener, upload)
    finally:
        redis_server.remove()
