"""Events: their content, their channels, and their rate."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from redis import Redis
from redis.client import PubSub

from jobs import bulk_upload, changes, events, uploads
from jobs.database import Database
from jobs.events import Event, Publisher, Ticker
from jobs.import_options import ImportOptions
from jobs.lanes import Lane
from jobs.settings import Settings
from jobs.uploads import Processor, Status, Upload
from jobs.work import attempt
from tests.support.databases import ONE_DATABASE
from tests.support.files import store
from tests.support.services import RedisServer
from tests.support.waiting import until

UPLOAD = Upload(
    id=123,
    seq=17,
    attempt=1,
    attempts_without_progress=0,
    cuts=0,
    status=Status.PROCESSING,
    filename="Ventes été.csv",
    dataset_wanted="",
    dataset="sales",
    options=ImportOptions(),
    parent=None,
    duplicate_of=None,
    header=["a", "b"],
    stored_as="00ff",
    size=8,
    sha256="beef",
    next_byte=4,
    bytes_total=8,
    rows_total=400000,
    rows_processed=100000,
    rows_success=99012,
    rows_failed=988,
    rows_corrected=900,
    rows_failed_again=80,
    error=None,
    remedy=None,
    notes=[],
    warnings=[],
    lines_blank=0,
    worker="here:1",
    lease_until=None,
    counting_since=None,
    counting_from=0,
    created_at=datetime(2026, 1, 31, 8, tzinfo=UTC),
    started_at=None,
    finished_at=None,
    updated_at=datetime(2026, 1, 31, 9, tzinfo=UTC),
    processor=Processor.WORKER,
    progress_reported=None,
    silent_since=None,
    search_text="ventes été.csv\nsales",
    lane=Lane.QUICK,
    sender="192.0.2.1",
    account_id=None,
    token_id=None,
    uploaded_by=None,
)


def test_an_event_is_the_public_state_in_the_order_of_the_contract() -> None:
    payload = json.loads(Event.from_upload(UPLOAD).json())

    assert list(payload.items()) == [
        ("event", "bulk_upload_progress"),
        ("file_id", 123),
        ("seq", 17),
        ("attempt", 1),
        ("filename", "Ventes été.csv"),
        ("dataset", "sales"),
        ("status", "processing"),
        ("progress", 25),
        ("rows_total", 400000),
        ("rows_processed", 100000),
        ("rows_success", 99012),
        ("rows_failed", 988),
        ("error", None),
        ("timestamp", "2026-01-31T09:00:00.000000Z"),
        ("warnings", []),
        ("rows_corrected", 900),
        ("rows_open", 8),
        ("created_at", "2026-01-31T08:00:00.000000Z"),
        ("uploaded_by", None),
        ("phase", "import"),
        ("kind", "import"),
        ("hold", []),
        ("rows_unchanged", 0),
        ("undone_by", None),
    ]


def test_an_event_is_one_line_of_unescaped_text() -> None:
    text = Event.from_upload(replace(UPLOAD, filename="two\nlines ひ.csv")).json()

    assert "\n" not in text
    assert "ひ" in text


@pytest.mark.parametrize("form", [str, str.encode])
def test_a_serialised_event_is_parsed_to_the_same_event(form: Callable[[str], str | bytes]) -> None:
    event = Event.from_upload(UPLOAD)

    assert event == Event.parse(form(event.json()))


@pytest.mark.parametrize("data", ["", "{}", "[]", "17", '{"event": "bulk_upload_progress", "more": 1}', b"\xff"])
def test_data_that_is_not_an_event_is_rejected(data: str | bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        Event.parse(data)


@pytest.mark.parametrize(
    ("status", "name", "is_terminal"),
    [
        (Status.PENDING, "bulk_upload_progress", False),
        (Status.PROCESSING, "bulk_upload_progress", False),
        (Status.COMPLETED, "bulk_upload_complete", True),
        (Status.FAILED, "bulk_upload_error", True),
        (Status.CANCELLED, "bulk_upload_cancelled", True),
    ],
)
def test_each_status_has_its_event(status: Status, name: str, is_terminal: bool) -> None:
    event = Event.from_upload(replace(UPLOAD, status=status))

    assert (name, status.value, is_terminal) == (event.event, event.status, event.is_terminal)


def test_a_timestamp_is_in_utc_with_microseconds_for_any_time_zone() -> None:
    moment = datetime(2026, 1, 31, 14, 30, 0, 42, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert events.timestamp(moment) == "2026-01-31T09:00:00.000042Z"


def test_the_channels_have_the_names_of_the_contract() -> None:
    assert events.channels(123) == ("bulk_upload", "bulk_upload:123")
    assert events.channel_of(123) == "bulk_upload:123"


class Listener:
    """Two subscribers, each with a connection of its own: one on the general channel, one on an upload's."""

    def __init__(self, redis_url: str, upload_id: int) -> None:
        self._client = Redis.from_url(redis_url)
        self._subscribers = {name: self._subscribed(name) for name in ("bulk_upload", f"bulk_upload:{upload_id}")}

    def _subscribed(self, channel: str) -> PubSub:
        subscriber: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's
        subscriber.subscribe(channel)
        until(lambda: subscriber.get_message(timeout=1), f"the subscription of {channel}")
        return subscriber

    def heard(self) -> tuple[list[Event], list[Event]]:
        """The events on the general channel and on the upload's, in order.

        Redis hands out a channel's messages in order, so a mark of our own is behind everything told before it.
        """
        general, own = (self._up_to_mark(channel) for channel in self._subscribers)
        return general, own

    def _up_to_mark(self, channel: str) -> list[Event]:
        self._client.publish(channel, "mark")
        found = []
        while (data := self._next(channel)) != b"mark":
            found.append(Event.parse(data))
        return found

    def _next(self, channel: str) -> bytes:
        message = until(lambda: self._subscribers[channel].get_message(timeout=1), f"a message on {channel}")
        data: bytes = message["data"]
        return data

    def close(self) -> None:
        for subscriber in self._subscribers.values():
            subscriber.close()
        self._client.close()


