"""The web process: one uvicorn, on its own socket or the supervisor's."""

import gc
import logging
import resource
import signal
import socket
import sys
from types import FrameType

import uvicorn

from jobs.settings import Settings
from webapp.app import create_app
from webapp.server.connection import Connection
from webapp.supervisor import listener

log = logging.getLogger(__name__)

#: Seconds that requests in flight may take to finish at shutdown; streams end well before.
DRAIN_SECONDS = 5
#: File descriptors reserved for everything but streams: the database, uploads in progress, other requests.
OTHER_FILES = 256
#: Thresholds of gc.set_threshold: new objects, then collections of the younger generation.
GC_THRESHOLDS = (20_000, 20, 50)


def run(settings: Settings, fd: int | None = None) -> None:
    """Serve the pages and the API until SIGTERM or SIGINT.

    fd: a listening socket that this process inherited, instead of one on the host and port of the settings.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    settings = _limit_streams(settings)
    _reduce_gc()
    with listener.listen(settings) if fd is None else socket.socket(fileno=fd) as listening:
        log.info("Listening on %s.", listener.url(listening))
        _server(settings).run(sockets=[listening])


def _server(settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=listener.BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return uvicorn.Server(config)


def _reduce_gc() -> None:
    """Run the garbage collector less often. A thousand open streams keep some hundred thousand objects alive; scanning
    them at Python's default rate took 15 % of this process's time."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit without a traceback: before uvicorn handles signals, and when it raises them again after its shutdown."""
    sys.exit(0)


def _limit_streams(settings: Settings) -> Settings:
    """Limit streams to the files that this process may open; each stream holds a connection."""
    limit = _raise_file_limit()
    if settings.streams + OTHER_FILES <= limit:
        return settings
    streams = max(1, limit - OTHER_FILES)
    log.warning(
        "This process may open only %d files, so it accepts %d event streams at once, not %d. Raise `ulimit -n`.",
        limit, streams, settings.streams,
    )  # fmt: skip
    return settings.model_copy(update={"streams": streams})


def _raise_file_limit() -> int:
    """Raise this process's limit on open files as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems report an infinite hard limit but reject it
        hard = soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
