"""Pieces: the parts of a file that arrives in several requests, each an object until the file is complete.

Requests for one file may reach several web processes, which share no disk. So the record of the file says which pieces
it has: a request adds one only where the last one ends, in a transaction, and nobody needs a lock. When the last piece
is there, all are read once, for the hash and into the object of the upload. What S3 offers for that, parts of a
multipart upload, must have at least 5 MiB, which requests need not have.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from jobs import files, incoming
from jobs.database import Database
from jobs.errors import IncomingMovedError, StoreUnavailableError, TooLargeError
from jobs.files import StoredFile
from jobs.formats import file_kinds
from jobs.incoming import Incoming, Piece
from jobs.store.objects import INCOMING, path_of, reported

if TYPE_CHECKING:
    from jobs.store.bucket import BucketStore

#: Bytes of the largest piece, which stays in memory until it is sent.
PIECE_BYTES = 8 << 20


class GrowingObject:
    """What is there of a file. The next request may be answered by another process."""

    def __init__(self, store: "BucketStore", database: Database, found: Incoming) -> None:
        self._store = store
        self._database = database
        self._id = found.id
        self._filename = found.filename
        self._size = found.size
        with database.reading() as connection:
            self._pieces = incoming.pieces_of(connection, found.id)
        self._known = len(self._pieces)
        #: How many pieces are recorded.
        self._recorded = self._known
        self._held = bytearray()
        self._holds_back = False
        self._is_checked = files.is_stored_unseen(found.filename)
        self._sha256: str | None = None

    @property
    def _sent(self) -> int:
        return self._pieces[-1].begin + self._pieces[-1].size if self._pieces else 0

    @property
    def offset(self) -> int:
        return self._sent + len(self._held)

    @property
    def is_complete(self) -> bool:
        return self.offset == self._size

    def hold_back(self) -> None:
        self._holds_back = True

    def write(self, data: bytes) -> None:
        if self.offset + len(data) > self._size:
            raise TooLargeError(f"More bytes were sent than the {self._size:,} that the file has.")
        view = memoryview(data)
        while view:
            room = PIECE_BYTES - len(self._held)
            self._held += view[:room]
            view = view[room:]
            if len(self._held) == PIECE_BYTES:
                self._send()
        if self.offset >= min(file_kinds.HEAD_BYTES, self._size):
            self.check_kind()

    def check_kind(self) -> None:
        """Raises RefusedError for what cannot be a table."""
        if not self._is_checked:
            head = bytearray()
            for piece in self._pieces:
                if len(head) < file_kinds.HEAD_BYTES:
                    head += b"".join(self._store.blocks_of(piece.object, 0, min(piece.size, file_kinds.HEAD_BYTES)))
            head += self._held[: file_kinds.HEAD_BYTES]
            files.check_kind(self._filename, bytes(head[: file_kinds.HEAD_BYTES]))
            self._is_checked = True

    def sync(self) -> None:
        if self._held:
            self._send(is_last=True)
        self._record()

    def _send(self, *, is_last: bool = False) -> None:
        piece = Piece(self._sent, len(self._held), f"{INCOMING}{self._id}/{self._sent:014}-{uuid4().hex}")
        with reported():
            self._store.s3.put(piece.object, bytes(self._held), use_multipart=False)
        self._pieces.append(piece)
        self._held.clear()
        if not self._holds_back and not is_last:
            self._record()

    def _record(self) -> None:
        """Raises IncomingMovedError."""
        new = self._pieces[self._recorded :]
        if not new:
            return
        try:
            with self._database.transaction() as connection:
                incoming.add_pieces(connection, self._id, new)
        except IncomingMovedError:
            self._drop(new)
            raise
        except BaseException:  # they may be recorded all the same
            self._recorded = len(self._pieces)
            raise
        self._recorded = len(self._pieces)

    def cut(self, offset: int) -> None:
        """Of what this request added. Raises IncomingMovedError."""
        self._held.clear()
        cut = [piece for piece in self._pieces[self._known :] if piece.begin >= offset]
        recorded = [piece for piece in self._pieces[: self._recorded] if piece in cut]
        if recorded:
            with self._database.transaction() as connection:
                incoming.cut_pieces(connection, self._id, recorded)
        self._drop(cut)

    def _drop(self, pieces: list[Piece]) -> None:
        self._pieces = [piece for piece in self._pieces if piece not in pieces]
        self._recorded = min(self._recorded, len(self._pieces))
        with suppress(StoreUnavailableError):  # then the hourly pass removes them
            self._store.remove_objects([piece.object for piece in pieces])

    def hashing(self) -> Iterator[None]:
        """And put the pieces together. Raises IncomingMovedError if another request has done so and removed them."""
        made, total, steps = hashlib.sha256(), 0, 0
        writer = self._store.writer(path_of(self._id), self._size)
        try:
            for piece in self._pieces:
                for block in self._store.blocks_of(piece.object, 0, piece.size):
                    with reported():
                        writer.write(block)
                    made.update(block)
                    total, steps = total + len(block), steps + len(block)
                    if steps >= incoming.HASHED_AT_ONCE:
                        steps = 0
                        yield
            if total != self._size:
                raise StoreUnavailableError(f"{total} of {self._size} bytes could be read")
            with reported():
                writer.close()
        except BaseException as error:
            self._store.abandon(writer, path_of(self._id))
            if isinstance(error, FileNotFoundError):
                raise IncomingMovedError from error
            raise
        self._sha256 = made.hexdigest()

    def stored(self) -> StoredFile:
        assert self._sha256 is not None
        self.check_kind()
        return StoredFile(self._filename, self._id, self._size, self._sha256)

    def forget_pieces(self) -> None:
        with suppress(StoreUnavailableError):  # then the hourly pass removes them
            self._store.remove_objects([piece.object for piece in self._pieces])

    def remove(self) -> None:
        self._store.remove_incoming(self._id)

    def close(self) -> None:
        """Pieces that nobody recorded are of no use."""
        if new := self._pieces[self._recorded :]:
            self._drop(new)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
