"""Needs: what a route takes. Each route of the application says so; the gate and the route hold it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from jobs.errors import NotAllowedError
from jobs.people.policy import Policy
from jobs.people.roles import Role
from jobs.people.roles import Scope as TokenScope
from webapp.operation import Operation


@dataclass(frozen=True)
class Needs:
    """is_public: without signing in. person: not with an API token. role: that the caller has somewhere. scopes: of
    which a token has one. whole_server: not with a token for a dataset. What a request may do to one dataset or upload,
    its endpoint asks the policy."""

    is_public: bool = False
    person: bool = False
    role: Role = Role.VIEWER
    scopes: tuple[TokenScope, ...] = ()
    whole_server: bool = False


#: Whoever can connect.
PUBLIC = Needs(is_public=True)
#: Whoever is known, by whichever means.
ANYBODY = Needs()
#: Whoever has signed in, for what concerns themselves.
PERSON = Needs(person=True)
#: Whoever may see something.
READ = Needs(scopes=(TokenScope.READ,))
#: Whoever may upload somewhere.
UPLOAD = Needs(role=Role.UPLOADER, scopes=(TokenScope.UPLOAD,))
#: Whoever may upload, or announce what a script imports.
CREATE = Needs(role=Role.UPLOADER, scopes=(TokenScope.UPLOAD, TokenScope.NOTIFY))
#: Scripts that report on their imports.
REPORT = Needs(role=Role.UPLOADER, scopes=(TokenScope.NOTIFY,))
#: Administrators.
ADMIN = Needs(role=Role.ADMIN, scopes=(TokenScope.ADMIN,))
#: Administrators, for what belongs to no dataset: accounts, groups, the audit log.
SERVER = Needs(role=Role.ADMIN, scopes=(TokenScope.ADMIN,), whole_server=True)
#: Anybody for themselves; a token needs the scope.
OWN = Needs(scopes=(TokenScope.ADMIN,), whole_server=True)


class GuardedRoute(Route):
    """A route that says what it takes, and lets nobody else pass. operation: what the description of the API says of
    it."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        needs: Needs,
        *,
        methods: Sequence[str] = ("GET",),
        operation: Operation | None = None,
        **options: Any,
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods), **options)
        self.needs = needs
        self.operation = operation

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotAllowedError."""
        if self.methods is None or scope["method"] in self.methods:
            _check(self.needs, scope["state"].get("policy"))
        await super().handle(scope, receive, send)


def _check(needs: Needs, policy: Policy | None) -> None:
    if needs.is_public:
        return
    assert policy is not None, "the gate lets nobody pass who is unknown"
    if needs.person and policy.caller.scopes is not None:
        raise NotAllowedError("An API token may not do this: sign in.")
    if needs.whole_server:
        policy.require_whole_server()
    if needs.scopes:
        policy.require(needs.role, needs.scopes)
