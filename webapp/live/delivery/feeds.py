"""The feeds of a process: one for the general channel, and one for each upload that has subscribers."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from jobs.events import GENERAL_CHANNEL, Event
from jobs.uploads import UNDO
from webapp.live.delivery.deliveries import Deliveries
from webapp.live.delivery.feed import Feed, Subscriber

log = logging.getLogger(__name__)

_UPLOAD_CHANNEL_PREFIX = f"{GENERAL_CHANNEL}:"
#: Digits of the largest id in a channel's name; a longer number is no id of the database.
_MAX_ID_DIGITS = 18


class Feeds:
    """Delivers events to the feeds of their channels."""

    def __init__(self, batch_interval: float) -> None:
        """batch_interval: seconds."""
        self._batch_interval = batch_interval
        self.deliveries = Deliveries()
        self._general = Feed(batch_interval, self.deliveries)
        self._by_upload: dict[int, Feed] = {}
        #: Set by each event that may change positions in the queue.
        self.queue_may_have_changed = asyncio.Event()
        #: Set by each event that may say that an undo began or ended.
        self.undos_may_have_changed = asyncio.Event()

    def subscribe(self, subscriber: Subscriber, upload_id: int | None) -> AbstractContextManager[None]:
        """Inside the block the subscriber receives the channel of one upload, or the general channel for None."""
        return self._general.subscribe(subscriber) if upload_id is None else self._following(subscriber, upload_id)

    @contextmanager
    def _following(self, subscriber: Subscriber, upload_id: int) -> Iterator[None]:
        feed = self._by_upload.setdefault(upload_id, Feed(self._batch_interval, self.deliveries))
        try:
            with feed.subscribe(subscriber):
                yield
        finally:
            if feed.is_idle and self._by_upload.get(upload_id) is feed:
                del self._by_upload[upload_id]
                feed.close()

    @property
    def uploads_followed(self) -> int:
        """Number of uploads whose own channel has subscribers."""
        return len(self._by_upload)

    def receive(self, channel: str, data: bytes) -> None:
        """Deliver a message from Redis to the feed of its channel. A message that is not an event is logged."""
        feed = self._of_channel(channel)
        if feed is None:
            return
        try:
            self._deliver(feed, Event.parse(data))
        except Exception:
            log.exception("Ignored a message on %s that is not an event.", channel)

    def put(self, event: Event) -> None:
        """Deliver an event that was read from the database to both channels of its upload."""
        for feed in self._of_upload(event.file_id):
            self._deliver(feed, event)

    def invalidate(self, upload_id: int) -> None:
        """Have subscribers of both channels render this upload again."""
        for feed in self._of_upload(upload_id):
            feed.invalidate(upload_id)

    def _deliver(self, feed: Feed, event: Event) -> None:
        if event.event != "bulk_upload_progress" or not event.rows_processed:
            self.queue_may_have_changed.set()
            if event.kind == UNDO:
                self.undos_may_have_changed.set()
        feed.put(event)

    def _of_channel(self, channel: str) -> Feed | None:
        """None for an upload without subscribers. Most have none, and their events need not even be parsed."""
        if channel == GENERAL_CHANNEL:
            return self._general
        upload_id = channel.removeprefix(_UPLOAD_CHANNEL_PREFIX)
        if not upload_id.isdecimal() or len(upload_id) > _MAX_ID_DIGITS:
            return None
        return self._by_upload.get(int(upload_id))

    def _of_upload(self, upload_id: int) -> list[Feed]:
        own = self._by_upload.get(upload_id)
        return [self._general, own] if own else [self._general]

    def all(self) -> list[Feed]:
        return [self._general, *self._by_upload.values()]

    def close(self) -> None:
        """Complete no further revision on the general channel; the others close with their last subscriber."""
        self._general.close()
