"""The body of a request → the end of an incoming file, written while it arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import sqlalchemy as sa
from starlette.requests import ClientDisconnect

from jobs import incoming
from jobs.errors import BulkUploadError, IncomingGoneError, TooLargeError
from jobs.incoming import Incoming
from jobs.store.chosen import store_of
from jobs.store.store import Growing
from webapp import threads
from webapp.database_access import read, write
from webapp.errors import ChecksumError, ConnectionBrokenError, FileLockedError
from webapp.routes.upload_body import batches
from webapp.state import AppRequest, AppState
from webapp.tus.headers import Checksum

#: Seconds that a request waits for the end of another one for the same file. The other one may be that of a connection
#: which broke a moment ago.
LOCK_SECONDS = 3.0
#: Seconds between two attempts to take the lock.
LOCK_POLL_SECONDS = 0.05


@asynccontextmanager
async def locked(state: AppState, found: Incoming) -> AsyncIterator[tuple[Incoming, Growing]]:
    """The file that nobody else changes inside the block, and its record as it is now. Bytes whose checksum nobody has
    compared are gone. Raises FileLockedError, IncomingGoneError."""
    store = store_of(state["settings"])
    file = await _opened(partial(store.grow, state["database"], found))
    try:
        present = await read(state["database"], lambda connection: incoming.get(connection, found.id))
        if present.is_gone:
            await threads.files.run(file.remove)
            raise IncomingGoneError
        if present.unchecked_from is not None:
            await threads.files.run(partial(file.cut, present.unchecked_from))
            present = await _kept(state, present)
        yield present, file
    finally:
        await threads.in_thread(file.close)


async def _opened(attempt: "partial[Growing | None]") -> Growing:
    """Raises FileLockedError."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + LOCK_SECONDS
    while True:
        file = await threads.files.run(attempt)
        if file is not None:
            return file
        if clock() > deadline:
            raise FileLockedError
        await asyncio.sleep(LOCK_POLL_SECONDS)


async def receive(request: AppRequest, found: Incoming, file: Growing, checksum: Checksum | None) -> Incoming:
    """Append the body of a request to a file, durably.

    Raises TooLargeError, ChecksumError: nothing of the body stays. ConnectionBrokenError: what arrived stays, unless it
    has a checksum, which nobody can compare. RefusedError: the file cannot be imported.
    """
    state, began = request.state, file.offset
    if began + int(request.headers.get("content-length", 0)) > found.size:
        raise TooLargeError(f"More bytes were announced than the {found.size:,} that the file has.")
    made = checksum.begin() if checksum else None
    if checksum:
        await _kept(state, found, unchecked_from=began)
        file.hold_back()

    def feed(data: bytes) -> None:
        file.write(data)
        if made:
            made.update(data)

    try:
        async for batch in batches(request.stream()):
            await threads.files.run(partial(feed, batch))
        if checksum and made and made.digest() != checksum.digest:
            raise ChecksumError
    except (BulkUploadError, ClientDisconnect) as error:
        if checksum or isinstance(error, TooLargeError):
            await threads.files.run(partial(file.cut, began))
        elif isinstance(error, ClientDisconnect):
            await threads.files.run(file.sync)
        await _kept(state, found)
        if isinstance(error, ClientDisconnect):
            raise ConnectionBrokenError from error
        raise
    await threads.files.run(file.sync)
    return await _kept(state, found)


async def _kept(state: AppState, found: Incoming, *, unchecked_from: int | None = None) -> Incoming:
    """The record of a file that expires later now."""
    seconds = state["settings"].resume_hours * 3600

    def keep(connection: sa.Connection) -> Incoming:
        return incoming.keep(connection, found.id, seconds=seconds, unchecked_from=unchecked_from)

    return await write(state["database"], keep)
