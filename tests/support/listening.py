"""A subscriber on each of the two channels of an upload."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from jobs.events import Event, channels
from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support.waiting import until


@contextmanager
def listening(settings: Settings, upload: Upload) -> Iterator[dict[str, list[Event]]]:
    """The events published on each channel inside the block, available after it."""
    heard: dict[str, list[Event]] = {channel: [] for channel in channels(upload.id)}
    with Redis.from_url(settings.redis) as redis, redis.pubsub() as pubsub:
        pubsub.subscribe(*heard)
        until(lambda: sum(count for _, count in redis.pubsub_numsub(*heard)) >= len(heard), "the subscriptions")
        yield heard
        redis.publish(channels(upload.id)[1], "the end")
        for message in pubsub.listen():
            if message["data"] == b"the end":
                break
            if message["type"] == "message":
                heard[message["channel"].decode()].append(Event.parse(message["data"]))
