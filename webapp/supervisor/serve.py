"""The supervisor of `bulk-upload serve`: a private Redis, one web process and the workers, in one process tree."""

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
from typing import TextIO
from urllib.parse import urlsplit

from jobs.settings import Settings
from webapp.errors import CannotStartError
from webapp.supervisor import banner, child, data_folder, listener, redis_server, set_up_link
from webapp.supervisor.child import Child

log = logging.getLogger(__name__)

#: Seconds between two checks of the children; a check costs next to nothing.
CHECK_SECONDS = 0.1
#: Seconds that the private Redis may take to respond; it first loads all waiting jobs.
REDIS_SECONDS = 60.0
#: Seconds that the web process may take to respond.
WEB_SECONDS = 60.0
#: Seconds that the web process and the workers have to shut down; a worker releases its upload within a few.
END_SECONDS = 10.0
#: Seconds that Redis has to shut down; it only has to write its last second.
REDIS_END_SECONDS = 5.0
#: Seconds to wait for the port that the web process of a killed supervisor still holds.
LEFTOVER_SECONDS = 10.0


def run(settings: Settings) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP, then shut everything down.

    Raises SettingsError or CannotStartError, with nothing left running.
    """
    listener.check_host(settings)
    with data_folder.claimed(settings.data) as claim:
        patience = LEFTOVER_SECONDS if claim.unclean else 0.0
        with listener.listen(settings, patience) as listening:
            claim.announce(listener.url(listening))
            Supervisor(settings, listening).run()


class _StopError(Exception):
    """A signal requested the end."""


class Supervisor:
    """The parent of all processes of one data folder.

    It keeps the listening socket and passes it to the web process, so that connections wait while that process
    restarts. It holds the only write end of a pipe, the lifeline; its Python children end when that end closes.
    """

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        self._settings = settings
        self._listening = listening
        self._environment = {**os.environ, **settings.environment()}
        self._lifeline, self._held = os.pipe()
        self._redis: Child | None = None
        self._children: list[Child] = []
        self._is_stopping = False

    def run(self) -> None:
        """Start everything, print the banner, restart children that end, and shut down on a signal."""
        self._take_signals()
        try:
            self._start()
            while True:
                self._check()
        except _StopError:
            log.info("Shutting down.")
        finally:
            self._end()

    def _start(self) -> None:
        redis = self._start_redis() if self._settings.redis_url is None else banner.redis(self._settings)
        self._migrate()
        listener.check_access(self._settings, self._has_account)
        web = Child("The web process", partial(self._spawn, "web", "--fd", str(self._listening.fileno())))
        workers = [
            Child(f"Worker {number}", partial(self._spawn, "worker")) for number in range(1, self._settings.workers + 1)
        ]
        quick_workers = [
            Child(f"Quick worker {number}", partial(self._spawn, "worker", "--lane", "quick"))
            for number in range(1, self._settings.quick_workers + 1)
        ]
        self._children = [web, *workers, *quick_workers]
        for process in self._children:
            process.start()
        url = listener.url(self._listening)
        self._await(lambda: _healthy(url), web, WEB_SECONDS)
        banner.show(self._settings, url, redis, self._set_up_url(url))

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
                f"{error} The last warning in its log: {redis_server.last_warning(self._settings)}.\n"
                f"If Redis cannot read the files in {folder}, remove that folder and start again: "
                "all uploads are in the database, and those that wait are queued again."
            ) from error
        return f"private ({program})"

    def _migrate(self) -> None:
        """Migrate the database in a child, so that this process never opens the database."""
        process = self._spawn("migrate")
        try:
            while process.poll() is None:
                self._pause()
        finally:
            process.terminate()
            process.wait()
        if process.returncode != 0:
            raise CannotStartError("The database could not be migrated. The reason is above.")

    def _has_account(self) -> bool:
        """Asked in a child, as `_migrate` does."""
        process = self._spawn("has-account")
        try:
            while process.poll() is None:
                self._pause()
        finally:
            process.terminate()
            process.wait()
        return process.returncode == 0

    def _set_up_url(self, url: str) -> str | None:
        """The address at which somebody makes the first account, if that is wanted: a child asks the database."""
        if not set_up_link.is_wanted(self._settings):
            return None
        process = self._spawn("set-up-link", stdout=subprocess.PIPE)
        try:
            while process.poll() is None:
                self._pause()
        finally:
            process.terminate()
            output, _ = process.communicate()
        secret = output.decode().strip()
        return set_up_link.url(url, secret) if secret else None

    def _spawn(self, *words: str, stdout: TextIO | int = sys.stderr) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _command(*words, "--lifeline"),
            env=self._environment,
            stdin=self._lifeline,
            stdout=stdout,
            pass_fds=[self._listening.fileno()] if words[0] == "web" else [],
            start_new_session=True,  # Ctrl-C in the terminal signals this process only
        )

    def _await(self, ready: Callable[[], bool], awaited: Child, seconds: float) -> None:
        """Wait for a child to be ready. Raises CannotStartError if it ends first or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if (ended := awaited.ended()) is not None:
                raise CannotStartError(f"{awaited.name} {ended} before it was ready.")
            if time.monotonic() >= deadline:
                raise CannotStartError(f"{awaited.name} was not ready within {seconds:g} seconds.")
            self._pause()

    def _check(self) -> None:
        for process in [self._redis, *self._children]:
            if process is not None:
                process.tend()
        self._pause()

    def _pause(self) -> None:
        """Sleep for a moment. Only here a signal takes effect."""
        if self._is_stopping:
            raise _StopError
        time.sleep(CHECK_SECONDS)

    def _end(self) -> None:
        self._listening.close()  # reject connections that would wait for a web process
        child.end(self._children, END_SECONDS)
        if self._redis is not None:
            child.end([self._redis], REDIS_END_SECONDS)
            self._settings.redis_socket.unlink(missing_ok=True)
        os.close(self._held)
        os.close(self._lifeline)

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True


def _command(*words: str) -> list[str]:
    """This program. -P keeps a folder called `jobs` in the working directory from being imported."""
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
