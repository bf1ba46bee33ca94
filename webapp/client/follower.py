"""The states of one upload, or of all, as a server tells them on its event streams: each once, however often the
connection breaks."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from webapp.client.remote import Remote, ServerAwayError

#: Seconds to wait for a sign of life on a stream, which the server gives each 15 s: three may be missed.
STREAM_TIMEOUT = httpx.Timeout(45, connect=5)
#: Seconds between a stream that was cut and each try to open it again.
PAUSES = (0.5, 1.0, 2.0, 5.0)
#: Tries, some five minutes, after which who is not patient gives up: a server that restarts or moves is back by then.
TRIES = 63

ENDS = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class State:
    """What is asked of an upload's state; a newer server may say more. progress: percent. error: a sentence."""

    file_id: int
    seq: int
    filename: str
    status: str
    progress: int
    rows_total: int | None
    rows_processed: int
    rows_failed: int
    error: str | None
    timestamp: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError when it is no upload's state."""
        return cls(**{field.name: _one_line(data[field.name]) for field in fields(cls)})

    @property
    def is_over(self) -> bool:
        return self.status in ENDS


def _one_line(value: Any) -> Any:
    """Text without line ends, and without what would steer a terminal; anything else as it is."""
    if not isinstance(value, str):
        return value
    return "".join(character for character in " ".join(value.split()) if character.isprintable())


def outcome(state: State, page: str) -> tuple[str, int]:
    """How an import ended, and the exit status for it. page: where a person can look at it."""
    if state.status == "failed":
        return f"failed: {state.error}", 1
    if state.status == "cancelled":
        return f"cancelled after {rows(state.rows_processed)}, see {page}", 1
    if state.rows_failed:
        return f"completed with errors: {state.rows_failed:,} of {rows(state.rows_processed)} failed, see {page}", 1
    return f"completed, {rows(state.rows_processed)}", 0


def rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


class Follower:
    """Follows one upload at a server, or all of them."""

    def __init__(
        self,
        remote: Remote,
        upload_id: int | None = None,
        *,
        patient: bool = False,
        on_open: Callable[[], None] = lambda: None,
        on_away: Callable[[], None] = lambda: None,
    ) -> None:
        """patient: a server that goes away is waited for, however long.

        on_open: called when the stream is open, at first and after the server was away. on_away: when it is noticed
        that it is.
        """
        self._remote = remote
        self._upload_id = upload_id
        self._patient = patient
        self._on_open = on_open
        self._on_away = on_away
        self._is_open: bool | None = None
        self._last_id = ""
        self._seqs: dict[int, int] = {}
        self._tries = 0

    def states(self) -> Iterator[State]:
        """Each state as it comes. Those of one upload end with its end; those of all do not.

        Raises RemoteError when the server has no such stream, ServerAwayError when it stays away.
        """
        while True:
            opened = False
            try:
                for event in self._events():
                    opened = True
                    if (state := self._news(event)) is not None:
                        yield state
                        if self._upload_id is not None and state.is_over:
                            return
            except httpx.TransportError:
                pass  # the stream was cut, or could not be opened
            if not opened:
                self._note(is_open=False)
            self._pause()

    def _events(self) -> Iterator[ServerSentEvent | None]:
        """None when the stream is open, then its events. Raises TransportError, RemoteError."""
        path = "/api/v1/events" if self._upload_id is None else f"/api/v1/uploads/{self._upload_id}/events"
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        with connect_sse(self._remote.client, "GET", path, headers=headers, timeout=STREAM_TIMEOUT) as source:
            response = source.response
            if response.is_server_error:
                return
            if response.status_code == 204:  # at the end of which it has told already
                yield None
                yield self._end()
                return
            if response.status_code != 200 or not response.headers.get("content-type", "").startswith("text/event-st"):
                response.read()
                self._remote.understood(response, 0)
            self._note(is_open=True)
            yield None
            yield from source.iter_sse()

    def _end(self) -> ServerSentEvent:
        """The state in which the upload ended, asked for."""
        response = self._remote.client.get(f"/api/v1/uploads/{self._upload_id}")
        self._remote.understood(response, 200)
        self._seqs.clear()
        return ServerSentEvent("bulk_upload_end", response.text, self._last_id)

    def _news(self, event: ServerSentEvent | None) -> State | None:
        """The state that an event tells, if it was not told before."""
        if event is None or not event.data:
            return None
        if event.event == "ping" and not self._last_id and self._upload_id is None:
            self._last_id = event.data  # the server's clock: what changes while nobody listens is told from then on
        if not event.event.startswith("bulk_upload_"):
            return None
        self._last_id = max(self._last_id, event.id)
        self._tries = 0
        state = State.of(event.json())
        if state.seq <= self._seqs.get(state.file_id, 0):
            return None
        self._seqs[state.file_id] = state.seq
        return state

    def _note(self, *, is_open: bool) -> None:
        if self._is_open is not is_open:
            self._is_open = is_open
            (self._on_open if is_open else self._on_away)()

    def _pause(self) -> None:
        if self._tries == TRIES and not self._patient:
            raise ServerAwayError(f"{self._remote.name} answers no more.")
        time.sleep(PAUSES[min(self._tries, len(PAUSES) - 1)])
        self._tries += 1
