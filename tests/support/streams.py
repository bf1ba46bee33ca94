"""The four event streams: their addresses, and what their messages show."""

from typing import Any

from jobs.uploads import Upload
from tests.support.serving import Served, Stream

GENERAL = "/api/v1/events"
HISTORY = "/uploads/events"


def json_of(upload: Upload) -> str:
    """Address of an upload's JSON stream."""
    return f"/api/v1/uploads/{upload.id}/events"


def page_of(upload: Upload) -> str:
    """Address of the stream of an upload's page."""
    return f"/uploads/{upload.id}/events"


def all_of(upload: Upload) -> list[str]:
    """Addresses of all streams that show this upload."""
    return [GENERAL, json_of(upload), HISTORY, page_of(upload)]


def states(events: list[Any]) -> list[tuple[int, int]]:
    """The states in messages of a JSON stream, each as id and seq."""
    return [(event.json()["file_id"], event.json()["seq"]) for event in events]


def state(upload: Upload) -> tuple[int, int]:
    return upload.id, upload.seq


def toast_of(upload: Upload) -> str:
    """The id attribute of the toast for the end of this attempt."""
    return f'id="toast-{upload.id}-{upload.attempt}"'


def shows(upload: Upload) -> str:
    """The attributes of a state's markup, on every page."""
    return f'data-seq="{upload.seq}" data-status="{upload.status}"'


def wait_for(listener: Stream, upload: Upload) -> str:
    """Everything that a stream sends up to this state, whatever kind of stream it is."""
    if "/api/" in str(listener.response.url):
        return str(listener.until_seq(upload))
    return listener.until_text(shows(upload))


def count_toasts(served: Served, listener: Stream, upload: Upload) -> int:
    """How often a stream announces an upload's end that is published again and again, while new uploads come."""
    text = ""
    for _ in range(3):
        text += listener.until_text(f'id="upload-{served.records.pending().id}"')
        served.records.publisher.publish(upload)
    text += listener.until_text(f'id="upload-{served.records.pending().id}"')
    return text.count(toast_of(upload))
