"""The moment up to which a client knows every change, as its request states it."""

from datetime import UTC, datetime

from webapp import parameters
from webapp.state import AppRequest

#: Moments before this are not accepted. No upload is older, and datetimes near year 1 overflow in calculations.
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


def parse(text: str) -> datetime | None:
    """The moment of a message's id, or None for any other text: the client then gets a snapshot as if it were new."""
    if not text:
        return None
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment if moment >= EARLIEST else None


def _requested(text: str) -> datetime:
    """Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + in a query means a space
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError from error
    if moment < EARLIEST:
        raise ValueError
    return moment


LAST_EVENT_ID = parameters.found_by(
    "Last-Event-ID", "The id of the last message that a client received, before it reconnects.", parse, "", None
)
SINCE = parameters.found_by(
    "since",
    "Also the states that changed after this time, in ISO 8601, in UTC by default.",
    _requested,
    f"must be a time like 2026-01-31T09:00:00Z, in {EARLIEST:%Y} or later.",
    None,
)


def last_event(request: AppRequest) -> datetime | None:
    """The moment of the last message that a reconnecting client received."""
    return LAST_EVENT_ID.read(request.headers)


def of_page(request: AppRequest) -> datetime | None:
    """The moment up to which a page is complete: by its stream's last message, else by when the page was rendered."""
    return last_event(request) or parse(request.query_params.get("since", ""))


def requested(request: AppRequest) -> datetime | None:
    """The moment in `?since=` of an API request, in any ISO 8601 form, UTC by default. Raises InvalidQueryError."""
    return SINCE.read(request.query_params)
