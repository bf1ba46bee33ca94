"""HTTP clients of tests."""

from typing import Any

import httpx

from webapp.server.process import KEEP_ALIVE_SECONDS

#: Seconds without data after which a client gives up, before the first heartbeat at 15 s.
TIMEOUT = 12.0
#: A connection that was idle for almost as long as the server keeps one may be closed by it while a request is sent.
_LIMITS = httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS / 2)


def client_of(url: str, *, timeout: float = TIMEOUT, **options: Any) -> httpx.Client:
    """A client of a server of the product. The options are httpx's."""
    # Without `verify=False`, each client reads all certificates of the system, though it will see none.
    return httpx.Client(base_url=url, timeout=timeout, verify=False, limits=_LIMITS, **options)
