"""What all four streams have in common, on a real uvicorn."""

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from jobs import uploads
from jobs.events import GENERAL_CHANNEL, Event, channel_of
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.streams import GENERAL, all_of, json_of, state, states, wait_for
from tests.support.waiting import until


@ONE_DATABASE
def test_what_changes_between_connect_and_snapshot_is_not_lost(served: Served) -> None:
    upload = served.records.processing(rows=1000)
    for path in all_of(upload) * 10:
        with served.stream(path) as listener:
            upload = served.records.advance(upload)
            wait_for(listener, upload)


@ONE_DATABASE
@pytest.mark.parametrize(
    ("number", "query", "call"), [(0, "active", 1), (1, "get_many", 1), (2, "page", 1), (3, "get", 1)]
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
        # What is sent first may already have the change: others read uploads too, and may have been the first to do so.
        until(lambda: changed, "the uploads to be read")
        wait_for(listener, changed[0])


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
        redis.publish(channel, replace(Event.from_upload(upload), seq=seq).json())


@ONE_DATABASE
def test_every_stream_follows_its_own_channel(served: Served) -> None:
    one, other = served.records.pending(), served.records.pending()
    with (
        Redis.from_url(served.settings.redis) as redis,
        served.stream(GENERAL) as general,
        served.stream(json_of(one)) as of_one,
        served.stream(json_of(other)) as of_other,
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
def test_an_event_that_comes_twice_or_late_is_dropped(served: Served) -> None:
    upload = served.records.pending()
    both = GENERAL_CHANNEL, channel_of(upload.id)
    with (
        Redis.from_url(served.settings.redis) as redis,
        served.stream(GENERAL) as general,
        served.stream(json_of(upload)) as own,
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
