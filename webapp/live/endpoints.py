"""The routes of the event streams."""

from starlette.middleware import Middleware
from starlette.responses import Response

from webapp.access.needs import READ, GuardedRoute
from webapp.history import HistoryView
from webapp.live import moments
from webapp.live.limiter import LimitedStream
from webapp.live.response import StreamResponse
from webapp.live.streams import event_filter
from webapp.live.streams.dataset_page import DatasetPageStream
from webapp.live.streams.event_filter import EventFilter
from webapp.live.streams.general_json import GeneralJsonStream
from webapp.live.streams.history import HistoryStream
from webapp.live.streams.stream import Stream
from webapp.live.streams.upload_json import UploadJsonStream
from webapp.live.streams.upload_page import UploadPageStream
from webapp.operation import Answer, Operation, stream
from webapp.state import AppRequest
from webapp.views.dataset import Shown


async def history(request: AppRequest) -> Response:
    """The stream of the history page, with that page's query."""
    state = request.state
    view = HistoryView.from_stream_query(request.query_params)
    stream = HistoryStream(
        state["snapshots"],
        state["renderer"],
        state["records"],
        view,
        seen=state["policy"].view,
        since=moments.of_page(request),
    )
    return _respond(request, stream)


async def upload_page(request: AppRequest) -> Response:
    """The stream of an upload's page."""
    state, upload_id = request.state, request.path_params["upload_id"]
    stream = UploadPageStream(
        state["snapshots"],
        state["renderer"],
        upload_id,
        seen=state["policy"].view,
        since=moments.of_page(request),
    )
    return _respond(request, stream)


async def general_json(request: AppRequest) -> Response:
    """The events of all uploads, or of those that match the query's filter."""
    state = request.state
    filter_ = EventFilter.from_query(request.query_params)
    requested, last_event = moments.requested(request), moments.last_event(request)
    stream = GeneralJsonStream(
        state["snapshots"],
        state["renderer"],
        filter_,
        seen=state["policy"].view,
        since=last_event or requested,
        is_reconnect=last_event is not None,
    )
    return _respond(request, stream)


async def upload_json(request: AppRequest) -> Response:
    """The events of one upload. A client that has its last one gets 204, on which an EventSource stops reconnecting."""
    state, upload_id = request.state, request.path_params["upload_id"]
    seen = state["policy"].view
    if last_event_id := request.headers.get("last-event-id"):
        [event] = (await state["snapshots"].states(frozenset({upload_id}), seen)).events
        if event.is_over and last_event_id == event.timestamp:
            return Response(status_code=204)
    return _respond(request, UploadJsonStream(state["snapshots"], state["renderer"], upload_id, seen=seen))


async def dataset_page(request: AppRequest) -> Response:
    """The stream of a dataset's page."""
    state, shown = request.state, Shown.from_query(request.query_params)
    return _respond(
        request,
        DatasetPageStream(
            state["snapshots"], state["renderer"], request.path_params["name"], shown, seen=state["policy"].view
        ),
    )


def _respond(request: AppRequest, stream: Stream) -> Response:
    state = request.state
    max_age = state["settings"].stream_max_age
    return StreamResponse(stream, state["hub"], state["connection"], state["policy"], max_age=max_age)


_GENERAL = Operation(
    "The events of all uploads, or of those that the filters choose.",
    stream("Each message has an event as JSON."),
    query=(event_filter.DATASETS, event_filter.STATUSES, event_filter.UPLOADS, moments.SINCE),
    headers=(moments.LAST_EVENT_ID,),
    problems=(404,),
)
_OF_UPLOAD = Operation(
    "The events of an upload, until it has ended.",
    {**stream("Each message has an event as JSON."), 204: Answer("The client has the last event: do not reconnect.")},
    headers=(moments.LAST_EVENT_ID,),
)
#: The application lists these before the routes of pages and API, whose paths would take "events" for an id.
routes = [
    GuardedRoute(path, endpoint, READ, middleware=[Middleware(LimitedStream)], operation=operation)
    for path, endpoint, operation in [
        ("/uploads/events", history, None),
        ("/uploads/{upload_id:id}/events", upload_page, None),
        ("/datasets/{name}/events", dataset_page, None),
        ("/api/v1/events", general_json, _GENERAL),
        ("/api/v1/uploads/{upload_id:id}/events", upload_json, _OF_UPLOAD),
    ]
]
