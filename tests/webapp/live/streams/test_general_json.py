"""The JSON stream of the general channel, on a real uvicorn."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import pytest

from jobs.events import Event, timestamp
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.streams import GENERAL, json_of, state, states


def test_it_begins_with_the_active_uploads(served: Served) -> None:
    records = served.records
    records.completed()
    active = [records.pending(), records.processing(), records.advance(records.processing())]
    for _ in range(2):
        with served.stream(GENERAL) as listener:
            assert sorted(states([listener.next() for _ in active])) == sorted(state(each) for each in active)


@ONE_DATABASE
def test_a_stream_without_any_message_yet_responds_at_once(served: Served) -> None:
    with served.client.stream("GET", GENERAL) as answer:
        assert next(answer.iter_raw()) == b": nothing yet\n\n"
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"


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
            assert event.data == Event.from_upload(upload).json()


@ONE_DATABASE
def test_it_has_every_upload_and_the_stream_of_an_upload_only_its_own(served: Served) -> None:
    records = served.records
    mine, others = records.processing(), [records.processing() for _ in range(3)]
    with served.stream(GENERAL) as general, served.stream(json_of(mine)) as own:
        general.until_seq(others[-1])
        for _ in range(3):
            others = [records.advance(other) for other in others]
        mine = records.advance(mine)
        received = states(general.until_seq(mine))

        assert set(received) >= {state(other) for other in others}
        assert {upload_id for upload_id, _ in states(own.until_seq(mine))} == {mine.id}


def test_a_reconnecting_client_receives_everything_that_changed_meanwhile(served: Served) -> None:
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


def test_an_id_reaches_fifteen_seconds_back_for_late_commits_and_lost_publishes(served: Served) -> None:
    records = served.records
    upload = records.completed()
    for seconds, expected in ((14, [state(upload)]), (16, [])):
        moment = timestamp(upload.updated_at + timedelta(seconds=seconds))
        with served.stream(GENERAL, moment) as listener:
            sentinel = records.pending()
            received = states(listener.until_seq(sentinel))

            assert [each for each in received if each[0] == upload.id] == expected


NO_IDS = ["", "17", "yesterday", "2026-01-31", "2019-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z", "x" * 9999]


@ONE_DATABASE
def test_an_invalid_id_means_the_plain_snapshot(served: Served) -> None:
    served.records.completed()
    active = served.records.pending()
    for last_event_id in NO_IDS:
        with served.stream(GENERAL, last_event_id) as listener:
            assert states([listener.next()]) == [state(active)], last_event_id


@ONE_DATABASE
def test_a_stream_with_a_filter_has_the_events_that_match(served: Served) -> None:
    records = served.records
    paths = [f"{GENERAL}?dataset=sales", f"{GENERAL}?status=failed,cancelled", f"{GENERAL}?dataset=sales&status=failed"]
    with ExitStack() as stack:
        listeners = [stack.enter_context(served.stream(path)) for path in paths]
        failed = records.fail(records.processing(dataset="sales"))
        records.complete(records.processing(dataset="other"))
        cancelled = records.cancel(records.processing(dataset="other"))
        sentinel = records.fail(records.processing(dataset="sales"))
        received = [states(listener.until_seq(sentinel)) for listener in listeners]

    assert state(failed) in received[0]
    assert state(cancelled) not in received[0]
    assert received[1] == [state(failed), state(cancelled), state(sentinel)]
    assert received[2] == [state(failed), state(sentinel)]


@ONE_DATABASE
def test_an_upload_that_stops_matching_is_sent_once_more(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(f"{GENERAL}?status=processing") as listener:
        assert states([listener.next()]) == [state(upload)]

        ended = records.complete(upload)
        records.pending()
        sentinel = records.processing()
        received = states(listener.until_seq(sentinel))

        assert received[0] == state(ended)
        assert {upload_id for upload_id, _ in received[1:]} == {sentinel.id}


@ONE_DATABASE
def test_a_reconnecting_client_with_a_filter_learns_what_stopped_matching(served: Served) -> None:
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
def test_a_stream_of_several_uploads_begins_with_their_states_and_has_no_other(served: Served) -> None:
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
        ("status=done", 422, "pending, processing, held"),
        ("upload=one", 422, "number"),
        ("dataset=", 422, "leave it out"),
        ("since=yesterday", 422, "2026-01-31T09:00:00Z"),
        ("since=", 422, "2026-01-31T09:00:00Z"),
        ("since=0001-01-01T00:00:00%2B14:00", 422, "2020"),
        ("upload=99", 404, "#99"),
    ],
)
def test_an_invalid_query_is_refused_with_what_to_do(served: Served, query: str, status: int, word: str) -> None:
    answer = served.client.get(f"{GENERAL}?{query}")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


@ONE_DATABASE
def test_a_moment_may_have_any_iso_8601_form(served: Served) -> None:
    upload = served.records.completed()
    for since in ("2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T02:00:00%2B02:00", "2020-01-01T02:00:00+02:00"):
        with served.stream(f"{GENERAL}?since={since}") as listener:
            assert states([listener.next()]) == [state(upload)], since
