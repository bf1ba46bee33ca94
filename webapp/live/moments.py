"""The moment up to which a client knows every change, as its request states it."""

from datetime import UTC, datetime

from webapp.errors import InvalidQueryError
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


def last_event(request: AppRequest) -> datetime | None:
    """The moment of the last message that a reconnecting client received."""
    return parse(request.headers.get("last-event-id", ""))


def of_page(request: AppRequest) -> datetime | None:
    """The moment up to which a page is complete: by its stream's last message, else by when the page was rendered."""
    return last_event(request) or parse(request.query_params.get("since", ""))


def requested(request: AppRequest) -> datetime | None:
    """The moment in `?since=` of an API request, in any ISO 8601 form, UTC by default. Raises InvalidQueryError."""
    text = request.query_params.get("since")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + in a query means a space
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    if moment < EARLIEST:
        raise InvalidQueryError("since", f"must be a time like 2026-01-31T09:00:00Z, in {EARLIEST:%Y} or later.")
    return moment