@contextmanager
def listening(settings: Settings, upload_id: int) -> Iterator[Listener]:
    listener = Listener(settings.redis, upload_id)
    try:
        yield listener
    finally:
        listener.close()


def check_story(general: list[Event], own: list[Event], *, end: str) -> None:
    """Check the events of a run: equal on both channels, each newer than the one before, and one end."""
    assert general
    assert general == own
    seqs = [event.seq for event in general]
    assert sorted(set(seqs)) == seqs
    processed = [event.rows_processed for event in general]
    assert sorted(processed) == processed
    assert all(event.rows_processed == event.rows_success + event.rows_failed for event in general)
    assert [event.progress == 100 for event in general] == [event.status == "completed" for event in general]
    assert [False] * (len(general) - 1) + [True] == [event.is_terminal for event in general]
    assert end == general[-1].status


def imported(settings: Settings, database: Database, content: bytes) -> tuple[list[Event], list[Event]]:
    """The events on both channels of an upload while its job runs."""
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, content))
    with listening(settings, upload.id) as listener:
        bulk_upload.run(upload.id)
        return listener.heard()


@pytest.fixture
def _every_chunk_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, each with an event of its own."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256}).environment().items():
        monkeypatch.setenv(name, value)
    for room in (attempt, changes):
        monkeypatch.setattr(room, "Ticker", lambda callback, **_: Ticker(callback, 0.0))


ROWS = b"id,name\n" + b"".join(b"%d,Zo\xc3\xab\n" % n for n in range(200)) + b"1\n"


@pytest.mark.usefixtures("_every_chunk_is_told")
def test_a_subscriber_on_each_channel_gets_every_event_of_an_import_in_order(
    settings: Settings, database: Database
) -> None:
    general, own = imported(settings, database, ROWS)

    check_story(general, own, end="completed")
    assert len(general) > 7
    assert [event.event for event in general[:-1]] == ["bulk_upload_progress"] * (len(general) - 1)
    assert (general[0].status, general[0].rows_processed, general[0].rows_total) == ("processing", 0, None)
    assert (general[-1].event, general[-1].rows_success, general[-1].rows_failed) == ("bulk_upload_complete", 200, 1)


@pytest.mark.usefixtures("_every_chunk_is_told")
def test_a_subscriber_on_each_channel_gets_the_event_of_a_failure(settings: Settings, database: Database) -> None:
    general, own = imported(settings, database, b"%PDF-1.7")

    check_story(general, own, end="failed")
    assert general[-1].event == "bulk_upload_error"
    assert str(general[-1].error).startswith("This looks like a PDF document")


