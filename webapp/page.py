"""Pages as responses, which name whoever asked for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.responses import HTMLResponse

from jobs.people.policy import Policy
from jobs.people.roles import Role
from webapp.state import AppRequest
from webapp.threads import in_thread


@dataclass(frozen=True)
class Visitor:
    """Who reads a page. name: None for the single user, who needs no account. may_upload: into some dataset."""

    name: str | None
    is_administrator: bool
    may_upload: bool

    @classmethod
    def of(cls, policy: Policy | None) -> "Visitor | None":
        """None: somebody who has not signed in."""
        if policy is None:
            return None
        return cls(policy.caller.name, policy.caller.role is Role.ADMIN, policy.may_upload_somewhere)


async def page(
    request: AppRequest, template: str, context: Mapping[str, Any], status: int = HTTPStatus.OK
) -> HTMLResponse:
    """A template with `visitor` and the context, rendered in a thread."""
    shown = {"visitor": Visitor.of(request.state["policy"]), **context}
    return HTMLResponse(await in_thread(partial(request.state["templates"].render, template, shown)), status)
