"""Follows one upload, or all, on a server's event streams. Reports each state once, across reconnections."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import click
import httpx
from httpx_sse import ServerSentEvent, connect_sse

from webapp.client.remote import Remote, ServerUnavailableError

#: Seconds to wait for data on a stream. The server sends a heartbeat every 15 s, so three may be missed.
STREAM_TIMEOUT = httpx.Timeout(45, connect=5)
#: Seconds before each attempt to reopen a stream; the last value repeats.
PAUSES = (0.5, 1.0, 2.0, 5.0)
#: Attempts to reopen a stream: about five minutes, enough for a server to restart or move.
MAX_ATTEMPTS = 63

#: After which nothing happens until a person does something.
FINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "held"})


@dataclass(frozen=True)
class State:
    """The fields of a state that this client uses; others are ignored.

    progress: percent. error: a sentence. warnings: what a person may not expect of the import, in sentences.
    hold: why it waits for a person, in sentences. balances: whether it came to what was expected, if anything was.
    """

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
    warnings: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    balances: bool = True

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError if a field is missing."""
        warnings = tuple(_one_line(str(each.get("detail", ""))) for each in data.get("warnings", ()))
        hold = tuple(_one_line(str(each.get("detail", ""))) for each in data.get("hold", ()))
        balances = all(each.get("code") != "totals" for each in data.get("warnings", ()))
        names = [field.name for field in fields(cls) if field.name not in ("warnings", "hold", "balances")]
        given = {name: _one_line(data[name]) for name in names}
        return cls(**given, warnings=warnings, hold=hold, balances=balances)

    @property
    def is_over(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def is_clean(self) -> bool:
        """Whether it is completed, with every row imported and nothing that a person may not expect."""
        return self.status == "completed" and not self.rows_failed and not self.warnings


def _one_line(value: Any) -> Any:
    """Text without line breaks and terminal control characters; other values unchanged."""
    if not isinstance(value, str):
        return value
    return "".join(character for character in " ".join(value.split()) if character.isprintable())


def outcome(state: State, page: str) -> tuple[str, int]:
    """How an import ended, and the exit status for it, which warnings do not change, but for the one that it does not
    come to what was expected. page: address of its page."""
    if state.status == "failed":
        return f"failed: {state.error}", 1
    if state.status == "held":
        return f"held: {' '.join(state.hold)} Review it at {page}", 3
    if state.status == "cancelled":
        return f"cancelled after {rows(state.rows_processed)}, see {page}", 1
    if state.rows_failed:
        return f"completed with errors: {state.rows_failed:,} of {rows(state.rows_processed)} failed, see {page}", 1
    if not state.balances:
        return f"completed, but does not balance, {rows(state.rows_processed)}, see {page}", 1
    if state.warnings:
        return f"completed with warnings, {rows(state.rows_processed)}, see {page}", 0
    return f"completed, {rows(state.rows_processed)}", 0


def print_warnings(state: State) -> None:
    """The warnings of an import that ended, on stderr."""
    for warning in state.warnings if state.status == "completed" else ():
        click.echo(f"  {click.style('warning:', fg='yellow')} {warning}", err=True)


def rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


class Follower:
    """Follows one upload on a server, or all of them."""

    def __init__(
        self,
        remote: Remote,
        upload_id: int | None = None,
        *,
        patient: bool = False,
        on_open: Callable[[], None] = lambda: None,
        on_disconnect: Callable[[], None] = lambda: None,
    ) -> None:
        """patient: keep trying to reconnect without a limit.

        on_open: called when the stream opens, and each time it opens again. on_disconnect: called when the server
        stops responding, or does not respond at first.
        """
        self._remote = remote
        self._upload_id = upload_id
        self._patient = patient
        self._on_open = on_open
        self._on_disconnect = on_disconnect
        self._is_open: bool | None = None
        self._last_id = ""
        self._seqs: dict[int, int] = {}
        self._attempts = 0

    def states(self) -> Iterator[State]:
        """Each state as it arrives. Ends with the final state of one upload; never ends for all uploads.

        Raises RemoteError if the server has no such stream, ServerUnavailableError if it stops responding.
        """
        while True:
            opened = False
            try:
                for event in self._events():
                    opened = True
                    if (state := self._new_state(event)) is not None:
                        yield state
                        if self._upload_id is not None and state.is_over:
                            return
            except httpx.TransportError:
                pass  # the stream broke, or could not be opened
            if not opened:
                self._set_open(is_open=False)
            self._pause()

    def _events(self) -> Iterator[ServerSentEvent | None]:
        """None when the stream is open, then its events. Raises TransportError, RemoteError."""
        path = "/api/v1/events" if self._upload_id is None else f"/api/v1/uploads/{self._upload_id}/events"
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        with connect_sse(self._remote.client, "GET", path, headers=headers, timeout=STREAM_TIMEOUT) as source:
            response = source.response
            if response.is_server_error:
                return
            if response.status_code == 204:  # the server has already sent the final state
                yield None
                yield self._final_event()
                return
            if response.status_code != 200 or not response.headers.get("content-type", "").startswith("text/event-st"):
                response.read()
                self._remote.parse_upload(response, 0)
            self._set_open(is_open=True)
            yield None
            yield from source.iter_sse()

    def _final_event(self) -> ServerSentEvent:
        """The final state of the upload, requested from the API."""
        response = self._remote.client.get(f"/api/v1/uploads/{self._upload_id}")
        self._remote.parse_upload(response, 200)
        self._seqs.clear()
        return ServerSentEvent("bulk_upload_end", response.text, self._last_id)

    def _new_state(self, event: ServerSentEvent | None) -> State | None:
        """The state in an event, unless it was reported before."""
        if event is None or not event.data:
            return None
        if event.event == "ping" and not self._last_id and self._upload_id is None:
            self._last_id = event.data  # the server's clock: a new connection gets the changes since then
        if not event.event.startswith("bulk_upload_"):
            return None
        self._last_id = max(self._last_id, event.id)
        self._attempts = 0
        state = State.from_json(event.json())
        if state.seq <= self._seqs.get(state.file_id, 0):
            return None
        self._seqs[state.file_id] = state.seq
        return state

    def _set_open(self, *, is_open: bool) -> None:
        if self._is_open is not is_open:
            self._is_open = is_open
            (self._on_open if is_open else self._on_disconnect)()

    def _pause(self) -> None:
        if self._attempts == MAX_ATTEMPTS and not self._patient:
            raise ServerUnavailableError(f"{self._remote.name} does not respond.")
        time.sleep(PAUSES[min(self._attempts, len(PAUSES) - 1)])
        self._attempts += 1
