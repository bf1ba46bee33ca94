"""How many event streams a web process serves at once: in total, and for one client address."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from webapp.errors import TooManyStreamsError

log = logging.getLogger(__name__)


class StreamLimiter:
    """Counts open streams."""

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
        """Count a stream for the duration of the block. Raises TooManyStreamsError."""
        if self.open >= self._limit:
            raise self._refuse(f"This server has reached its limit of {self._limit:,} open event streams.")
        if self._open[address] >= self._limit_per_address:
            raise self._refuse(
                f"Your address, {address}, has reached its limit of {self._limit_per_address:,} open event streams."
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
        if not self._warned:  # once until a stream ends: refused clients try again every few seconds
            log.warning(
                "%s Raise BULK_UPLOAD_STREAMS or BULK_UPLOAD_STREAMS_PER_ADDRESS, start another web process, "
                "or, if that is the address of a proxy, add it to BULK_UPLOAD_TRUSTED_PROXIES.",
                sentence,
            )
            self._warned = True
        return TooManyStreamsError(f"{sentence} Close some, or try again later.")


class LimitedStream:
    """Middleware of a stream's route: a request counts until its response is complete. HEAD opens no stream."""

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
