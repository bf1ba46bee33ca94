"""Notes in the audit log who was refused."""

from functools import partial
from typing import Any

from starlette.requests import Request

from jobs.database import Database
from jobs.people import audit
from jobs.people.audit import Actor, Result, Via
from webapp.database_access import write


async def note(
    request: Request[Any], action: str, object_: str = "", *, actor: str | None = None, detail: str = ""
) -> None:
    """In a transaction of its own: what was refused changes nothing."""
    client = request.client
    via = Via.API if request.url.path.startswith("/api/") else Via.WEB
    who = Actor(actor, via, client.host if client else "")
    database: Database = request.scope["state"]["database"]

    await write(
        database, partial(audit.write, actor=who, action=action, object_=object_, result=Result.REFUSED, detail=detail)
    )


async def note_token(request: Request[Any]) -> None:
    """A token that is unknown, revoked or expired."""
    await note(request, "token.use", f"{request.method} {request.url.path}")
