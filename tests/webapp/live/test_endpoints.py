"""The four event streams, on a real uvicorn."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy.exc import OperationalError

from jobs import uploads
from jobs.database import Database
from jobs.events import GENERAL_CHANNEL, Event, channel_of, timestamp
from jobs.failed_rows import BadRow, Reason
from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.services import RedisServer
from tests.support.serving import TIMEOUT, Records, Served, Stream, Web, stream
from tests.support.waiting import until
from webapp.live import endpoints as streams
from webapp.live import hub as hubs
from webapp.live.renderer import Renderer

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

GENERAL = "/api/v1/events"
HISTORY = "/uploads/events"


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """One whose hub listens and never reads again what changed: what a stream misses, it misses."""
    monkeypatch.setattr(hubs, "REREAD_WITHOUT_REDIS", 3600.0)
    with Served(settings) as served, Redis.from_url(settings.redis) as redis:
        until(lambda: redis.pubsub_numpat() == 1, "the hub to listen")
        yield served


def of(upload: Upload) -> str:
    """Address of an upload's JSON stream."""
    return f"/api/v1/uploads/{upload.id}/events"


def page_of(upload: Upload) -> str:
    """Address of the stream of an upload's page."""
    return f"/uploads/{upload.id}/events"


def all_of(upload: Upload) -> list[str]:
    return [GENERAL, of(upload), HISTORY, page_of(upload)]


def states(events: list[Any]) -> list[tuple[int, int]]:
    return [(event.json()["file_id"], event.json()["seq"]) for event in events]


def state(upload: Upload) -> tuple[int, int]:
    return upload.id, upload.seq


def toast_of(upload: Upload) -> str:
    return f'id="toast-{upload.id}-{upload.attempt}"'


def shows(upload: Upload) -> str:
    """What the markup of a state has, on every page."""
    return f'data-seq="{upload.seq}" data-status="{upload.status}"'


def wait_for(listener: Stream, upload: Upload) -> str:
    """All that a stream says up to this state, whatever kind it is."""
    if "/api/" in str(listener.response.url):
        return str(listener.until_seq(upload))
    return listener.until_text(shows(upload))


# Snapshots


def test_the_general_stream_begins_with_what_is_active(served: Served) -> None:
    records = served.records
    records.completed()
    active = [records.pending(), records.processing(), records.advance(records.processing())]
    for _ in range(2):
        with served.stream(GENERAL) as listener:
            assert sorted(states([listener.next() for _ in active])) == sorted(state(each) for each in active)


def test_an_uploads_stream_begins_with_its_state(served: Served) -> None:
    upload = served.records.advance(served.records.processing(), 7)
    for _ in range(2):
        with served.stream(of(upload)) as listener:
            assert listener.next().json() == vars(Event.of(upload))


def test_the_history_begins_with_its_table(served: Served) -> None:
    first, second = served.records.pending("june.csv"), served.records.completed("july.csv")
    for _ in range(2):
        with served.stream(HISTORY) as listener:
            table = listener.next()

            assert table.data.startswith('<hx-partial hx-target="#uploads" hx-swap="outerMorph"><section id="uploads"')
            assert re.findall(r'<tr id="upload-(\d+)"', table.data) == [str(second.id), str(first.id)]
            assert table.event == "message"


def test_an_uploads_page_begins_with_its_progress(served: Served) -> None:
    upload = served.records.processing()
    for _ in range(2):
        with served.stream(page_of(upload)) as listener:
            progress = listener.next()

            assert progress.data.startswith('<hx-partial hx-target="#upload" hx-swap="outerMorph"><section id="upload"')
            assert shows(upload) in progress.data
            assert progress.event == "message"


@ONE_DATABASE
def test_a_stream_with_nothing_to_say_answers_at_once(served: Served) -> None:
    with served.client.stream("GET", GENERAL) as answer:
        assert next(answer.iter_raw()) == b": nothing yet\n\n"
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"


@ONE_DATABASE
def test_what_changes_between_connect_and_snapshot_is_not_lost(served: Served) -> None:
    upload = served.records.processing(rows=1000)
    for path in all_of(upload) * 10:
        with served.stream(path) as listener:
            upload = served.records.advance(upload)
            wait_for(listener, upload)


