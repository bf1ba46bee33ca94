"""How many event streams a web process holds open: in all, and for one client address."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from webapp.errors import TooManyStreamsError

log = logging.getLogger(__name__)


class StreamLimiter:
    """Each open stream takes one."""

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._open: Counter[str] = Counter()
        self._warned = False

    @property
    def open(self) -> int:
        return self._open.total()

    @contextmanager
    def slot(self, address: str) -> Iterator[None]:
        """A seat for the time of the block. Raises TooManyStreamsError."""
        if self.open >= self._limit:
            raise self._refuse(f"This server holds {self._limit:,} event streams open and takes no more.")
        if self._open[address] >= self._limit_per_address:
            raise self._refuse(
                f"Your address, {address}, holds {self._limit_per_address:,} event streams open and gets no more."
            )
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
            self._warned = False

    def _refuse(self, sentence: str) -> TooManyStreamsError:
        if not self._warned:  # once, until a seat is free again: who is refused comes back every few seconds
            log.warning(
                "%s Raise BULK_UPLOAD_STREAMS or BULK_UPLOAD_STREAMS_PER_ADDRESS, start another web process, "
                "or, if that is a proxy's address, name it in BULK_UPLOAD_TRUSTED_PROXIES.",
                sentence,
            )
            self._warned = True
        return TooManyStreamsError(f"{sentence} Close some, or try again later.")


class LimitedStream:
    """In front of a stream's route: a request holds a seat until its answer is over. HEAD opens no stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        limiter: StreamLimiter = scope["state"]["stream_limiter"]
        address = scope["client"][0] if scope["client"] else "a local socket"
        with limiter.slot(address):
            await self._app(scope, receive, send)
