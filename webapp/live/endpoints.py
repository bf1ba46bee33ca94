"""The four event streams. Each registers its subscriber, sends a snapshot from the database, then goes live.

In that order nothing is missed between page, snapshot and events; what comes twice is dropped by its `seq`. What all
clients of a kind are told is made once and shared; only for a client whose snapshot knows some of it already is it made
again.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from sqlalchemy.exc import OperationalError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from jobs.events import Event, timestamp
from jobs.uploads import Status
from webapp.errors import QueryError
from webapp.history import HistoryView
from webapp.live.event_filter import EventFilter, FilteredEvents
from webapp.live.feed import Batch, Subscriber
from webapp.live.limiter import LimitedStream
from webapp.live.renderer import message
from webapp.state import AppRequest

log = logging.getLogger(__name__)

#: Seconds that streams have to say goodbye when the process ends.
GRACE = 1.0
#: Milliseconds after which a client may come back when the process ends.
RETURN_AFTER = 500
#: Seconds until a stream asks the database again that did not answer.
ASK_AGAIN_AFTER = 0.5
#: Seconds that a stream goes back behind where the client says that it was. Longer than the hub takes to find a state
#: that was never published: who was away just then knows later states of other uploads, and not that one.
OVERLAP = timedelta(seconds=15)
#: What a stream holds no more of than this is not understood as a moment.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)

FINISHED = '<hx-partial hx-target="#live" hx-swap="delete"></hx-partial>'

#: Of what is new, one message, or b"" for none.
Tell = Callable[[Batch], Awaitable[bytes]]


class Known:
    """What a client was told by its snapshot. moment: nothing that is older needs to be told; "" for no such time.

    newest: of the states in `seqs`, when that may be later. active: seqs of uploads that were shown as not ended.
    """

    def __init__(
        self,
        seqs: Mapping[int, int],
        moment: str = "",
        newest: str = "",
        active: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self._seqs = seqs
        self._active = active
        self._newest = max(moment, newest)
        self.moment = moment

    def unseen(self, events: Iterable[Event]) -> list[Event]:
        return [event for event in events if event.seq > self._seqs.get(event.file_id, 0)]

    def ends(self, events: Iterable[Event]) -> set[int]:
        """Uploads of whose end the client was not told."""
        return {
            event.file_id
            for event in self.unseen(events)
            if event.is_terminal
            and (event.timestamp > self.moment or event.seq > self._active.get(event.file_id, event.seq))
        }

    def is_behind(self, batch: Batch) -> bool:
        """Whether surely all of it is batch to the client, so that it may be told what everybody is."""
        return batch.oldest > self._newest if batch.events else batch.newest >= self.moment


def _moment(text: str) -> datetime | None:
    """What `timestamp` made, or None for anything else: then the plain snapshot is what the client gets."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment if moment >= EARLIEST else None


def _last_told(request: AppRequest) -> datetime | None:
    """Until when a client that comes back was told of everything, by its own account."""
    return _moment(request.headers.get("last-event-id", ""))


def _since(request: AppRequest) -> datetime | None:
    """Until when a page was told of everything: by a stream before, or as it was made."""
    return _last_told(request) or _moment(request.query_params.get("since", ""))


def _asked_since(request: AppRequest) -> datetime | None:
    """The moment that a script asks for. Raises QueryError."""
    text = request.query_params.get("since")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a query means a space
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    if moment < EARLIEST:
        raise QueryError(f"since must be a time like 2026-01-31T09:00:00Z, from {EARLIEST:%Y} on.")
    return moment


class _Stream(EventSourceResponse):
    """One whose messages are sent without a timer each: who does not read is found by the hub, and cut."""

    def __init__(self, subscriber: Subscriber, content: AsyncIterator[bytes]) -> None:
        super().__init__(
            content,
            sep="\n",
            headers={"Cache-Control": "no-store, no-transform"},
            ping=0,  # the hub's signs of life are shared
            shutdown_event=_Closing(subscriber),  # type: ignore[arg-type]  # of an event only `set` is used
            shutdown_grace_period=GRACE,
        )
        self._subscriber = subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._subscriber.cut = scope["state"].get("cut", self._subscriber.cut)
        await super().__call__(scope, receive, send)

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """Instead of sse-starlette's, whose cancel scope around each write took a quarter of all streams' time."""
        self._subscriber.sending_since = time.monotonic()
        await send(message)
        self._subscriber.sending_since = None


