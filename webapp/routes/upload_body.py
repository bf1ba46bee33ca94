"""The body of an upload request → a stored file, written while it arrives, in a thread, in batches of one megabyte."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from jobs.errors import RefusedError, TooLargeError
from jobs.files import Receiving, StoredFile, too_large
from jobs.store.store import Store
from webapp import threads

#: Bytes passed to the parser, the hash and the disk at once.
BATCH_BYTES = 1 << 20
#: Seconds after which those that arrived are passed on although they are fewer.
BATCH_SECONDS = 1.0
#: Bytes of a form besides the file: fields, headers and boundaries, and whatever stands before or behind them.
FORM_BYTES = 1 << 16
#: Parts of a form; there are about half as many fields.
MAX_PARTS = 40
#: Fields that name a part of the file.
PART_FIELDS = ("sheet", "member")
#: Headers of a part, and bytes of each. A browser sends two, with the name of the file in one of them.
MAX_PART_HEADERS, MAX_PART_HEADER_BYTES = 8, 4096
#: Characters of a boundary (RFC 2046, section 5.1.1), and of the header with it.
MAX_BOUNDARY, MAX_CONTENT_TYPE = 70, 1000


def add(fields: dict[str, str], name: str, value: str) -> None:
    """Add a field. One that names a part of the file may be repeated, which is the field `parts` with all names."""
    if name in PART_FIELDS and value and fields.get(name):
        names = json.loads(fields["parts"]) if fields.get("parts", "").startswith("[") else [fields[name]]
        fields["parts"] = json.dumps([*names, value])
    fields[name] = value


class FormBody:
    """The body of a multipart form with one file. Blocking: pass data to `feed`, then call `finish`."""

    def __init__(self, content_type: str, store: Store, limit: int, fields: dict[str, str] | None = None) -> None:
        """fields: receives them while they arrive."""
        boundary = _boundary(content_type)
        self.fields = {} if fields is None else fields
        self._parts = 0
        self._field_bytes = 0
        self._file_bytes = 0
        self._received = 0
        self._ended = False
        self._store = store
        self._limit = limit
        self._arrival: Receiving | None = None
        self._header: dict[str, bytearray] = {"name": bytearray(), "value": bytearray()}
        self._disposition: dict[bytes, bytes] = {}
        self._into: Receiving | bytearray = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._header["name"].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header["value"].extend(data[start:end]),
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )

    def feed(self, data: bytes) -> None:
        """Raises RefusedError."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise RefusedError(f"The form could not be read: {error}.") from error
        self._received += len(data)
        if self._received - self._file_bytes > FORM_BYTES:
            raise RefusedError(f"The form has more than {FORM_BYTES:,} bytes besides the file.")

    def finish(self) -> StoredFile:
        """Raises RefusedError if the form is incomplete, has no file or an empty one."""
        if not self._ended:  # the parser itself accepts this
            raise RefusedError("The form ended before it was complete. Try again.")
        if self._arrival is None:
            raise RefusedError("No file was sent. Choose a CSV file and try again.")
        return self._arrival.keep()

    def discard(self) -> None:
        """Remove the stored file, unless `finish` kept it."""
        if self._arrival is not None:
            self._arrival.__exit__(None, None, None)

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise RefusedError(f"The form has more than {MAX_PARTS} fields.")

    def _on_header(self) -> None:
        if bytes(self._header["name"]).lower() == b"content-disposition":
            _, self._disposition = parse_options_header(bytes(self._header["value"]))
        self._header = {"name": bytearray(), "value": bytearray()}

    def _on_headers(self) -> None:
        filename = self._disposition.get(b"filename")
        if filename is None:
            self._into = bytearray()
            return
        if self._arrival is not None:
            raise RefusedError("Send one file at a time.")
        self._arrival = self._store.receive(filename.decode("utf-8", "replace"), limit=self._limit)
        self._into = self._arrival

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        part = memoryview(data)[start:end]
        if isinstance(self._into, Receiving):
            self._into.write(part)
            self._file_bytes += len(part)
        else:
            self._count(len(part))
            self._into += part

    def _on_part_end(self) -> None:
        if isinstance(self._into, bytearray):
            name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
            self._count(len(name))
            add(self.fields, name, self._into.decode("utf-8", "replace"))
        self._disposition = {}

    def _on_end(self) -> None:
        self._ended = True

    def _count(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > FORM_BYTES:
            raise RefusedError("The fields of the form are too long.")


def _boundary(content_type: str) -> bytes:
    """Raises RefusedError."""
    if len(content_type) <= MAX_CONTENT_TYPE:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind == b"multipart/form-data" and 0 < len(boundary) <= MAX_BOUNDARY:
            return boundary
    raise RefusedError(
        "Send the file as multipart/form-data, in a field called “file”, with a boundary of at most"
        f" {MAX_BOUNDARY} characters."
    )


class RawBody:
    """A body that is the file itself. The query has its name and the fields."""

    def __init__(self, query: dict[str, str], store: Store, limit: int) -> None:
        self.fields = query
        self._arrival = store.receive(query.get("filename", ""), limit=limit)

    def feed(self, data: bytes) -> None:
        self._arrival.write(data)

    def finish(self) -> StoredFile:
        return self._arrival.keep()

    def discard(self) -> None:
        self._arrival.__exit__(None, None, None)


async def receive(
    request: Request[Any], store: Store, *, limit: int, raw_allowed: bool, entered: dict[str, str] | None = None
) -> tuple[StoredFile, dict[str, str]]:
    """Store the file in a request. Returns it and the other fields. Raises RefusedError.

    limit: bytes of the file. raw_allowed: accept a body that is not a form as the file itself. entered: receives the
    fields of a form.
    """
    try:
        return await _store(request, store, limit, raw_allowed, entered)
    except ClientDisconnect as error:
        raise RefusedError("The connection broke before the whole file was sent.") from error


async def _store(
    request: Request[Any], store: Store, limit: int, raw_allowed: bool, entered: dict[str, str] | None
) -> tuple[StoredFile, dict[str, str]]:
    content_type = request.headers.get("content-type", "")
    is_form = content_type.lower().startswith("multipart/") or not raw_allowed
    if int(request.headers.get("content-length", 0)) > limit + (FORM_BYTES if is_form else 0):
        raise TooLargeError(too_large(limit))

    def begin() -> FormBody | RawBody:
        if is_form:
            return FormBody(content_type, store, limit, entered)
        fields: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            add(fields, name, value)
        return RawBody(fields, store, limit)

    body = await threads.files.run(begin)
    try:
        async for batch in batches(request.stream()):
            await threads.files.run(partial(body.feed, batch))
        file = await threads.files.run(body.finish)
        return file, body.fields
    finally:
        body.discard()


async def batches(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a body, in pieces of about BATCH_BYTES, or of what arrived in BATCH_SECONDS. Also the last ones
    before a connection breaks: ClientDisconnect is raised after them."""
    held = bytearray()  # a list would hold an object for each byte of a client that sends them one by one
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        async for data in stream:
            held += data
            if len(held) >= BATCH_BYTES or (held and clock() - began >= BATCH_SECONDS):
                yield bytes(held)
                held.clear()
                began = clock()
    except ClientDisconnect:
        if held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)
