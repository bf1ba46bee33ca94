"""The supervisor behind `bulk-upload serve`: a private Redis, one web process and the workers, in one process tree."""

import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from urllib.parse import urlsplit

from jobs.settings import Settings
from webapp.errors import CannotStartError
from webapp.supervisor import banner, child, data_folder, listener, redis_server
from webapp.supervisor.child import Child

log = logging.getLogger(__name__)

#: Seconds between two looks at the children: a death is noticed soon, and looking costs next to nothing.
LOOK_SECONDS = 0.1
#: Seconds that the private Redis may take until it answers; it reads all its waiting jobs first.
REDIS_SECONDS = 60.0
#: Seconds that the web process may take until it answers.
WEB_SECONDS = 60.0
#: Seconds that the web process and the workers have to end in order; a worker hands its upload back within a few.
END_SECONDS = 10.0
#: Seconds that Redis has to end in order; it only has to write its last second down.
REDIS_END_SECONDS = 5.0
#: Seconds to wait for a port that the web process of a killed supervisor is about to let go.
LEFT_OVER_SECONDS = 10.0


def run(settings: Settings) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP, then end it all in order.

    Raises SettingsError or CannotStartError, with nothing left running.
    """
    listener.check_host(settings)
    os.umask(0o077)  # what is uploaded here is for this user's eyes
    with data_folder.claimed(settings.data) as claim:
        patience = LEFT_OVER_SECONDS if claim.unclean else 0.0
        with listener.listen(settings, patience) as listening:
            claim.announce(listener.url(listening))
            Supervisor(settings, listening).run()


class _EndAskedForError(Exception):
    """A signal asked for the end."""


class Supervisor:
    """The parent of all processes of one data folder.

    It keeps the listening socket and hands it to the web process, so that browsers wait while that one is started
    again, and it holds the only writing end of a pipe that its Python children watch: they end when it closes.
    """

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        self._settings = settings
        self._listening = listening
        self._environment = {**os.environ, **settings.environment()}
        self._lifeline, self._held = os.pipe()
        self._redis: Child | None = None
        self._children: list[Child] = []
        self._end_asked_for = False

    def run(self) -> None:
        """Start everything, say so, keep it running, and end it when asked to."""
        self._take_signals()
        try:
            self._start()
            while True:
                self._look()
        except _EndAskedForError:
            log.info("Ending.")
        finally:
            self._end()

    def _start(self) -> None:
        redis = self._start_redis() if self._settings.redis_url is None else banner.redis(self._settings)
        self._migrate()
        web = Child("The web process", partial(self._spawn, "web", "--fd", str(self._listening.fileno())))
        workers = [
            Child(f"Worker {number}", partial(self._spawn, "worker")) for number in range(1, self._settings.workers + 1)
        ]
        self._children = [web, *workers]
        for process in self._children:
            process.start()
        url = listener.url(self._listening)
        self._await(lambda: _healthy(url), web, WEB_SECONDS)
        banner.show(self._settings, url, redis)

    def _start_redis(self) -> str:
        program = redis_server.executable()
        redis_server.prepare(self._settings)
        self._redis = Child("The private Redis", partial(redis_server.spawn, program, self._settings))
        self._redis.start()
        try:
            self._await(lambda: redis_server.answers(self._settings.redis_socket), self._redis, REDIS_SECONDS)
        except CannotStartError as error:
            folder = redis_server.folder(self._settings)
            raise CannotStartError(
                f"{error} Its last words: {redis_server.last_words(self._settings)}.\n"
                f"If this server cannot read what is in {folder}, remove that folder and start again: "
                "all uploads are in the database, and those that wait are queued anew."
            ) from error
        return f"private ({program})"

    def _migrate(self) -> None:
        """Bring the database to the newest schema, in a child, so that this process never opens the database."""
        process = self._spawn("migrate")
        try:
            while process.poll() is None:
                self._pause()
        finally:
            process.terminate()
            process.wait()
        if process.returncode != 0:
            raise CannotStartError("The database could not be prepared: the reason is above.")

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _command(*words, "--lifeline"),
            env=self._environment,
            stdin=self._lifeline,
            stdout=sys.stderr,
            pass_fds=[self._listening.fileno()] if words[0] == "web" else [],
            start_new_session=True,  # Ctrl-C in the terminal is for this process alone
        )

    def _await(self, ready: Callable[[], bool], awaited: Child, seconds: float) -> None:
        """Wait for a child to be ready. Raises CannotStartError when it dies first, or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if (ended := awaited.ended()) is not None:
                raise CannotStartError(f"{awaited.name} {ended} before it was ready.")
            if time.monotonic() >= deadline:
                raise CannotStartError(f"{awaited.name} was not ready within {seconds:g} seconds.")
            self._pause()

    def _look(self) -> None:
        for process in [self._redis, *self._children]:
            if process is not None:
                process.tend()
        self._pause()

    def _pause(self) -> None:
        """Sleep for a moment: the one place where being asked to end takes effect."""
        if self._end_asked_for:
            raise _EndAskedForError
        time.sleep(LOOK_SECONDS)

    def _end(self) -> None:
        self._listening.close()  # nobody is left waiting for a web process that will not come
        child.end(self._children, END_SECONDS)
        if self._redis is not None:
            child.end([self._redis], REDIS_END_SECONDS)
            self._settings.redis_socket.unlink(missing_ok=True)
        os.close(self._held)
        os.close(self._lifeline)

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._ask_for_end)

    def _ask_for_end(self, number: int, frame: FrameType | None) -> None:
        self._end_asked_for = True


def _command(*words: str) -> list[str]:
    """This same program; -P, so that a folder called `jobs` where it was started is not taken for ours."""
    return [sys.executable, "-P", "-m", "webapp.cli", *words]


def _healthy(url: str) -> bool:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
