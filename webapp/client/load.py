"""The command `bulk-upload load`: sends files to a running server and follows each import to its end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

import click
import httpx

from webapp.client import resuming
from webapp.client.follower import Follower, State, outcome, print_warnings
from webapp.client.progress import ProgressBars, on_terminal
from webapp.client.remote import Remote, RemoteError, Server, ServerUnavailableError
from webapp.client.resuming import NotResumableError, ResumableFile

#: Bytes read from a file and sent at once.
BATCH_BYTES = 1 << 18
#: Seconds to wait for the response to an upload; the server first stores the whole file.
RESPONSE_TIMEOUT = httpx.Timeout(300, connect=5)


class Display(Protocol):
    """Shows the progress of each file."""

    def begin(self, name: str, size: int) -> None:
        """Called before a file is sent. size: bytes."""

    def sent(self, size: int) -> None:
        """Called after each part of the file is sent. size: bytes of the part."""

    def resuming(self, sent: int, size: int) -> None:
        """Called when sending goes on behind what the server has already. sent, size: bytes."""

    def show(self, state: State) -> None:
        """Called with each state of the import."""

    def end(self) -> None:
        """Called when the file is finished or abandoned."""


class Lines:
    """For a stderr that is not a terminal: one line when a file begins. The outcome goes to stdout in any case."""

    def begin(self, name: str, size: int) -> None:
        click.echo(f"{name}: sending {size:,} bytes", err=True)

    def sent(self, size: int) -> None: ...

    def resuming(self, sent: int, size: int) -> None:
        click.echo(f"  resuming at {100 * sent // size} %", err=True)

    def show(self, state: State) -> None: ...

    def end(self) -> None: ...


def run(files: Sequence[Path], fields: Mapping[str, str], server: Server) -> int:
    """Load files one after the other, so that a dataset that the first creates exists for the next.

    fields: of the request, such as the name of the dataset; an empty one is left out. Returns the exit status: 0 if all
    rows of all files were imported, with or without warnings, which go to stderr; 1 if something failed or was
    cancelled; 2 if a file could not be sent; 3 if an upload waits for a person; 130 after Ctrl-C.
    """
    bars = on_terminal()
    with Remote(server) as remote, bars or nullcontext():
        return _Loading(remote, fields, ProgressBars(bars) if bars else Lines()).load_all(files)


class _Loading:
    """Loads several files, one at a time."""

    def __init__(self, remote: Remote, fields: Mapping[str, str], display: Display) -> None:
        """fields: of the request; an empty one is left out."""
        self._remote = remote
        self._fields = {name: value for name, value in fields.items() if value}
        self._display = display
        self._upload_id: int | None = None
        self._is_in_parts = False

    def load_all(self, files: Sequence[Path]) -> int:
        status = 0
        for position, path in enumerate(files):
            try:
                status = max(status, self._load(path))
            except RemoteError as error:
                click.echo(f"{_name(path)}: {error}", err=True)
                status = 2
                if isinstance(error, ServerUnavailableError):
                    self._print_unsent(files[position + 1 :])
                    break
            except KeyboardInterrupt:
                self._print_interrupted(path)
                self._print_unsent(files[position + 1 :])
                return 130
            finally:
                self._display.end()
        return status

    def _load(self, path: Path) -> int:
        self._upload_id, self._is_in_parts = None, False
        self._upload_id = self._send(path)
        state = self._follow(self._upload_id)
        self._display.end()
        parts = self._parts(self._upload_id) if "parts" in self._fields and state.status == "completed" else ()
        if not parts:
            return self._tell(_name(path), state, self._upload_id)
        click.echo(f"{_name(path)}: in {len(parts):,} part{'' if len(parts) == 1 else 's'}")
        print_warnings(state)
        return max(self._part(f"{_name(path)}, {part['name']}", int(part["upload"])) for part in parts)

    def _part(self, name: str, upload_id: int) -> int:
        """Follow the upload of a part of the file to its end."""
        self._upload_id = upload_id
        return self._tell(name, self._follow(upload_id, Lines()), upload_id)

    def _tell(self, name: str, state: State, upload_id: int) -> int:
        """Say how an upload ended. Returns the exit status."""
        sentence, status = outcome(state, self._remote.page(upload_id))
        click.echo(f"{name}: {sentence}")
        print_warnings(state)
        return status

    def _parts(self, upload_id: int) -> Sequence[Mapping[str, Any]]:
        """The parts of a file that other uploads import. Raises RemoteError."""
        found: Sequence[Mapping[str, Any]] = self._remote.upload(upload_id).get("parts") or []
        return found

    def _send(self, path: Path) -> int:
        """Send the file and return the id of its upload. Raises RemoteError."""
        try:
            size = path.stat().st_size
            self._display.begin(_name(path), size)
            if size >= resuming.SMALLEST:
                with suppress(NotResumableError):
                    return self._send_in_parts(path)
            response = self._remote.client.post(
                "/api/v1/uploads",
                params={"filename": _name(path), **self._fields},
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
                content=self._content(path, size),
                timeout=RESPONSE_TIMEOUT,
            )
        except OSError as error:
            raise RemoteError(f"cannot read the file: {error.strerror}.") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._remote.unavailable() from error
        except httpx.TransportError as error:
            raise RemoteError(
                "the connection broke before the server confirmed the upload."
                f" Check {self._remote.name}/uploads: if the file is not listed, try again."
            ) from error
        return int(self._remote.parse_upload(response, 201)["id"])

    def _send_in_parts(self, path: Path) -> int:
        """Raises RemoteError, NotResumableError, OSError."""
        display, fields = self._display, {"filename": _name(path), **self._fields}
        file = ResumableFile(self._remote, path, fields, arrived=display.sent, resuming=display.resuming)
        self._is_in_parts = True
        try:
            return file.send()
        except NotResumableError:
            self._is_in_parts = False
            raise

    def _content(self, path: Path, size: int) -> Iterator[bytes]:
        """The first `size` bytes of the file, which may have grown."""
        with path.open("rb") as file:
            while size > 0 and (data := file.read(min(BATCH_BYTES, size))):
                yield data
                size -= len(data)
                self._display.sent(len(data))

    def _follow(self, upload_id: int, display: Display | None = None) -> State:
        """The final state of the upload. display: another one. Raises RemoteError if the server does not report it."""
        try:
            for state in Follower(self._remote, upload_id).states():
                (display or self._display).show(state)
        except ServerUnavailableError as error:
            page = self._remote.page(upload_id)
            raise ServerUnavailableError(
                f"{error} The server has stored the file and imports it when it runs again: {page}"
            ) from error
        return state

    def _print_interrupted(self, path: Path) -> None:
        if self._upload_id is None and self._is_in_parts:
            sentence = "interrupted. Start the command again to send the rest."
        elif self._upload_id is None:
            history = f"{self._remote.name}/uploads"
            sentence = f"interrupted before the server confirmed the upload. Check {history} for the file."
        else:
            page = self._remote.page(self._upload_id)
            sentence = f"the import continues on the server. Watch or cancel it at {page}"
        click.echo(f"{_name(path)}: {sentence}", err=True)

    def _print_unsent(self, files: Sequence[Path]) -> None:
        if files:
            click.echo(f"Not sent: {', '.join(map(_name, files))}.", err=True)


def _name(path: Path) -> str:
    """The file's name as valid text, whatever its bytes are."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
