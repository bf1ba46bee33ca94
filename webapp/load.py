"""The client of `bulk-upload load`: sends files to a running server, and follows each to the end of its import."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Self

import click
import httpx
from httpx_sse import connect_sse
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from jobs.errors import BulkUploadError, SettingsError
from jobs.settings import Settings

#: Bytes that are read from a file and sent at once.
BATCH_BYTES = 1 << 18
#: Seconds to wait for a connection; for the answer to a whole file, which the server first puts on its disk; and for
#: a sign of life on a stream, which the server gives each 15 s: three may be missed.
TIMEOUT = httpx.Timeout(60, connect=5)
ANSWER_TIMEOUT = httpx.Timeout(300, connect=5)
STREAM_TIMEOUT = httpx.Timeout(45, connect=5)
#: Seconds between a stream that was cut and each try to open it again; after the last, some five minutes, it is given
#: up: a server that is restarted or moved has come back by then.
PAUSES = (0.5, 1.0, 2.0, *[5.0] * 60)
#: Seconds of an import before its rate says something.
RATE_AFTER = 0.5
#: Never asked through a proxy, whatever the environment says.
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")

ENDS = frozenset({"completed", "failed", "cancelled"})


class NotLoadedError(BulkUploadError):
    """A file did not get to the server, or was refused there: what is wrong and what to do."""


class ServerAwayError(NotLoadedError):
    """No server answers, so that the next file would fare no better."""


@dataclass(frozen=True)
class State:
    """What is asked of an upload's state; a newer server may say more. progress: percent. error: a sentence."""

    status: str
    progress: int
    rows_total: int | None
    rows_processed: int
    rows_failed: int
    error: str | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError when it is no upload's state."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})


class Display(Protocol):
    """What a person sees while files are loaded."""

    def begin(self, name: str, size: int) -> None:
        """A file will be sent. size: bytes."""

    def sent(self, size: int) -> None:
        """So many more bytes of it were."""

    def show(self, state: State) -> None:
        """The server has it, and this is how far it is."""

    def end(self) -> None:
        """Nothing more will happen to it."""


class Lines:
    """For a stderr that is no terminal: a line when a file begins; how it ended is told on stdout anyway."""

    def begin(self, name: str, size: int) -> None:
        click.echo(f"{name}: sending {size:,} bytes", err=True)

    def sent(self, size: int) -> None: ...

    def show(self, state: State) -> None: ...

    def end(self) -> None: ...


