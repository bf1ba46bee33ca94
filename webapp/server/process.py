"""The web process: one uvicorn, on a socket of its own or on the supervisor's."""

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

#: Seconds that requests in flight have to finish at the end; streams are told to come back well before.
DRAIN_SECONDS = 5
#: Files that are open beside the streams: the database's, uploads under way, other requests.
OTHER_FILES = 256
#: New objects, and rounds of younger ones, between two looks for garbage in cycles.
COLLECT = (20_000, 20, 50)


def run(settings: Settings, fd: int | None = None) -> None:
    """Serve the pages and the API until SIGTERM or SIGINT.

    fd: a listening socket that this process inherited, instead of one on the host and port of the settings.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    settings = _with_room_for_streams(settings)
    _collect_rarely()
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


def _collect_rarely() -> None:
    """A thousand open streams are some hundred thousand objects that live as long as they: to look through them all for
    garbage as often as Python does by default took 15 % of this process's time."""
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _end(number: int, frame: FrameType | None) -> None:
    """End quietly: before uvicorn has taken the signals over, and when it raises them again after its shutdown."""
    sys.exit(0)


def _with_room_for_streams(settings: Settings) -> Settings:
    """Each open page holds a connection: no more streams than files may be open, once that limit is lifted."""
    limit = _allow_many_files()
    if settings.streams + OTHER_FILES <= limit:
        return settings
    streams = max(1, limit - OTHER_FILES)
    log.warning(
        "This process may open %d files only, so it takes %d event streams at once, not %d: raise `ulimit -n`.",
        limit, streams, settings.streams,
    )  # fmt: skip
    return settings.model_copy(update={"streams": streams})


def _allow_many_files() -> int:
    """Lift this process's limit of open files as far as it may go, and say where that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems call the hard limit endless and still refuse it
        hard = soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
