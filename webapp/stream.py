"""The four event streams. Each registers its mailbox, sends a snapshot from the database, then goes live.

In that order nothing is missed between page, snapshot and events; what comes twice is dropped by its `seq`.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from jobs import uploads
from jobs.events import Event, timestamp
from jobs.uploads import Status
from webapp.history import HistoryView
from webapp.hub import Mailbox
from webapp.state import AppRequest

log = logging.getLogger(__name__)

#: Seconds in which what comes in is gathered into one write.
TICK = 0.05
#: Seconds between pings, which tell a page silence from calm.
PING_EVERY = 15
#: Seconds a connection lives, more or less a fifth: who has vanished without a word is found out then.
LIFE = 600.0
#: Seconds that a write may take before the client counts as stalled and is cut.
SEND_TIMEOUT = 30.0
#: Seconds that streams have to say goodbye when the process ends.
GRACE = 1.0
#: Milliseconds after which a client may come back when the process ends.
RETURN_AFTER = 500
#: Seconds that a stream goes back behind where the client says that it was.
OVERLAP = timedelta(seconds=10)
#: What a stream holds no more of than this is not understood as a moment.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)

FINISHED = '<hx-partial hx-target="#live" hx-swap="delete"></hx-partial>'

#: Of events and uploads to show again, one message, or b"" for none.
Tell = Callable[[list[Event], set[int]], Awaitable[bytes]]


class Seen:
    """Up to which seq a client has been told of each upload, and of which time the newest state was."""

    def __init__(self) -> None:
        self._seqs: dict[int, int] = {}
        self.newest = ""

    def note(self, upload_id: int, seq: int, moment: str) -> None:
        self._seqs[upload_id] = max(seq, self._seqs.get(upload_id, 0))
        self.newest = max(self.newest, moment)

    def unseen(self, events: Iterable[Event]) -> list[Event]:
        """Those that are news to the client, noted."""
        fresh = [event for event in events if event.seq > self._seqs.get(event.file_id, 0)]
        for event in fresh:
            self.note(event.file_id, event.seq, event.timestamp)
        return fresh


def _message(html: str, moment: str) -> bytes:
    return ServerSentEvent(html, id=moment or None, sep="\n").encode()


def _ping() -> ServerSentEvent:
    return ServerSentEvent(timestamp(datetime.now(UTC)), event="ping", sep="\n")


def _moment(text: str) -> datetime | None:
    """What `timestamp` made, or None for anything else: then the plain snapshot is what the client gets."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment if moment >= EARLIEST else None


def _since(request: AppRequest) -> datetime | None:
    """Until when the client was told of everything, by its own account."""
    return _moment(request.headers.get("last-event-id", "")) or _moment(request.query_params.get("since", ""))


class _Stream(EventSourceResponse):
    """One that takes a client that does not read for what it is: gone, not an error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("A client read nothing for %.0f s and was cut: it comes back to a snapshot.", SEND_TIMEOUT)


class _Closing:
    """The event by which sse-starlette tells a stream that the process ends."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def set(self) -> None:
        self._mailbox.close()


def _respond(
    request: AppRequest, upload_id: int | None, begin: Callable[[], Awaitable[tuple[bytes, bool]]], tell: Tell
) -> Response:
    """begin: the snapshot, and whether it is all there is to say. tell: what later events are made of."""
    hub = request.state["hub"]
    mailbox = Mailbox()

    async def content() -> AsyncIterator[bytes]:
        deadline = time.monotonic() + LIFE * random.uniform(0.8, 1.2)
        with hub.filling(mailbox, upload_id):
            snapshot, over = await begin()
            yield snapshot or b": nothing yet\n\n"
            while not over and (left := deadline - time.monotonic()) > 0 and not mailbox.closed:
                await mailbox.wait(left)
                await asyncio.sleep(TICK)
                if data := await tell(*mailbox.take()):
                    yield data
                over = data.endswith(_LAST)
        if mailbox.closed:
            yield ServerSentEvent("the server restarts", event="bye", retry=RETURN_AFTER, sep="\n").encode()

    return _Stream(
        content(),
        sep="\n",
        ping=PING_EVERY,
        ping_message_factory=_ping,
        send_timeout=SEND_TIMEOUT,
        shutdown_event=_Closing(mailbox),  # type: ignore[arg-type]  # of an event only `set` is used
        shutdown_grace_period=GRACE,
    )


#: Ends a message after which the server has nothing more to say.
_LAST = b": end\n\n"