@pytest.mark.usefixtures("_every_chunk_is_told")
@ONE_DATABASE
@pytest.mark.parametrize("left", [0, 1])
def test_the_check_detects_a_job_that_publishes_on_one_channel_only(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    both = events.channels
    monkeypatch.setattr(events, "channels", lambda upload_id: both(upload_id)[left : left + 1])
    general, own = imported(settings, database, ROWS)

    assert [bool(general), bool(own)] == [left == 0, left == 1]
    with pytest.raises(AssertionError):
        check_story(general, own, end="completed")


@pytest.mark.usefixtures("_every_chunk_is_told")
@ONE_DATABASE
def test_the_log_names_both_channels_of_every_event(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jobs.events"):
        general, _ = imported(settings, database, ROWS)

    id_ = general[0].file_id
    assert [record.getMessage() for record in caplog.records if record.name == "jobs.events"] == [
        f"Published {event.event} seq {event.seq} for upload {id_} to bulk_upload, bulk_upload:{id_}."
        for event in general
    ]


@pytest.fixture
def redis_of_its_own() -> Iterator[RedisServer]:
    """A Redis server that a test may kill and freeze."""
    server = RedisServer()
    yield server
    server.thaw()
    server.remove()


@pytest.mark.parametrize("away", [RedisServer.kill, RedisServer.freeze])
@pytest.mark.timeout(20)
def test_a_publish_without_redis_returns_quickly_and_does_not_raise(
    redis_of_its_own: RedisServer, caplog: pytest.LogCaptureFixture, away: Callable[[RedisServer], None]
) -> None:
    publisher = Publisher(redis_of_its_own.url)
    publisher.publish(UPLOAD)
    away(redis_of_its_own)
    publisher.publish(UPLOAD)
    publisher.close()

    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(
        "Could not publish bulk_upload_progress seq 17 for upload 123 to bulk_upload, bulk_upload:123"
    )
    assert warning.endswith("open pages read it from the database.")


def test_a_publisher_reconnects_to_redis(redis_of_its_own: RedisServer) -> None:
    publisher = Publisher(redis_of_its_own.url)
    publisher.publish(UPLOAD)
    redis_of_its_own.kill()
    publisher.publish(UPLOAD)
    redis_of_its_own.start()
    listener = Listener(redis_of_its_own.url, UPLOAD.id)
    publisher.publish(UPLOAD)
    publisher.close()
    general, own = listener.heard()
    listener.close()

    assert [Event.from_upload(UPLOAD)] == general == own


def test_an_import_continues_while_redis_does_not_respond(
    settings: Settings,
    database: Database,
    redis_of_its_own: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings.model_copy(update={"redis_url": redis_of_its_own.url}).environment().items():
        monkeypatch.setenv(name, value)
    redis_of_its_own.kill()
    with database.transaction() as connection:
        upload = uploads.create(connection, store(settings, ROWS))
    bulk_upload.run(upload.id)
    redis_of_its_own.start()
    with database.reading() as connection:
        upload = uploads.get(connection, upload.id)

    assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 200, 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def ticker(clock: Clock, told: list[int]) -> Ticker[int]:
    return Ticker(told.append, 0.25, clock)


def test_a_ticker_passes_on_the_first_value_at_once(ticker: Ticker[int], told: list[int]) -> None:
    ticker.tick(1)

    assert told == [1]


def test_a_ticker_passes_on_the_latest_value_once_per_interval(
    ticker: Ticker[int], told: list[int], clock: Clock
) -> None:
    for value in range(100):
        ticker.tick(value)
        clock.now += 0.0625

    assert list(range(0, 100, 4)) == told


def test_a_flush_passes_on_the_pending_value(ticker: Ticker[int], told: list[int]) -> None:
    ticker.tick(1)
    ticker.tick(2)
    ticker.tick(3)
    ticker.flush()

    assert told == [1, 3]


def test_a_flush_without_a_pending_value_does_nothing(ticker: Ticker[int], told: list[int]) -> None:
    ticker.flush()
    ticker.tick(1)
    ticker.flush()
    ticker.flush()

    assert told == [1]


def test_a_flush_starts_a_new_interval(ticker: Ticker[int], told: list[int], clock: Clock) -> None:
    ticker.tick(1)
    ticker.tick(2)
    clock.now += 0.2
    ticker.flush()
    clock.now += 0.2
    ticker.tick(3)

    assert told == [1, 2]


def test_a_long_pause_does_not_lead_to_a_burst(ticker: Ticker[int], told: list[int], clock: Clock) -> None:
    ticker.tick(1)
    clock.now += 60
    ticker.tick(2)
    ticker.tick(3)

    assert told == [1, 2]


def test_progress_is_published_four_times_a_second(told: list[int], clock: Clock) -> None:
    ticker = Ticker(told.append, clock=clock)
    for value in range(9):
        ticker.tick(value)
        clock.now += 0.125

    assert told == [0, 2, 4, 6, 8]