@ONE_DATABASE
@pytest.mark.parametrize(
    ("number", "query", "call"), [(0, "active", 1), (1, "among", 2), (2, "page", 1), (3, "get", 2)]
)
def test_what_changes_while_the_snapshot_is_read_is_not_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch, number: int, query: str, call: int
) -> None:
    upload = served.records.processing()
    original, calls, changed = getattr(uploads, query), [], []

    def read(*words: Any, **more: Any) -> Any:
        found = original(*words, **more)
        calls.append(query)
        if len(calls) == call:
            changed.append(served.records.advance(upload))
        return found

    monkeypatch.setattr(uploads, query, read)
    with served.stream(all_of(upload)[number]) as listener:
        wait_for(listener, upload)
        wait_for(listener, changed[0])


# The JSON streams


@ONE_DATABASE
def test_each_event_has_its_name_its_id_and_its_whole_state(served: Served) -> None:
    records = served.records
    with served.stream(GENERAL) as listener:
        upload = records.pending()
        changes: list[tuple[Callable[[Upload], Upload], str]] = [
            (lambda upload: upload, "bulk_upload_progress"),
            (records.claim, "bulk_upload_progress"),
            (records.fail, "bulk_upload_error"),
            (records.retry, "bulk_upload_progress"),
            (records.cancel, "bulk_upload_cancelled"),
            (records.retry, "bulk_upload_progress"),
            (records.claim, "bulk_upload_progress"),
            (records.complete, "bulk_upload_complete"),
        ]
        for change, name in changes:
            upload = change(upload)
            event = listener.next()

            assert event.event == name
            assert event.id == timestamp(upload.updated_at)
            assert event.retry == 2000
            assert event.data == Event.of(upload).json()


@ONE_DATABASE
def test_lines_end_with_a_line_feed_on_every_stream(served: Served) -> None:
    upload = served.records.pending()
    for path in all_of(upload):
        with served.client.stream("GET", path) as answer:
            data = b""
            for part in answer.iter_raw():
                data += part
                if b"june.csv" in data and data.endswith(b"\n\n"):
                    break

            assert b"\r" not in data


def forge(redis: Any, upload: Upload, seq: int, *channels: str) -> None:
    """Publish a state by hand: a seq that no record has, on the channels given."""
    for channel in channels:
        redis.publish(channel, replace(Event.of(upload), seq=seq).json())


@ONE_DATABASE
def test_every_stream_listens_to_its_own_channel(served: Served) -> None:
    one, other = served.records.pending(), served.records.pending()
    with (
        Redis.from_url(served.settings.redis) as redis,
        served.stream(GENERAL) as general,
        served.stream(of(one)) as of_one,
        served.stream(of(other)) as of_other,
    ):
        general.until_seq(other)
        of_one.until_seq(one)
        of_other.until_seq(other)
        forge(redis, one, 50, GENERAL_CHANNEL)

        assert states([general.next()]) == [(one.id, 50)]

        forge(redis, one, 60, channel_of(one.id))

        assert states([of_one.next()]) == [(one.id, 60)]

        forge(redis, one, 70, GENERAL_CHANNEL, channel_of(one.id))

        assert states([general.next(), of_one.next()]) == [(one.id, 70)] * 2

        forge(redis, other, 80, channel_of(other.id))

        assert states([of_other.next()]) == [(other.id, 80)]


@ONE_DATABASE
def test_the_general_stream_sees_every_upload_and_anothers_stream_only_its_own(served: Served) -> None:
    records = served.records
    mine, others = records.processing(), [records.processing() for _ in range(3)]
    with served.stream(GENERAL) as general, served.stream(of(mine)) as own:
        general.until_seq(others[-1])
        for _ in range(3):
            others = [records.advance(other) for other in others]
        mine = records.advance(mine)
        heard = states(general.until_seq(mine))

        assert set(heard) >= {state(other) for other in others}
        assert {upload_id for upload_id, _ in states(own.until_seq(mine))} == {mine.id}


