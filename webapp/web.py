"""The web process: one uvicorn, on a socket of its own or on the supervisor's."""

import logging
import resource
import signal
import socket
import sys
from types import FrameType

import uvicorn

from jobs.settings import Settings
from webapp import listener
from webapp.app import create_app

log = logging.getLogger(__name__)

#: Seconds that requests in flight have to finish at the end; streams are told to come back well before.
DRAIN_SECONDS = 5


def run(settings: Settings, fd: int | None = None) -> None:
    """Serve the pages and the API until SIGTERM or SIGINT.

    fd: a listening socket that this process inherited, instead of one on the host and port of the settings.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    _allow_many_files()
    with listener.listen(settings) if fd is None else socket.socket(fileno=fd) as listening:
        log.info("Listening on %s.", listener.url(listening))
        _server(settings).run(sockets=[listening])


def _server(settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=listener.BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return uvicorn.Server(config)


def _end(number: int, frame: FrameType | None) -> None:
    """End quietly: before uvicorn has taken the signals over, and when it raises them again after its shutdown."""
    sys.exit(0)


def _allow_many_files() -> None:
    """Each open page holds a connection: lift this process's limit of open files as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems call the hard limit endless and still refuse it
        log.warning("Could not lift the limit of %d open files; about as many pages can be open at once.", soft)
