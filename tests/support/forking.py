"""Processes of workers without the second that each would need for its imports.

One process, started at the first use, has imported what a worker needs and rehearsed, as a worker has before it forks a
work horse. Each worker is a fork of it, with its own environment, arguments and output, and rehearses no more: its work
horses start warm on SQLite; on PostgreSQL they compile their statements, as after a rehearsal that failed. Where a test
is about the start of a process, about a rehearsal, or about what a process imports, it starts one of its own.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jobs.settings import Settings
from tests import ROOT

MESSAGE_BYTES = 1 << 20
#: What is imported before the first fork.
IMPORTED = "import jobs.bulk_upload, jobs.worker, webapp.cli"


class ForkedProcess:
    """A process that `fork` started, with the methods of subprocess.Popen that tests use."""

    def __init__(self, server: "_Server", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        """The exit status. timeout: seconds to wait for it."""
        if self.returncode is None and select.select([self._handle], [], [], timeout)[0]:
            self.returncode = self._server.ask({"wait": self.pid})
            os.close(self._handle)
        return self.returncode


def fork(code: str, words: Sequence[str], environment: Mapping[str, str], log: Path) -> ForkedProcess:
    """Run Python code with these arguments; what it prints is added to a file."""
    server = _Server.running()
    with log.open("ab") as output:
        pid = server.ask({"code": code, "words": list(words), "environment": dict(environment)}, output.fileno())
    return ForkedProcess(server, pid)


class _Server:
    """The process that forks, seen from the test."""

    _running: "_Server | None" = None

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = f"{IMPORTED}; from tests.support import forking; forking.serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=[theirs.fileno()],
            )

    @classmethod
    def running(cls) -> "_Server":
        """One for each process of the tests."""
        if cls._running is None or cls._running._owner != os.getpid():
            cls._running = cls()
            atexit.register(cls._running._end)
        return cls._running

    def ask(self, message: Mapping[str, object], *descriptors: int) -> int:
        socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
        answer = self._socket.recv(MESSAGE_BYTES)
        assert answer, "the process that forks has ended"
        return int(answer)

    def _end(self) -> None:
        if self._owner == os.getpid():
            self._socket.close()
            self._process.wait(60)


def serve(descriptor: int) -> None:
    """Fork for each message, until the test has ended. descriptor: of the socket to it."""
    asked = socket.socket(fileno=descriptor)
    _rehearse()
    while True:
        message, descriptors, *_ = socket.recv_fds(asked, MESSAGE_BYTES, 1)
        if not message:
            return
        wanted = json.loads(message)
        if "wait" in wanted:
            _, status = os.waitpid(wanted["wait"], 0)
            asked.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            asked.close()
            _run(wanted["code"], wanted["words"], wanted["environment"], *descriptors)
        os.close(*descriptors)
        asked.send(str(pid).encode())


def _rehearse() -> None:
    """Instead of each worker, once."""
    from jobs import rehearsal  # its libraries take seconds to load, and tests do not need them

    with tempfile.TemporaryDirectory(prefix="bulk-upload-") as folder:
        rehearsal.rehearse(Settings.load(data=folder, database_url=f"sqlite:///{folder}/bulk_upload.db"))
    rehearsal.rehearse = lambda settings: None


def _run(code: str, words: Sequence[str], environment: Mapping[str, str], output: int) -> NoReturn:
    """In the forked process: as if Python had been started with these arguments."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *words]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    raise SystemExit(0)