@ONE_DATABASE
def test_what_comes_twice_or_late_is_dropped(served: Served) -> None:
    upload = served.records.pending()
    both = GENERAL_CHANNEL, channel_of(upload.id)
    with (
        Redis.from_url(served.settings.redis) as redis,
        served.stream(GENERAL) as general,
        served.stream(of(upload)) as own,
    ):
        general.until_seq(upload)
        own.until_seq(upload)
        forge(redis, upload, 50, *both)

        assert states([general.next(), own.next()]) == [(upload.id, 50)] * 2

        for seq in (50, 30, 1, 50, 49):
            forge(redis, upload, seq, *both)
            later = served.records.pending()

            assert states(general.until_seq(later)) == [state(later)]

        forge(redis, upload, 51, *both)

        assert states([own.next()]) == [(upload.id, 51)]


@ONE_DATABASE
def test_an_uploads_stream_ends_with_it_and_need_not_come_back(served: Served) -> None:
    for end in (served.records.complete, served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(of(upload)) as listener:
            listener.next()
            upload = end(upload)
            rest = listener.rest()

            assert states(rest) == [state(upload)]

        with served.stream(of(upload), rest[-1].id) as again:
            assert again.response.status_code == 204
            assert again.response.read() == b""


@ONE_DATABASE
def test_an_upload_that_is_over_is_told_once_and_that_is_all(served: Served) -> None:
    before = served.records.processing()
    upload = served.records.fail(before)
    for last_event_id in (None, timestamp(before.updated_at), "", "nonsense"):
        with served.stream(of(upload), last_event_id) as listener:
            assert states(listener.rest()) == [state(upload)]

    retried = served.records.retry(upload)
    with served.stream(of(upload), timestamp(upload.updated_at)) as listener:
        assert states([listener.next()]) == [state(retried)]


def test_who_comes_back_is_told_of_all_that_changed_meanwhile(served: Served) -> None:
    records = served.records
    with served.stream(GENERAL) as listener:
        gone, staying = records.processing("gone.csv"), records.processing("staying.csv")
        last_event_id = listener.until_seq(staying)[-1].id
    ended, new = records.fail(gone), records.completed("new.csv")
    staying = records.advance(staying)
    expected = {state(each) for each in (ended, new, staying)}
    with served.stream(GENERAL, last_event_id) as listener:
        assert set(states([listener.next() for _ in expected])) == expected
    with served.stream(f"{GENERAL}?since={last_event_id}") as listener:
        assert set(states([listener.next() for _ in expected])) == expected
    with served.stream(f"{GENERAL}?since=2020-01-01T00:00:00.000000Z", timestamp(staying.updated_at)) as listener:
        replayed = [listener.next() for _ in expected]

        assert set(states(replayed)) == expected
        assert [event.id for event in replayed] == sorted(event.id for event in replayed)


def test_an_id_reaches_fifteen_seconds_back_for_what_was_committed_late_or_never_published(served: Served) -> None:
    records = served.records
    upload = records.completed()
    for seconds, expected in ((14, [state(upload)]), (16, [])):
        moment = timestamp(upload.updated_at + timedelta(seconds=seconds))
        with served.stream(GENERAL, moment) as listener:
            sentinel = records.pending()
            heard = states(listener.until_seq(sentinel))

            assert [each for each in heard if each[0] == upload.id] == expected


NO_IDS = ["", "17", "yesterday", "2026-01-31", "2019-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z", "x" * 9999]


@ONE_DATABASE
def test_an_id_that_is_none_means_the_plain_snapshot(served: Served) -> None:
    served.records.completed()
    active = served.records.pending()
    for last_event_id in NO_IDS:
        with served.stream(GENERAL, last_event_id) as listener:
            assert states([listener.next()]) == [state(active)], last_event_id


# Filters


@ONE_DATABASE
def test_a_stream_with_a_filter_tells_what_fits(served: Served) -> None:
    records = served.records
    paths = [f"{GENERAL}?dataset=sales", f"{GENERAL}?status=failed,cancelled", f"{GENERAL}?dataset=sales&status=failed"]
    with ExitStack() as stack:
        listeners = [stack.enter_context(served.stream(path)) for path in paths]
        failed = records.fail(records.processing(dataset="sales"))
        records.complete(records.processing(dataset="other"))
        cancelled = records.cancel(records.processing(dataset="other"))
        sentinel = records.fail(records.processing(dataset="sales"))
        heard = [states(listener.until_seq(sentinel)) for listener in listeners]

    assert state(failed) in heard[0]
    assert state(cancelled) not in heard[0]
    assert heard[1] == [state(failed), state(cancelled), state(sentinel)]
    assert heard[2] == [state(failed), state(sentinel)]


@ONE_DATABASE
def test_an_upload_that_fits_the_filter_no_more_is_told_once(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(f"{GENERAL}?status=processing") as listener:
        assert states([listener.next()]) == [state(upload)]

        ended = records.complete(upload)
        records.pending()
        sentinel = records.processing()
        heard = states(listener.until_seq(sentinel))

        assert heard[0] == state(ended)
        assert {upload_id for upload_id, _ in heard[1:]} == {sentinel.id}


@ONE_DATABASE
def test_who_comes_back_with_a_filter_learns_what_fits_no_more(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(f"{GENERAL}?status=processing") as listener:
        last_event_id = listener.next().id
    ended = records.complete(upload)
    with served.stream(f"{GENERAL}?status=processing", last_event_id) as listener:
        assert states([listener.next()]) == [state(ended)]
    with served.stream(f"{GENERAL}?status=processing&since={last_event_id}") as listener:
        sentinel = records.processing()

        assert {upload_id for upload_id, _ in states(listener.until_seq(sentinel))} == {sentinel.id}


@ONE_DATABASE
def test_a_stream_of_several_uploads_begins_with_their_states_and_tells_of_no_other(served: Served) -> None:
    records = served.records
    over, running, other = records.completed(), records.processing(), records.processing()
    for query in (f"upload={over.id}&upload={running.id}", f"upload={over.id},{running.id}"):
        with served.stream(f"{GENERAL}?{query}") as listener:
            assert states([listener.next(), listener.next()]) == [state(over), state(running)]

            other, running = records.advance(other), records.advance(running)

            assert states([listener.next()]) == [state(running)]


@ONE_DATABASE
@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("status=done", 422, "pending, processing, completed"),
        ("upload=one", 422, "number"),
        ("dataset=", 422, "leave it out"),
        ("since=yesterday", 422, "2026-01-31T09:00:00Z"),
        ("since=", 422, "2026-01-31T09:00:00Z"),
        ("since=0001-01-01T00:00:00%2B14:00", 422, "2020"),
        ("upload=99", 404, "#99"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_what_to_do(
    served: Served, query: str, status: int, word: str
) -> None:
    answer = served.client.get(f"{GENERAL}?{query}")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


@ONE_DATABASE
def test_a_moment_may_be_written_as_people_write_it(served: Served) -> None:
    upload = served.records.completed()
    for since in ("2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T02:00:00%2B02:00", "2020-01-01T02:00:00+02:00"):
        with served.stream(f"{GENERAL}?since={since}") as listener:
            assert states([listener.next()]) == [state(upload)], since


# The history's stream


@ONE_DATABASE
def test_the_history_shows_its_own_filter_and_page(served: Served) -> None:
    records = served.records
    shown = [records.fail(records.processing(f"may {n}.csv")) for n in range(3)]
    records.pending("may.csv")
    records.fail(records.processing("june.csv"))
    with served.stream(f"{HISTORY}?q=may&status=failed&cursor={shown[1].id}") as listener:
        table = listener.next().data

        assert re.findall(r'<tr id="upload-(\d+)"', table) == [str(shown[1].id), str(shown[0].id)]
        assert f'href="/uploads?q=may&amp;status=failed&amp;cursor={shown[2].id}"' in table


def test_rows_follow_as_uploads_change_and_appear(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(HISTORY) as listener:
        listener.next()
        upload = records.advance(upload)
        row = listener.until_text(shows(upload))
        new = records.pending("new.csv")
        appeared = listener.until_text(shows(new))

        for text, each in ((row, upload), (appeared, new)):
            insertion = f'<hx-upsert hx-target="#upload-rows" key="data-key" sort="desc"><tr id="upload-{each.id}"'
            assert insertion in text
            assert f'data-key="{each.id}"' in text
            assert "toast" not in text


@ONE_DATABASE
def test_a_page_with_a_filter_is_changed_only_in_place(served: Served) -> None:
    upload = served.records.processing()
    for query in ("q=june", "status=processing", "cursor=1"):
        with served.stream(f"{HISTORY}?{query}") as listener:
            listener.next()
            upload = served.records.advance(upload)
            new = served.records.pending()
            text = listener.until_text(f"#upload-{new.id}")
            update = f'<hx-partial hx-target="#upload-{upload.id}" hx-swap="outerMorph"><tr id="upload-{upload.id}"'

            assert "hx-upsert" not in text
            assert update in text


def fitting(listener: Stream) -> dict[str, bool]:
    """What a page with a filter is told next of which uploads belong to it."""
    found: dict[str, bool] = listener.until(lambda event: event.event == "fitting")[-1].json()
    return found


@ONE_DATABASE
def test_a_page_with_a_filter_is_told_which_uploads_belong_to_it(served: Served) -> None:
    records = served.records
    upload = records.processing("june.csv")
    with served.stream(f"{HISTORY}?status=processing&q=june.c") as listener:
        listener.next()
        for change, expected in (
            (records.advance, True),
            (records.fail, False),
            (records.retry, False),
            (records.claim, True),
        ):
            upload = change(upload)

            assert fitting(listener) == {str(upload.id): expected}

        other = records.pending("may.csv")

        assert fitting(listener) == {str(other.id): False}


def is_told(upload: Upload) -> Callable[[Any], bool]:
    return lambda event: shows(upload) in event.data


@ONE_DATABASE
def test_a_page_without_a_filter_needs_not_be_told_what_belongs_to_it(served: Served) -> None:
    upload = served.records.processing()
    for query in ("", "?cursor=9"):
        with served.stream(f"{HISTORY}{query}") as listener:
            listener.next()
            upload = served.records.advance(upload)
            messages = listener.until(is_told(upload))

            assert {event.event for event in messages} == {"message"}


def count_toasts(served: Served, listener: Stream, upload: Upload) -> int:
    """How often a stream tells of an upload's end, which others publish again and again, while uploads come."""
    text = ""
    for _ in range(3):
        text += listener.until_text(f'id="upload-{served.records.pending().id}"')
        served.records.publisher.publish(upload)
    text += listener.until_text(f'id="upload-{served.records.pending().id}"')
    return text.count(toast_of(upload))


@ONE_DATABASE
def test_an_upload_that_ends_is_announced_once(served: Served) -> None:
    for end in (served.records.complete, served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(HISTORY) as listener:
            listener.next()

            assert count_toasts(served, listener, end(upload)) == 1


@ONE_DATABASE
def test_each_end_of_an_upload_is_announced(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(HISTORY) as listener:
        listener.next()
        first = records.fail(upload)
        assert count_toasts(served, listener, first) == 1

        second = records.complete(records.claim(records.retry(first)))
        assert count_toasts(served, listener, second) == 1


def test_what_ended_before_is_not_announced(served: Served) -> None:
    upload = served.records.completed()
    address = re.search(r'hx-sse:connect="([^"]+)"', served.client.get("/uploads").text)
    assert address is not None

    for path in (HISTORY, address[1].replace("&amp;", "&")):
        with served.stream(path) as listener:
            assert toast_of(upload) not in listener.next().data
            assert count_toasts(served, listener, upload) == 0


def test_what_ended_between_page_and_stream_is_announced_once(served: Served) -> None:
    upload = served.records.processing()
    address = re.search(r'hx-sse:connect="([^"]+)"', served.client.get("/uploads").text)
    assert address is not None

    upload = served.records.complete(upload)
    with served.stream(address[1].replace("&amp;", "&")) as listener:
        assert toast_of(upload) in listener.next().data
        assert count_toasts(served, listener, upload) == 0


def test_what_ended_while_the_page_was_away_is_announced_once(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(HISTORY) as listener:
        last_event_id = listener.next().id
    upload = served.records.complete(upload)
    with served.stream(f"{HISTORY}?since=2020-01-01T00:00:00.000000Z", last_event_id) as listener:
        snapshot = listener.next()

        assert snapshot.data.count(toast_of(upload)) == 1
        assert count_toasts(served, listener, upload) == 0

    with served.stream(HISTORY, snapshot.id) as listener:
        assert toast_of(upload) not in listener.next().data


@ONE_DATABASE
def test_an_end_that_was_committed_late_is_announced_though_something_newer_was_in_the_snapshot(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    monkeypatch.setattr(uploads, "newest_change", lambda _: datetime.now(UTC) + timedelta(minutes=1))
    with served.stream(HISTORY) as listener:
        assert shows(upload) in listener.next().data
        upload = served.records.complete(upload)
        assert count_toasts(served, listener, upload) == 1


@ONE_DATABASE
def test_what_ends_between_the_snapshots_reads_is_announced_once_and_shown(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    original, ended = uploads.ended_since, []

    def read(*words: Any, **more: Any) -> Any:
        ended.append(served.records.complete(upload))
        return original(*words, **more)

    monkeypatch.setattr(uploads, "ended_since", read)
    with served.stream(HISTORY, timestamp(upload.updated_at)) as listener:
        assert listener.next().data.count(toast_of(upload)) == 1
        assert toast_of(upload) not in listener.until_text(shows(ended[0]))
        assert count_toasts(served, listener, ended[0]) == 0


@ONE_DATABASE
def test_of_many_that_ended_while_the_page_was_away_a_few_are_announced(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.stream(HISTORY) as listener:
        served.records.pending()
        last_event_id = listener.until_text('id="upload-1"') and timestamp(served.records.all()[0].updated_at)
    ended = [served.records.completed(f"{n}.csv") for n in range(8)]
    with served.stream(HISTORY, last_event_id) as listener:
        text = listener.next().data
        for upload in ended:
            served.records.publisher.publish(upload)  # as the hub does that reads again what changed lately
        text += listener.until_text(shows(served.records.pending()))

        assert [toast_of(upload) in text for upload in ended] == [False] * 3 + [True] * 5


# The stream of an upload's page


def test_an_uploads_page_follows_it_to_its_end_and_lets_go(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        listener.next()
        upload = served.records.advance(upload, 7, [BadRow(3, ["x"], [Reason("a", "is no number")])])
        text = listener.until_text(shows(upload))

        assert "is no number" in text
        assert streams.FINISHED not in text

        upload = served.records.complete(upload)
        rest = "".join(event.data for event in listener.rest())

        assert rest.count(toast_of(upload)) == 1
        assert rest.endswith('<hx-partial hx-target="#live" hx-swap="delete"></hx-partial>')
        assert rest.count(shows(upload)) == 1


@ONE_DATABASE
def test_the_page_of_a_completed_upload_is_let_go_at_once(served: Served) -> None:
    upload = served.records.completed()
    with served.stream(page_of(upload)) as listener:
        rest = listener.rest()

        assert listener.response.status_code == 200
        assert len(rest) == 1
        assert shows(upload) in rest[0].data
        assert rest[0].data.endswith(streams.FINISHED)
        assert toast_of(upload) not in rest[0].data


@ONE_DATABASE
def test_the_page_of_an_upload_that_can_be_tried_again_stays_connected(served: Served) -> None:
    for end in (served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(page_of(upload)) as listener:
            listener.next()
            upload = end(upload)
            text = listener.until_text(shows(upload))

            assert text.count(toast_of(upload)) == 1
            assert "Try again" in text

            upload = served.records.retry(upload)
            text = listener.until_text(shows(upload))

            assert "toast" not in text
            assert "Try again" not in text

            served.records.complete(served.records.claim(upload))

            assert listener.rest()[-1].data.endswith(streams.FINISHED)


@ONE_DATABASE
def test_an_uploads_page_that_was_away_is_told_of_the_end_once(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        last_event_id = listener.next().id
    upload = served.records.fail(upload)
    with served.stream(page_of(upload), last_event_id) as listener:
        event = listener.next()

        assert event.data.count(toast_of(upload)) == 1

    with served.stream(page_of(upload), event.id) as listener:
        assert toast_of(upload) not in listener.next().data


@ONE_DATABASE
def test_an_uploads_page_is_not_told_of_others(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        listener.next()
        served.records.completed("other.csv")
        upload = served.records.advance(upload)

        assert "other.csv" not in listener.until_text(shows(upload))


# All streams


@ONE_DATABASE
def test_a_stream_that_is_asked_for_its_head_ends(served: Served) -> None:
    upload = served.records.pending()
    for path in all_of(upload):
        answer = served.client.head(path)

        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@ONE_DATABASE
def test_a_stream_that_is_asked_for_its_head_opens_none(settings: Settings) -> None:
    """Nor does it need a seat."""
    settings = settings.model_copy(update={"streams": 4})
    with Served(settings) as served, ExitStack() as stack:
        upload = served.records.pending()
        listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload)]
        for path in all_of(upload) * 3:
            assert served.client.head(path).status_code == 200
        for listener in listeners:
            listener.next()


@ONE_DATABASE
def test_more_streams_than_may_be_open_are_refused_without_a_page(settings: Settings) -> None:
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
            assert "127.0.0.1, holds 4 event streams" in answer.text
            expected = "application/problem+json" if "/api/" in path else "text/plain; charset=utf-8"
            assert answer.headers["content-type"] == expected

        stack.close()
        until(lambda: served.client.head("/healthz") and is_open(served, GENERAL), "a seat to be free")


def is_open(served: Served, path: str) -> bool:
    with served.client.stream("GET", path) as answer:
        return answer.status_code == 200


@ONE_DATABASE
def test_a_crowd_that_connects_at_once_is_served_from_few_queries(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_stream_outlives_a_database_that_is_away_and_misses_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    with ExitStack() as stack:
        listeners = [stack.enter_context(served.stream(path)) for path in all_of(upload)]
        for listener in listeners:
            wait_for(listener, upload)
        upload = served.records.claim(served.records.retry(served.records.fail(upload)))
        away = {"failures": 0}
        original = Database.reading

        def reading(self: Database) -> Any:
            if self is not served.records.database and away["failures"] < 5:
                away["failures"] += 1
                raise OperationalError("SELECT", {}, Exception("away"))
            return original(self)

        monkeypatch.setattr(Database, "reading", reading)
        upload = served.records.fail(upload)
        for listener in listeners[2:]:
            wait_for(listener, upload)

        assert away["failures"] > 0


@ONE_DATABASE
def test_a_row_that_cannot_be_shown_keeps_no_other_from_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = Renderer.row

    def row(self: Renderer, upload: Upload, *, insert: bool) -> str:
        if upload.filename == "cursed.csv":
            raise ZeroDivisionError
        return original(self, upload, insert=insert)

    monkeypatch.setattr(Renderer, "row", row)
    with served.stream(HISTORY) as listener:
        listener.next()
        cursed = served.records.pending("cursed.csv")
        fine = served.records.pending("fine.csv")

        assert shows(fine) in listener.until_text("fine.csv")
        assert f"The row of upload {cursed.id} cannot be shown" in caplog.text


@ONE_DATABASE
def test_silence_is_told_from_calm_by_pings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "HEARTBEAT_INTERVAL", 0.1)
    with Served(settings) as served:
        listen_for_pings(served)


def listen_for_pings(served: Served) -> None:
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
def test_a_connection_does_not_live_for_ever(settings: Settings) -> None:
    with Served(settings.model_copy(update={"stream_max_age": 0.3})) as served:
        upload = served.records.pending()
        for path in all_of(upload):
            with served.stream(path) as listener:
                assert len(listener.rest()) == 1, path


@ONE_DATABASE
def test_a_client_that_does_not_read_is_cut(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with Served(settings.model_copy(update={"stream_write_timeout": 0.3})) as served:
        is_cut(served, caplog)


def is_cut(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "webapp.live.feed")
    upload = served.records.processing()
    with socket.socket() as client, served.stream(GENERAL) as listener:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", httpx.URL(served.url).port or 0))
        client.sendall(f"GET {GENERAL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.recv(1)
        listener.until_seq(served.records.fail(upload, "x" * 10_000_000))
        listener.until_seq(served.records.pending())
        until(lambda: "was cut" in caplog.text, "a word about the client in the log")
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


def test_clients_are_told_to_come_back_when_the_process_ends(settings: Settings) -> None:
    with Records(settings) as records, Web(settings) as web, ExitStack() as stack:
        upload = records.processing()
        listeners = [stack.enter_context(stream(web.client, path)) for path in all_of(upload) for _ in range(5)]
        for listener in listeners:
            listener.next()
        web.process.terminate()
        for listener in listeners:
            rest = listener.rest()

            assert [event.event for event in rest] == ["bye"]
            assert rest[0].retry == streams.RETURN_AFTER

        assert web.process.wait(20) == 0
        assert "Traceback" not in web.log
        assert "ERROR" not in web.log


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


MEGABYTE = b"1,2\n" * (1 << 18)


@ONE_DATABASE
def test_streams_go_on_while_a_large_file_arrives_haltingly(settings: Settings) -> None:
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