class Bars:
    """For a terminal: a bar that is filled once by the bytes that are sent, then by the rows that are imported."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._task: TaskID | None = None
        self._begun: tuple[float, int] | None = None
        self._imports = False

    def begin(self, name: str, size: int) -> None:
        self._task = self._progress.add_task(name, total=size, words=f"sending {size:,} bytes")
        self._begun, self._imports = None, False

    def sent(self, size: int) -> None:
        assert self._task is not None
        self._progress.advance(self._task, size)

    def show(self, state: State) -> None:
        assert self._task is not None
        if not self._imports:
            self._progress.reset(self._task)
            self._imports = True
        done, total = (state.rows_processed, state.rows_total) if state.rows_total else (state.progress, 100)
        self._progress.update(self._task, completed=done, total=total, words=words(state, self._rate(state)))

    def end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def _rate(self, state: State) -> float | None:
        """Rows a second since they began to come; what went before was no import yet."""
        if state.status != "processing":
            self._begun = None
            return None
        now = self._clock()
        if self._begun is None or self._begun[1] == state.rows_processed:
            self._begun = now, state.rows_processed
        seconds, rows = now - self._begun[0], state.rows_processed - self._begun[1]
        return rows / seconds if seconds >= RATE_AFTER else None


def words(state: State, rate: float | None) -> str:
    """How far an import is. rate: rows a second, if it can be told."""
    if state.status == "pending":
        return "waiting for a worker"
    if state.status == "processing" and not state.rows_processed:
        return "reading the file"
    parts = [_rows(state.rows_processed)]
    if state.rows_failed:
        parts.append(f"{state.rows_failed:,} failed")
    if rate is not None:
        parts.append(f"{rate:,.0f}/s")
    return ", ".join(parts)


def outcome(state: State, page: str) -> tuple[str, int]:
    """How an import ended, and the exit status for it. page: where a person can look at it."""
    if state.status == "failed":
        return f"failed: {state.error}", 1
    if state.status == "cancelled":
        return f"cancelled after {_rows(state.rows_processed)}, see {page}", 1
    if state.rows_failed:
        return f"completed with errors: {state.rows_failed:,} of {_rows(state.rows_processed)} failed, see {page}", 1
    return f"completed, {_rows(state.rows_processed)}", 0


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def server_of(url: str | None, settings: Callable[[], Settings]) -> httpx.URL:
    """The address of the server: the one that was given, else that of the settings. Raises SettingsError."""
    if url is None:
        return _own(settings())
    try:
        server = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        server = httpx.URL("")
    if server.scheme not in ("http", "https") or not server.host:
        raise SettingsError([f"URL: {url} is not a server's address. Write it like http://127.0.0.1:8000."])
    return server


def _own(settings: Settings) -> httpx.URL:
    if not settings.port:
        raise SettingsError(["PORT: 0 is whichever was free, so say with --url where the server is."])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # which nobody can connect to
    return httpx.URL(scheme="http", host=host, port=settings.port)


def run(files: Sequence[Path], dataset: str, server: httpx.URL) -> int:
    """Load files one after the other: a dataset that the first one makes is there for the next.

    dataset: the name to ask for, "" for the server's choice. Returns the exit status: 0 when every row of every file
    is in, 1 when something failed or was cancelled, 2 when a file could not be sent, 130 after Ctrl-C.
    """
    console = Console(stderr=True)
    bars = _bars(console) if sys.stderr.isatty() and console.is_interactive else None
    with _client(server) as client, bars or nullcontext():
        return _Loading(client, dataset, Bars(bars) if bars else Lines()).all(files)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what is piped on would come out on the terminal
    )


def _client(server: httpx.URL) -> httpx.Client:
    return httpx.Client(base_url=server, timeout=TIMEOUT, mounts={f"all://{host}": None for host in THIS_MACHINE})


class _Loading:
    """Several files on their way, one at a time."""

    def __init__(self, client: httpx.Client, dataset: str, display: Display) -> None:
        self._client = client
        self._server = str(client.base_url.copy_with(userinfo=b"")).rstrip("/")  # a password is not for the screen
        self._dataset = dataset
        self._display = display
        self._upload_id: int | None = None

    def all(self, files: Sequence[Path]) -> int:
        status = 0
        for position, path in enumerate(files):
            try:
                status = max(status, self._one(path))
            except NotLoadedError as error:
                click.echo(f"{_name(path)}: {error}", err=True)
                status = 2
                if isinstance(error, ServerAwayError):
                    self._tell_unsent(files[position + 1 :])
                    break
            except KeyboardInterrupt:
                self._tell_interrupted(path)
                self._tell_unsent(files[position + 1 :])
                return 130
            finally:
                self._display.end()
        return status

    def _one(self, path: Path) -> int:
        self._upload_id = None
        self._upload_id = self._send(path)
        sentence, status = outcome(self._follow(self._upload_id), self._page(self._upload_id))
        self._display.end()
        click.echo(f"{_name(path)}: {sentence}")
        return status

    def _send(self, path: Path) -> int:
        """The id that the server gave the file. Raises NotLoadedError."""
        try:
            size = path.stat().st_size
            self._display.begin(_name(path), size)
            response = self._client.post(
                "/api/v1/uploads",
                params={"filename": _name(path)} | ({"dataset": self._dataset} if self._dataset else {}),
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
                content=self._content(path, size),
                timeout=ANSWER_TIMEOUT,
            )
        except OSError as error:
            raise NotLoadedError(f"it cannot be read: {error.strerror}.") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerAwayError(
                f"no server answers at {self._server}. Start one with `bulk-upload serve`,"
                " or say with --url where it is."
            ) from error
        except httpx.TransportError as error:
            raise NotLoadedError(
                f"the connection broke before the server had confirmed it. Look at {self._server}/uploads"
                " whether it is there; if not, try again."
            ) from error
        return int(self._understood(response, 201)["id"])

    def _content(self, path: Path, size: int) -> Iterator[bytes]:
        """Of a file that grows, what was there at first."""
        with path.open("rb") as file:
            while size > 0 and (data := file.read(min(BATCH_BYTES, size))):
                yield data
                size -= len(data)
                self._display.sent(len(data))

    def _follow(self, upload_id: int) -> State:
        """The state in which the upload ended. Raises NotLoadedError when it cannot be told."""
        last_id, tries = "", 0
        while True:
            try:
                for event_id, state in self._states(upload_id, last_id):
                    last_id, tries = event_id, 0
                    self._display.show(state)
                    if state.status in ENDS:
                        return state
            except httpx.TransportError:
                pass  # the stream was cut, or could not be opened
            if tries == len(PAUSES):
                raise ServerAwayError(
                    f"{self._server} answers no more. The file is there, and is imported when the server is back:"
                    f" {self._page(upload_id)}"
                )
            time.sleep(PAUSES[tries])
            tries += 1

    def _states(self, upload_id: int, last_id: str) -> Iterator[tuple[str, State]]:
        """Each state with its event's id, until the stream ends. Raises TransportError, NotLoadedError."""
        path = f"/api/v1/uploads/{upload_id}"
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with connect_sse(self._client, "GET", f"{path}/events", headers=headers, timeout=STREAM_TIMEOUT) as source:
            if source.response.is_server_error:
                return
            if source.response.status_code == 204:  # at the end of which it has told already
                yield last_id, State.of(self._understood(self._client.get(path), 200))
                return
            if source.response.status_code != 200:
                source.response.read()
                self._understood(source.response, 200)
            for event in source.iter_sse():
                if event.event.startswith("bulk_upload_") and event.data:
                    yield event.id, State.of(event.json())

    def _understood(self, response: httpx.Response, wanted: int) -> dict[str, Any]:
        """The upload that was answered. Raises NotLoadedError with the server's sentence, if it gave one."""
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            if response.status_code == wanted and "id" in answer:
                return answer
            if "detail" in answer:
                raise NotLoadedError(str(answer["detail"]))
        if response.status_code == 403 and response.headers.get("content-type", "").startswith("text/plain"):
            raise NotLoadedError(response.text)
        raise NotLoadedError(
            f"{self._server} answered {response.status_code} {response.reason_phrase}, which Bulk Upload does not say."
            " Is it the right address?"
        )

    def _page(self, upload_id: int) -> str:
        return f"{self._server}/uploads/{upload_id}"

    def _tell_interrupted(self, path: Path) -> None:
        if self._upload_id is None:
            words = (
                f"interrupted before the server had confirmed it. Whether it is there, {self._server}/uploads shows."
            )
        else:
            words = f"the import goes on at the server. Watch it, or cancel it, at {self._page(self._upload_id)}"
        click.echo(f"{_name(path)}: {words}", err=True)

    def _tell_unsent(self, files: Sequence[Path]) -> None:
        if files:
            click.echo(f"Not sent: {', '.join(map(_name, files))}.", err=True)


def _name(path: Path) -> str:
    """The file's name as text that can be printed and sent, whatever its bytes are."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
