"""How many event streams a web process holds open: in all, and for one client address."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from webapp.errors import TooManyStreamsError

log = logging.getLogger(__name__)


class Seats:
    """Each open stream takes one."""

    def __init__(self, in_all: int, an_address: int) -> None:
        self._in_all = in_all
        self._an_address = an_address
        self._taken: Counter[str] = Counter()
        self._complained = False

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """A seat for the time of the block. Raises TooManyStreamsError."""
        if self.taken >= self._in_all:
            raise self._refusal(f"This server holds {self._in_all:,} event streams open and takes no more.")
        if self._taken[address] >= self._an_address:
            raise self._refusal(
                f"Your address, {address}, holds {self._an_address:,} event streams open and gets no more."
            )
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]
            self._complained = False

    def _refusal(self, sentence: str) -> TooManyStreamsError:
        if not self._complained:  # once, until a seat is free again: who is refused comes back every few seconds
            log.warning(
                "%s Raise BULK_UPLOAD_STREAMS or BULK_UPLOAD_STREAMS_PER_ADDRESS, start another web process, "
                "or, if that is a proxy's address, name it in BULK_UPLOAD_TRUSTED_PROXIES.",
                sentence,
            )
            self._complained = True
        return TooManyStreamsError(f"{sentence} Close some, or try again later.")


class Seated:
    """In front of a stream's route: a request holds a seat until its answer is over. HEAD opens no stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        seats: Seats = scope["state"]["seats"]
        address = scope["client"][0] if scope["client"] else "a local socket"
        with seats.one(address):
            await self._app(scope, receive, send)
