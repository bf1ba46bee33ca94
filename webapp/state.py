"""The typed `request.state`. The process creates its objects once, when it starts."""

from typing import TYPE_CHECKING, NotRequired, TypedDict

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request

if TYPE_CHECKING:  # these modules use the state themselves
    from jobs.changes import Changes
    from jobs.database import Database
    from jobs.people.audit import Actor
    from jobs.people.policy import Policy
    from jobs.questions import Questions
    from jobs.queue import UploadQueue
    from jobs.settings import Settings
    from jobs.sweeper import Sweeper
    from webapp.access.attempts import Attempts
    from webapp.access.identity import Identity
    from webapp.access.mode import Mode
    from webapp.live.delivery.hub import Hub
    from webapp.live.limiter import StreamLimiter
    from webapp.live.record_cache import RecordCache
    from webapp.live.renderer import Renderer
    from webapp.live.response import Connection
    from webapp.live.snapshots import Snapshots
    from webapp.metrics.endpoint import LatestFigures
    from webapp.oidc.issuer import Issuer
    from webapp.templating import Templates


class AppState(TypedDict):
    """Shared objects of the process, created in app.py."""

    settings: "Settings"
    database: "Database"
    queue: "UploadQueue"
    questions: "Questions"
    changes: "Changes"
    hub: "Hub"
    templates: "Templates"
    renderer: "Renderer"
    records: "RecordCache"
    snapshots: "Snapshots"
    stream_limiter: "StreamLimiter"
    mode: "Mode"
    identity: "Identity"
    attempts: "Attempts"
    issuer: "Issuer | None"
    sweeper: "Sweeper"
    figures: "LatestFigures"


class RequestState(AppState):
    """And what belongs to one request: the client's connection, which it adds itself, and what the gate adds: what
    whoever sent the request may do (None on paths that are open to everybody), and who it is, for the audit log.
    is_of_form: the request is about a file that a page's form sends."""

    connection: "Connection"
    policy: "Policy"
    actor: "Actor"
    is_of_form: NotRequired[bool]


AppRequest = Request[RequestState]


class IdConvertor(Convertor[int]):
    """An upload id in a path. A number too large for the database matches no route."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", IdConvertor())