async def history(request: AppRequest) -> Response:
    """The history page's stream: the table as that page shows it, then rows, and a toast for each upload that ends."""
    state = request.state
    hub, live = state["hub"], state["live"]
    view = HistoryView.of(request.query_params)
    since = _since(request)
    await live.watermark()  # raises before the stream begins when the database is away
    seen = Seen()
    #: What ended before is in the snapshot, with a toast if the client was told of less.
    told_until = ""

    async def begin() -> tuple[bytes, bool]:
        nonlocal told_until
        seen.newest = told_until = await live.watermark()
        table = await live.history(view)
        missed = await live.ended_since(since) if since else []
        for upload in missed:
            seen.note(upload.id, upload.seq, timestamp(upload.updated_at))
        return _message(table + "".join(live.toast(upload) for upload in missed), seen.newest), False

    async def tell(events: list[Event], nudged: set[int]) -> bytes:
        fresh = seen.unseen(events)
        records = await hub.records(dict.fromkeys(nudged, 0) | {event.file_id: event.seq for event in fresh})
        rows = [live.row(upload, insert=view.is_newest) for upload in records]
        ended = {event.file_id for event in fresh if event.is_terminal and event.timestamp > told_until}
        toasts = [live.toast(upload) for upload in records if upload.id in ended and not upload.is_active]
        return _message("".join(rows + toasts), seen.newest) if rows else b""

    return _respond(request, None, begin, tell)


async def detail(request: AppRequest) -> Response:
    """An upload's page's stream: the part that changes. A completed upload lets go of it: nothing can follow."""
    live = request.state["live"]
    upload_id = request.path_params["upload_id"]
    await live.detail(upload_id)  # raises before the stream begins when there is no such upload
    since = _since(request)
    seen = Seen()

    async def show(newer_than: datetime | None) -> tuple[bytes, bool]:
        upload, html = await live.detail(upload_id)
        moment = timestamp(upload.updated_at)
        seen.note(upload.id, upload.seq, moment)
        over = upload.status is Status.COMPLETED
        if not upload.is_active and newer_than and upload.updated_at > newer_than:
            html += live.toast(upload)
        return _message(html + (FINISHED if over else ""), moment) + (_LAST if over else b""), over

    async def begin() -> tuple[bytes, bool]:
        return await show(since)

    async def tell(events: list[Event], nudged: set[int]) -> bytes:
        fresh = seen.unseen(events)
        if not fresh and not nudged:
            return b""
        return (await show(EARLIEST if fresh else None))[0]

    return _respond(request, upload_id, begin, tell)


async def general_json(request: AppRequest) -> Response:
    """The channel `bulk_upload`: first what is active or changed since the client was last told, then each event."""
    live = request.state["live"]
    since = _since(request)
    await live.watermark()  # raises before the stream begins when the database is away
    seen = Seen()

    def changed(events: Iterable[Event]) -> bytes:
        return b"".join(live.json(event) for event in seen.unseen(events))

    async def begin() -> tuple[bytes, bool]:
        found = await live.read(lambda c: uploads.changed_since(c, since - OVERLAP) if since else uploads.active(c))
        return changed(Event.of(upload) for upload in found), False

    async def tell(events: list[Event], nudged: set[int]) -> bytes:
        return changed(sorted(events, key=lambda event: event.timestamp))

    return _respond(request, None, begin, tell)


async def upload_json(request: AppRequest) -> Response:
    """The channel of one upload: its state, then each event, until a terminal one."""
    live = request.state["live"]
    upload_id = request.path_params["upload_id"]
    seen = Seen()
    upload = await live.read(lambda connection: uploads.get(connection, upload_id))
    if not upload.is_active and request.headers.get("last-event-id") == timestamp(upload.updated_at):
        return Response(status_code=204)

    def changed(events: Iterable[Event]) -> bytes:
        fresh = seen.unseen(events)
        over = any(event.is_terminal for event in fresh)
        return b"".join(live.json(event) for event in fresh) + (_LAST if over else b"")

    async def begin() -> tuple[bytes, bool]:
        data = changed([Event.of(await live.read(lambda connection: uploads.get(connection, upload_id)))])
        return data, data.endswith(_LAST)

    async def tell(events: list[Event], nudged: set[int]) -> bytes:
        return changed(events)

    return _respond(request, upload_id, begin, tell)


#: Before the routes of pages and API, whose paths would take "events" for an id.
routes = [
    Route("/uploads/events", history),
    Route("/uploads/{upload_id:id}/events", detail),
    Route("/api/v1/events", general_json),
    Route("/api/v1/uploads/{upload_id:id}/events", upload_json),
]
