"""GET /metrics, for Prometheus and what speaks its format."""

import asyncio
import time
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from jobs.people.policy import Policy
from jobs.people.roles import Scope as TokenScope
from webapp import threads
from webapp.access.needs import PUBLIC, GuardedRoute
from webapp.guard import is_loopback
from webapp.metrics import system_figures
from webapp.metrics.collector import Figures
from webapp.metrics.system_figures import SystemFigures
from webapp.problem_details import MEDIA_TYPE, problem, wants_json
from webapp.state import AppRequest, AppState

PATH = "/metrics"
#: Seconds for which figures of the whole system are kept, so that several that scrape cost as much as one.
KEPT_SECONDS = 5.0


class LatestFigures:
    """The figures of the whole system, read again if they are too old; one read for all that ask."""

    def __init__(self) -> None:
        self._figures: SystemFigures | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self, state: AppState) -> SystemFigures:
        async with self._lock:
            if self._figures is None or time.monotonic() - self._read_at > KEPT_SECONDS:
                folder, database, queue = state["settings"].data, state["database"], state["queue"]
                self._figures = await threads.reads.run(lambda: system_figures.read(database, queue, folder))
                self._read_at = time.monotonic()
            return self._figures


async def metrics(request: AppRequest) -> Response:
    """The gate lets everybody come here, because who may is not only a question of who has signed in."""
    state = request.state
    if not (_is_near(request.scope) or _may_read_all(state["policy"])):
        return _refusal(request)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        Figures(
            await state["figures"].get(state),
            state["hub"].feeds.deliveries,
            streams=state["stream_limiter"].open,
            publish_failures=state["changes"].publish_failures,
            retries=state["changes"].retries + state["sweeper"].taken_back,
            sign_in_failures=state["attempts"].failures,
        )
    )
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": content_type})


def _refusal(request: AppRequest) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    found = problem(
        HTTPStatus.UNAUTHORIZED, "Not signed in", "Ask from this machine, or with an API token of scope `read`."
    )
    if wants_json(request):
        return JSONResponse(found, found["status"], headers, MEDIA_TYPE)
    return PlainTextResponse(f"{found['title']}: {found['detail']}\n", found["status"], headers)


def _may_read_all(policy: Policy | None) -> bool:
    """Whether the request has an API token with which everything may be read. A browser that has signed in has none."""
    if policy is None or policy.caller.scopes is None:
        return False
    return policy.caller.dataset is None and TokenScope.READ in policy.caller.scopes


def _is_near(scope: Scope) -> bool:
    """Whether the request comes from this machine. Behind a proxy that nobody trusts, nobody knows."""
    client = scope.get("client")
    if not client or not is_loopback(client[0]):
        return False
    is_told_by_proxy = client[1] == 0  # as uvicorn has it for an address from X-Forwarded-For
    headers = Request(scope).headers
    return is_told_by_proxy or not ("x-forwarded-for" in headers or "forwarded" in headers)


routes = [GuardedRoute(PATH, metrics, PUBLIC)]
