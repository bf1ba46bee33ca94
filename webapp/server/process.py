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
from webapp import logs
from webapp.app import create_app
from webapp.server import connection
from webapp.server.connections import MOST_CONNECTIONS, Connections
from webapp.supervisor import listener, set_up_link

log = logging.getLogger(__name__)

#: Seconds that requests in flight may take to finish at shutdown; streams end well before.
DRAIN_SECONDS = 5
#: Seconds for which a connection stays open after a response, so that the next request need not connect again.
KEEP_ALIVE_SECONDS = 5
#: File descriptors reserved for everything but connections: the database, its locks, Redis, logs; and a margin.
OTHER_FILES = 256
#: Connections that are not streams, at least, however few files this process may open.
FEWEST_CONNECTIONS = 32
#: Thresholds of gc.set_threshold: new objects, then collections of the younger generation. What survives the younger
#: ones (the form of a large upload) is garbage in the oldest when it ends; with every 150,000 objects all are searched.
GC_THRESHOLDS = (10_000, 4, 2)


def run(settings: Settings, fd: int | None = None) -> None:
    """Serve the pages and the API until SIGTERM or SIGINT.

    fd: a listening socket that this process inherited, instead of one on the host and port of the settings.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    settings, connections = _limit(settings)
    _reduce_gc()
    with listener.listen(settings) if fd is None else socket.socket(fileno=fd) as listening:
        log.info("Listening on %s.", listener.url(listening))
        if fd is None:
            _print_set_up_link(settings, listener.url(listening))
        _server(settings, connections).run(sockets=[listening])


def _print_set_up_link(settings: Settings, url: str) -> None:
    """Not into the log, which others may read. A supervisor shows one in its banner."""
    secret = set_up_link.make(settings)
    if secret is not None:
        sentence = f"Nobody has an account yet. Make the first one: {set_up_link.url(url, secret)}"
        print(logs.as_line(sentence, "web") if logs.is_json(settings.log_format) else sentence, flush=True)


def _server(settings: Settings, connections: Connections) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http=connection.protocol(connections),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=listener.BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
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


def _limit(settings: Settings) -> tuple[Settings, Connections]:
    """Limit streams and other connections to the files that this process may open.

    Each stream needs one file. Each other connection needs two, because it may receive or send a file; together they
    get up to a quarter of what there is.
    """
    limit = _raise_file_limit()
    available = limit - OTHER_FILES
    others = min(MOST_CONNECTIONS, max(FEWEST_CONNECTIONS, available // 8))
    connections = Connections(others)
    streams = max(1, available - 2 * others)
    if settings.streams <= streams:
        return settings, connections
    log.warning(
        "This process may open only %d files, so it accepts %d event streams at once, not %d. Raise `ulimit -n`.",
        limit, streams, settings.streams,
    )  # fmt: skip
    return settings.model_copy(update={"streams": streams}), connections


def _raise_file_limit() -> int:
    """Raise this process's limit on open files as far as allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems report an infinite hard limit but reject it
        hard = soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
