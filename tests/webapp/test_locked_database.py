"""Requests while the database is locked against writes: reads go on, and changes are answered in time."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import sqlalchemy as sa

from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served
from tests.support.waiting import until
from webapp import app, threads
from webapp.threads import ThreadLimit

#: Requests at once; more than the process has threads for.
REQUESTS = 60
#: What reads only.
PATHS = ["/uploads", "/uploads/1", "/datasets", "/datasets/sales", "/datasets/sales/rows.csv", "/healthz", "/readyz"]


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Nothing can be written to the database, as if a worker were frozen inside a transaction."""
    if settings.database.startswith("sqlite"):
        connection = sqlite3.connect(settings.database.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.close()
        return
    engine = sa.create_engine(settings.database)
    with engine.connect() as session:
        session.execute(sa.text("LOCK TABLE uploads IN SHARE MODE"))
        yield
    engine.dispose()


@contextmanager
def turn_taken(settings: Settings) -> Iterator[None]:
    """Another process has the turn to write to SQLite, and does not give it back."""
    with Records(settings) as records, records.database.transaction():
        yield


@contextmanager
def posted(served: Served) -> Iterator[list["Future[httpx.Response]"]]:
    """Many uploads at once."""
    limits = httpx.Limits(max_connections=REQUESTS)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(REQUESTS) as pool:
        yield [
            pool.submit(client.post, f"{served.url}/api/v1/uploads?filename={number}.csv", content=b"a,b\n1,2\n")
            for number in range(REQUESTS)
        ]


def test_pages_and_downloads_are_served_while_every_upload_waits(served: Served) -> None:
    served.records.dataset("sales", [(1, "Ann", True)])
    with ExitStack() as lock:
        lock.enter_context(locked(served.settings))
        with posted(served) as posts:
            until(lambda: len(served.stored) >= REQUESTS / 2, "files to arrive")
            for path in PATHS:
                assert served.client.get(path).status_code == 200, path
            assert not any(post.done() for post in posts)
            lock.close()

    assert {post.result().status_code for post in posts} == {201}


@pytest.fixture
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The application, which waits for a tenth of a second."""
    monkeypatch.setattr(app, "LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr(threads, "writes", ThreadLimit("impatient", 8, patience=0.1))
    with Served(settings) as served:
        yield served


def check_busy(answer: httpx.Response) -> None:
    problem = answer.json()
    assert answer.status_code == problem["status"] == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert problem["title"] in ("Server busy", "Database busy", "Database unavailable")
    assert "try again" in problem["detail"].lower()


def test_what_waits_too_long_for_the_lock_is_told_to_try_again(impatient: Served) -> None:
    with locked(impatient.settings), posted(impatient) as posts:
        for post in posts:
            check_busy(post.result())

    assert impatient.post("a,b\n1,2\n").status_code == 201


@ONE_DATABASE
def test_what_waits_too_long_for_its_turn_is_told_to_try_again(impatient: Served) -> None:
    with turn_taken(impatient.settings), posted(impatient) as posts:
        for post in posts:
            check_busy(post.result())

        assert impatient.client.get("/uploads").status_code == 200
        assert impatient.stored == []

    assert impatient.post("a,b\n1,2\n").status_code == 201