class _Closing:
    """The event by which sse-starlette tells a stream that the process ends."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    def set(self) -> None:
        self._subscriber.close()


def _respond(
    request: AppRequest, upload_id: int | None, begin: Callable[[], Awaitable[tuple[bytes, bool]]], tell: Tell
) -> Response:
    """begin: the snapshot, and whether it is all there is to say. tell: what later events are made of."""
    hub, settings = request.state["hub"], request.state["settings"]
    subscriber = Subscriber()

    async def content() -> AsyncIterator[bytes]:
        max_age = settings.stream_max_age * random.uniform(0.8, 1.2)
        end = asyncio.get_running_loop().call_later(max_age, subscriber.end)
        try:
            with hub.subscribe(subscriber, upload_id):
                data, over = await begin()
                yield data or b": nothing yet\n\n"
                del data
                while not over and await subscriber.wait():
                    batch, broadcast = subscriber.batch(), subscriber.broadcast
                    try:
                        data = await tell(batch)
                    except OperationalError:  # the hub says so in the log; nothing is lost meanwhile
                        await asyncio.sleep(ASK_AGAIN_AFTER)
                        continue
                    subscriber.acknowledge(batch)
                    if data or broadcast:
                        yield data or broadcast
                    over = data.endswith(_LAST)
                    del batch, broadcast, data  # not to be kept for each client while it waits
        finally:
            end.cancel()
        if subscriber.closed:
            yield ServerSentEvent("the server restarts", event="bye", retry=RETURN_AFTER, sep="\n").encode()

    return _Stream(subscriber, content())


#: Ends a message after which the server has nothing more to say.
_LAST = b": end\n\n"


async def history(request: AppRequest) -> Response:
    """The history page's stream: the table as that page shows it, then rows, and a toast for each upload that ends.

    Where new rows are not sorted in, rows change only in place, and the page is told which uploads belong to it.
    """
    state = request.state
    hub, renderer = state["hub"], state["renderer"]
    view = HistoryView.from_query(request.query_params)
    since = _since(request)
    await renderer.watermark()  # raises before the stream begins when the database is away
    #: The ends that were told by a toast, and the moment of the table: what ended before needs none.
    known = Known({})

    async def begin() -> tuple[bytes, bool]:
        nonlocal known
        snapshot = await renderer.history(view)
        missed = await renderer.ended_since(since) if since else []
        newest = max((timestamp(upload.updated_at) for upload in missed), default="")
        known = Known({upload.id: upload.seq for upload in missed}, snapshot.moment, newest, snapshot.active)
        toasts = "".join(renderer.toast(upload) for upload in missed)
        return message(snapshot.html + toasts, snapshot.moment) if toasts else snapshot.message, False

    async def changed(batch: Batch, known: Known) -> bytes:
        """A row may be shown that the table shows already: a toast that was told may speak of a later state than it."""
        records = await hub.records(
            dict.fromkeys(batch.invalidated, 0) | {event.file_id: event.seq for event in batch.events}
        )
        html = renderer.rows(records, insert=view.is_newest, toasts=known.ends(batch.events))
        return message(html, max(batch.newest, known.moment)) if html else b""

    def fitting(events: list[Event]) -> bytes:
        return renderer.fitting(view, events)

    async def tell(batch: Batch) -> bytes:
        if known.is_behind(batch):
            rows = await batch.shared(view.is_newest, lambda: changed(batch, Known({})))
            return rows + batch.joined(view, fitting)
        return await changed(batch, known) + fitting(known.unseen(batch.events))

    return _respond(request, None, begin, tell)


async def detail(request: AppRequest) -> Response:
    """An upload's page's stream: the part that changes. A completed upload lets go of it: nothing can follow."""
    renderer = request.state["renderer"]
    upload_id = request.path_params["upload_id"]
    await renderer.detail(upload_id)  # raises before the stream begins when there is no such upload
    since = _since(request)
    told = 0

    async def show(newer_than: datetime | None) -> tuple[bytes, int, bool]:
        """The message, the seq of what it shows, and whether nothing can follow."""
        upload, html = await renderer.detail(upload_id)
        over = upload.status is Status.COMPLETED
        if not upload.is_active and newer_than and upload.updated_at > newer_than:
            html += renderer.toast(upload)
        data = message(html + (FINISHED if over else ""), timestamp(upload.updated_at))
        return data + (_LAST if over else b""), upload.seq, over

    async def begin() -> tuple[bytes, bool]:
        nonlocal told
        data, told, over = await show(since)
        return data, over

    async def tell(batch: Batch) -> bytes:
        nonlocal told
        is_newer = any(event.seq > told for event in batch.events)
        if not is_newer and not batch.invalidated:
            return b""
        data, seq, _ = await batch.shared(is_newer, lambda: show(EARLIEST if is_newer else None))
        told = max(told, seq)
        return data

    return _respond(request, upload_id, begin, tell)


async def general_json(request: AppRequest) -> Response:
    """The channel `bulk_upload`: first what is active or changed since the client was last told, then each event.

    With a filter, only what fits it, whatever state the uploads are in that it names.
    """
    renderer = request.state["renderer"]
    filter_, asked, last_told = EventFilter.from_query(request.query_params), _asked_since(request), _last_told(request)
    since = last_told or asked
    await renderer.watermark()  # raises before the stream begins when the database is away
    if filter_.uploads:
        await renderer.states(filter_.uploads)  # and when there are no such uploads
    known, filtered = Known({}), FilteredEvents(filter_) if filter_ else None

    async def begin() -> tuple[bytes, bool]:
        nonlocal known
        if filter_.uploads:
            found = await renderer.states(filter_.uploads)
        else:
            found = await renderer.changed(since - OVERLAP if since else None)
        known = Known(found.seqs, found.newest)
        if filtered and last_told:
            filtered.mark_known(found.events)
        return renderer.joined(filtered.matching(found.events)) if filtered else found.message, False

    async def tell(batch: Batch) -> bytes:
        if filtered:
            return renderer.joined(filtered.matching(known.unseen(batch.events)))
        return (
            batch.joined("json", renderer.joined)
            if known.is_behind(batch)
            else renderer.joined(known.unseen(batch.events))
        )

    return _respond(request, None, begin, tell)


async def upload_json(request: AppRequest) -> Response:
    """The channel of one upload: its state, then each event, until a terminal one."""
    renderer = request.state["renderer"]
    upload_id = frozenset({request.path_params["upload_id"]})
    [now] = (await renderer.states(upload_id)).events
    if now.is_terminal and request.headers.get("last-event-id") == now.timestamp:
        return Response(status_code=204)
    known = Known({})

    def joined(events: list[Event]) -> bytes:
        over = any(event.is_terminal for event in events)
        return renderer.joined(events) + (_LAST if over else b"")

    async def begin() -> tuple[bytes, bool]:
        nonlocal known
        found = await renderer.states(upload_id)
        known = Known(found.seqs, found.newest)
        return joined(found.events), found.events[0].is_terminal

    async def tell(batch: Batch) -> bytes:
        return batch.joined("json", joined) if known.is_behind(batch) else joined(known.unseen(batch.events))

    return _respond(request, request.path_params["upload_id"], begin, tell)


#: Before the routes of pages and API, whose paths would take "events" for an id.
routes = [
    Route(path, endpoint, middleware=[Middleware(LimitedStream)])
    for path, endpoint in [
        ("/uploads/events", history),
        ("/uploads/{upload_id:id}/events", detail),
        ("/api/v1/events", general_json),
        ("/api/v1/uploads/{upload_id:id}/events", upload_json),
    ]
]
