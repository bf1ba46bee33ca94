"""The id of a request: what its client calls it, or one of our own. The answer and the log have it."""

import os
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.process import log_context

HEADER = b"x-request-id"
#: Characters of an id that are kept.
LONGEST = 128
_OTHERS = re.compile(r"[^A-Za-z0-9._:/+=@~-]")


def of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a request names, without what may not stand in a log; or a new one."""
    for name, value in headers:
        if name == HEADER:
            found = _OTHERS.sub("", value[: 4 * LONGEST].decode("latin-1"))[:LONGEST]
            if found:
                return found
    return os.urandom(16).hex()


class RequestId:
    """Middleware around everything else, so that every answer has the id. Plain ASGI, no buffering."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        known: str = state.setdefault("request_id", "") or of(scope["headers"])
        state["request_id"] = known
        log_context.request_id.set(known)  # until the task of the request ends
        header = (HEADER, known.encode())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        await self._app(scope, receive, named)
