"""Throwaway servers for tests: Redis on a unix socket, PostgreSQL on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
from redis import Redis, RedisError

from tests.support.parts import require
from tests.support.waiting import until
from webapp.errors import CannotStartError
from webapp.supervisor import redis_server


def require_redis() -> None:
    """Continue if there is a Redis to start. Otherwise skip the test; in CI, fail it."""
    try:
        redis_server.executable()
    except CannotStartError as error:
        require(False, str(error))


class RedisServer:
    """A Redis that tests can kill, freeze and restart. It keeps its data."""

    def __init__(self) -> None:
        require_redis()
        self._folder = Path(tempfile.mkdtemp(prefix="bulk-"))
        self._socket = self._folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder), "--appendonly", "yes"]
        process = subprocess.Popen([str(redis_server.executable()), *words], stdout=subprocess.DEVNULL)
        until(self._answers, "Redis to answer")
        return process

    def _answers(self) -> bool:
        with Redis.from_url(self.url, socket_timeout=1) as client, suppress(RedisError):
            return bool(client.ping())
        return False

    def empty(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        self.process = self._start()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)


class PostgresServer:
    """A cluster of its own; `create` makes a database in it."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("initdb")
        require(bool(programs or found), "needs PostgreSQL: apt install postgresql")
        self._bin = programs[-1] if programs else Path(str(found)).parent
        # PostgreSQL refuses to run as root; Debian's package brings a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="bulk-pg-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=bulk", "--encoding=UTF8", "--locale=C", "--no-sync", "data")
        self._process = self._begin()

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._bin / program, *words], cwd=self._folder, user=self._user, check=True, stdout=subprocess.DEVNULL
        )

    def _begin(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            # Little log, because the files may be in memory.
            "max_wal_size": "128MB",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = (self._folder / "log").open("wb")
        with log:
            process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data", *words], cwd=self._folder, user=self._user, stderr=log
            )
        until(self._answers, "PostgreSQL to answer")
        return process

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self._url("postgres"), connect_timeout=2):
            return True
        return False

    def _url(self, database: str) -> str:
        return f"postgresql://bulk@127.0.0.1:{self._port}/{database}"

    def create(self, template: str = "template0") -> str:
        """The URL of a new database like the template."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self._url(name)

    def drop(self, url: str) -> None:
        name = url.rpartition("/")[2]
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def remove(self) -> None:
        self._process.send_signal(signal.SIGQUIT)  # immediate shutdown: its data is not needed again
        self._process.wait(60)
        shutil.rmtree(self._folder)
