"""The supervisor, with real processes."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.support.supervised import Serve, is_running
from tests.support.waiting import until
from webapp.supervisor import redis_server


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_one_command_runs_everything_and_says_where(start: Callable[..., Serve]) -> None:
    serve = start()

    assert is_healthy(serve.url)
    assert set(serve.children) == {"The private Redis", "The web process", "Worker 1"}
    assert f"Data      {serve.data}" in serve.banner
    assert f"SQLite {serve.data / 'bulk_upload.db'}" in serve.banner


def test_nobody_else_can_enter_the_private_redis(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")

    assert serve.socket.parent.stat().st_mode & 0o777 == 0o700
    assert serve.socket.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_orderly_and_leaves_no_process(start: Callable[..., Serve], number: signal.Signals) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    children = serve.children
    serve.process.send_signal(number)

    assert serve.process.wait(20) == 0
    assert [name for name, pid in children.items() if is_running(pid)] == []
    assert "Traceback" not in serve.log
    assert "killed" not in serve.log


def test_an_end_asked_for_while_starting_leaves_no_process(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: "The private Redis" in serve.children, "Redis to be started")
    serve.process.terminate()

    assert serve.process.wait(20) == 0
    assert [name for name, pid in serve.children.items() if is_running(pid)] == []
    assert "Traceback" not in serve.log


def test_a_second_start_on_the_same_data_folder_is_refused(start: Callable[..., Serve]) -> None:
    first = start()
    url = first.url
    status, words = start().refusal()

    assert status == 1
    assert f"Bulk Upload is already running on {first.data} at {url} (process {first.process.pid})." in words
    assert is_healthy(url)


def test_a_taken_port_is_refused(start: Callable[..., Serve]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, words = start(port=port).refusal()

    assert status == 1
    assert words == (
        f"Port {port} on 127.0.0.1 is already in use by another program. "
        "Stop that program, or choose another port with --port (or BULK_UPLOAD_PORT).\n"
    )


def test_an_address_that_others_can_reach_is_refused(start: Callable[..., Serve]) -> None:
    status, words = start("--host", "0.0.0.0").refusal()

    assert status == 2
    assert words.startswith("HOST: 0.0.0.0 can be reached from other machines, and there is no sign-in")


def test_a_data_folder_that_is_a_file_is_refused(start: Callable[..., Serve], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder", "utf-8")
    status, words = start(data="taken").refusal()

    assert status == 2
    assert f"Directory '{tmp_path / 'taken'}' is a file." in words


def test_a_killed_web_process_is_started_again_and_nobody_is_refused_meanwhile(start: Callable[..., Serve]) -> None:
    serve = start()
    url = serve.url
    killed = serve.children["The web process"]
    os.kill(killed, signal.SIGKILL)

    assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200

    until(lambda: serve.children["The web process"] != killed, "the new web process")

    assert f"The web process (process {killed}) was ended by SIGKILL. The supervisor restarts it at once." in serve.log


def test_a_killed_worker_is_started_again(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    killed = serve.children["Worker 1"]
    os.kill(killed, signal.SIGKILL)

    until(lambda: serve.children["Worker 1"] != killed, "the new worker")


def test_a_killed_redis_is_started_again_on_the_same_socket(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    killed = serve.children["The private Redis"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: serve.children["The private Redis"] != killed, "the new Redis")

    until(lambda: redis_server.answers(serve.socket), "the new Redis to answer")


def test_a_killed_supervisor_takes_its_children_along_and_a_new_start_works(start: Callable[..., Serve]) -> None:
    first = start()
    port = int(first.url.rpartition(":")[2])
    children = first.children
    first.process.kill()
    first.process.wait(10)
    second = start(port=port)

    assert is_healthy(second.url)

    until(lambda: not any(map(is_running, children.values())), "the children of the killed supervisor to end")


def test_a_start_works_after_everything_was_killed(start: Callable[..., Serve]) -> None:
    first = start()
    port = int(first.url.rpartition(":")[2])
    first.kill_everything()

    assert first.socket.exists()

    second = start(port=port)

    assert is_healthy(second.url)


def test_a_long_data_path_gets_a_short_socket(start: Callable[..., Serve]) -> None:
    with TemporaryDirectory() as short:
        serve = start(data="/".join(["a-folder-with-a-long-name"] * 5), TMPDIR=short)

        assert is_healthy(serve.url)
        assert len(list(Path(short).glob("bulk-upload-*/redis.sock"))) == 1

        serve.kill_everything()
