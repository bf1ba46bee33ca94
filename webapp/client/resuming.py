"""Sends a large file in parts (tus 1.0), and goes on where a connection broke or an earlier command ended."""

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from webapp.client.remote import Remote, RemoteError, ServerUnavailableError

#: Bytes of the smallest file that is sent in this way.
SMALLEST = 4 << 20
PATH = "/api/v1/uploads/tus"
#: Seconds to wait for an answer; at the end the server reads the whole file once more.
TIMEOUT = httpx.Timeout(300, connect=5)
#: Seconds before each attempt after one by which nothing arrived; the last value repeats.
PAUSES = (0.5, 1.0, 2.0, 5.0)
#: Attempts by which nothing arrived: about five minutes, enough for a server to restart or move.
MAX_ATTEMPTS = 63
#: Seconds that the address of a file is remembered, which is longer than servers keep one by default.
REMEMBERED_SECONDS = 7 * 86_400.0
#: Bytes of a request: what is lost at a cut behind a proxy that collects a request before it passes it on.
PART_BYTES = 1 << 25
#: Bytes read from a file and sent at once.
BATCH_BYTES = 1 << 18
#: What may be otherwise at the next attempt: another request has the file, the offset is another one, the part arrived
#: changed, or the server is busy.
_PASSING = frozenset({408, 409, 423, 425, 460, 500, 502, 503, 504})


class NotResumableError(Exception):
    """The server does not take files in parts."""


class ResumableFile:
    """One file. It is known again by its path, size and time of its last change, for the same server and fields."""

    def __init__(
        self,
        remote: Remote,
        path: Path,
        fields: Mapping[str, str],
        *,
        arrived: Callable[[int], None],
        resuming: Callable[[int, int], None],
    ) -> None:
        """fields: of the upload, with `filename`. arrived: called with the bytes that were sent last. resuming: called
        with the bytes that the server has, and those of the file, whenever sending goes on. Raises OSError."""
        self._remote = remote
        self._path = path
        self._fields = fields
        self._arrived = arrived
        self._resuming = resuming
        found = path.stat()
        self._size, self._changed = found.st_size, found.st_mtime_ns
        identity = [remote.name, str(path.resolve()), self._size, self._changed, sorted(fields.items())]
        self._note = _folder() / hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self._address = _remembered(self._note)
        #: Bytes that the server has; None: it must be asked.
        self._offset: int | None = None
        self._has_answered = False

    def send(self) -> int:
        """The id of the upload. Raises RemoteError, NotResumableError, OSError."""
        attempts, best = 0, -1
        while True:
            try:
                if (upload_id := self._attempt()) is not None:
                    self._forget()
                    return upload_id
            except httpx.TransportError as error:
                if not self._has_answered and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise self._remote.unavailable() from error
                self._offset = None
            if self._offset is not None and self._offset > best:
                best, attempts = self._offset, 0
                continue
            if attempts == MAX_ATTEMPTS:
                raise ServerUnavailableError(
                    f"{self._remote.name} does not respond. Start the command again to send the rest of the file."
                )
            time.sleep(PAUSES[min(attempts, len(PAUSES) - 1)])
            attempts += 1

    def _attempt(self) -> int | None:
        """Take the next step. The id of the upload if the file is complete. Raises TransportError."""
        if self._address is None:
            self._create()
        elif self._offset is None:
            return self._ask()
        return self._append()

    def _create(self) -> None:
        metadata = ",".join(f"{name} {_encoded(value)}" for name, value in self._fields.items())
        answer = self._request("POST", PATH, {"Upload-Length": str(self._size), "Upload-Metadata": metadata})
        if answer.status_code in (404, 405):
            raise NotResumableError
        if answer.status_code == 201:
            # The server may be known to a proxy by another name.
            self._address = urlsplit(answer.headers.get("Location", "")).path
            self._remember()
            self._offset = 0
        elif answer.status_code not in _PASSING:
            self._remote.parse_upload(answer, 201)

    def _ask(self) -> int | None:
        answer = self._request("HEAD", self._address or "")
        if answer.status_code in (404, 410):
            self._forget()
        elif answer.status_code == 200:
            if found := _upload_id(answer):
                return found
            self._offset = int(answer.headers["Upload-Offset"])
            self._resuming(self._offset, self._size)
        elif answer.status_code not in _PASSING:
            raise RemoteError(f"{self._remote.name} answered {answer.status_code} {answer.reason_phrase}.")
        return None

    def _append(self) -> int | None:
        if self._address is None or self._offset is None:
            return None
        offset, self._offset = self._offset, None
        size = min(self._size - offset, PART_BYTES)
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size),
        }
        answer = self._request("PATCH", self._address, headers, self._content(offset, size))
        if answer.status_code == 204:
            self._offset = int(answer.headers["Upload-Offset"])
            return _upload_id(answer)
        if answer.status_code in (404, 410):
            self._forget()
        elif answer.status_code not in _PASSING:
            self._forget()
            self._remote.parse_upload(answer, 204)
        return None

    def _content(self, offset: int, size: int) -> Iterator[bytes]:
        """Raises RemoteError if the file has changed."""
        with self._path.open("rb") as file:
            file.seek(offset)
            while size:
                data = file.read(min(BATCH_BYTES, size))
                if not data or self._path.stat().st_mtime_ns != self._changed:
                    raise RemoteError("the file was changed while it was sent. Start the command again.")
                yield data
                size -= len(data)
                self._arrived(len(data))

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = {},
        content: Iterator[bytes] | None = None,  # unchanged
    ) -> httpx.Response:
        """Raises TransportError."""
        given = {"Tus-Resumable": "1.0.0", **headers}
        answer = self._remote.client.request(method, path, headers=given, content=content, timeout=TIMEOUT)
        self._has_answered = True
        return answer

    def _remember(self) -> None:
        with suppress(OSError):  # a cut is survived all the same; only the next command begins anew
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(self._address or "", "utf-8")

    def _forget(self) -> None:
        self._address = self._offset = None
        with suppress(OSError):
            self._note.unlink(missing_ok=True)


def _upload_id(answer: httpx.Response) -> int | None:
    """The upload of a complete file."""
    found = re.fullmatch(r"/api/v1/uploads/([0-9]+)", answer.headers.get("Content-Location", ""))
    return int(found[1]) if found else None


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _folder() -> Path:
    """Where the addresses of files are remembered that were not sent to their end."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local" / "state") / "bulk-upload" / "sending"


def _remembered(note: Path) -> str | None:
    """The address in a note. Old notes go."""
    with suppress(OSError):
        for each in note.parent.iterdir():
            if time.time() - each.stat().st_mtime > REMEMBERED_SECONDS:
                each.unlink(missing_ok=True)
    with suppress(OSError, ValueError):
        address = note.read_text("utf-8")
        return address if address.startswith(f"{PATH}/") else None
    return None
