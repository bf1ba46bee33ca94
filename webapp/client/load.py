"""The command `bulk-upload load`: sends files to a running server, and follows each to the end of its import."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import click
import httpx

from webapp.client.follower import Follower, State, outcome
from webapp.client.progress import Bars, on_terminal
from webapp.client.remote import Remote, RemoteError, ServerAwayError

#: Bytes that are read from a file and sent at once.
BATCH_BYTES = 1 << 18
#: Seconds to wait for the answer to a whole file, which the server first puts on its disk.
ANSWER_TIMEOUT = httpx.Timeout(300, connect=5)


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


def run(files: Sequence[Path], dataset: str, server: httpx.URL) -> int:
    """Load files one after the other: a dataset that the first one makes is there for the next.

    dataset: the name to ask for, "" for the server's choice. Returns the exit status: 0 when every row of every file
    is in, 1 when something failed or was cancelled, 2 when a file could not be sent, 130 after Ctrl-C.
    """
    bars = on_terminal()
    with Remote(server) as remote, bars or nullcontext():
        return _Loading(remote, dataset, Bars(bars) if bars else Lines()).all(files)


class _Loading:
    """Several files on their way, one at a time."""

    def __init__(self, remote: Remote, dataset: str, display: Display) -> None:
        self._remote = remote
        self._dataset = dataset
        self._display = display
        self._upload_id: int | None = None

    def all(self, files: Sequence[Path]) -> int:
        status = 0
        for position, path in enumerate(files):
            try:
                status = max(status, self._one(path))
            except RemoteError as error:
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
        sentence, status = outcome(self._follow(self._upload_id), self._remote.page(self._upload_id))
        self._display.end()
        click.echo(f"{_name(path)}: {sentence}")
        return status

    def _send(self, path: Path) -> int:
        """The id that the server gave the file. Raises RemoteError."""
        try:
            size = path.stat().st_size
            self._display.begin(_name(path), size)
            response = self._remote.client.post(
                "/api/v1/uploads",
                params={"filename": _name(path)} | ({"dataset": self._dataset} if self._dataset else {}),
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
                content=self._content(path, size),
                timeout=ANSWER_TIMEOUT,
            )
        except OSError as error:
            raise RemoteError(f"it cannot be read: {error.strerror}.") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._remote.away() from error
        except httpx.TransportError as error:
            raise RemoteError(
                f"the connection broke before the server had confirmed it. Look at {self._remote.name}/uploads"
                " whether it is there; if not, try again."
            ) from error
        return int(self._remote.understood(response, 201)["id"])

    def _content(self, path: Path, size: int) -> Iterator[bytes]:
        """Of a file that grows, what was there at first."""
        with path.open("rb") as file:
            while size > 0 and (data := file.read(min(BATCH_BYTES, size))):
                yield data
                size -= len(data)
                self._display.sent(len(data))

    def _follow(self, upload_id: int) -> State:
        """The state in which the upload ended. Raises RemoteError when it cannot be told."""
        try:
            for state in Follower(self._remote, upload_id).states():
                self._display.show(state)
        except ServerAwayError as error:
            page = self._remote.page(upload_id)
            raise ServerAwayError(
                f"{error} The file is there, and is imported when the server is back: {page}"
            ) from error
        return state

    def _tell_interrupted(self, path: Path) -> None:
        if self._upload_id is None:
            shown = f"{self._remote.name}/uploads"
            words = f"interrupted before the server had confirmed it. Whether it is there, {shown} shows."
        else:
            page = self._remote.page(self._upload_id)
            words = f"the import goes on at the server. Watch it, or cancel it, at {page}"
        click.echo(f"{_name(path)}: {words}", err=True)

    def _tell_unsent(self, files: Sequence[Path]) -> None:
        if files:
            click.echo(f"Not sent: {', '.join(map(_name, files))}.", err=True)


def _name(path: Path) -> str:
    """The file's name as text that can be printed and sent, whatever its bytes are."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
