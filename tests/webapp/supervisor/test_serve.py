"""The supervisor, with real processes."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from jobs.database import Database
from jobs.people import accounts
from jobs.people.roles import Role
from tests.support.supervised import Serve, is_running
from tests.support.waiting import until
from webapp.supervisor import redis_server


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_one_command_runs_everything_and_prints_the_address(start: Callable[..., Serve]) -> None:
    serve = start()

    assert is_healthy(serve.url)
    assert set(serve.children) == {"The private Redis", "The web process", "Worker 1"}
    assert f"Data      {serve.data}" in serve.banner
    assert f"SQLite {serve.data / 'bulk_upload.db'}" in serve.banner


def test_workers_for_small_files_run_on_top_of_the_others(start: Callable[..., Serve]) -> None:
    serve = start("--workers", "0", "--quick-workers", "1")
    url = serve.url
    small = httpx.post(f"{url}/api/v1/uploads?filename=small.csv", content="a\n1\n").json()
    large = httpx.post(f"{url}/api/v1/uploads?filename=large.csv", content=b"a\n" + b"1\n" * 600_000).json()
    until(lambda: httpx.get(url + small["links"]["self"]).json()["status"] == "completed", "the small file")
    waiting = httpx.get(url + large["links"]["self"]).json()

    def page() -> str:
        return httpx.get(url + large["links"]["html"]).text

    assert set(serve.children) == {"The private Redis", "The web process", "Quick worker 1"}
    assert (small["lane"], large["lane"]) == ("quick", "bulk")
    assert (waiting["status"], waiting["position"], waiting["expected_start"]) == ("pending", 0, None)
    # What the web process knows of workers is up to two seconds old.
    until(lambda: "No worker for large files is running" in page(), "the page to know of the worker for small files")
    assert "Ask your administrator to start one." in page()


def test_other_users_cannot_access_the_private_redis(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")

    assert serve.socket.parent.stat().st_mode & 0o777 == 0o700
    assert serve.socket.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_shuts_down_every_process(start: Callable[..., Serve], number: signal.Signals) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    children = serve.children
    serve.process.send_signal(number)

    assert serve.process.wait(60) == 0
    assert [name for name, pid in children.items() if is_running(pid)] == []
    assert "Traceback" not in serve.log
    assert "killed" not in serve.log


def test_a_signal_during_the_start_leaves_no_process(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: "The private Redis" in serve.children, "Redis to be started")
    serve.process.terminate()

    assert serve.process.wait(60) == 0
    assert [name for name, pid in serve.children.items() if is_running(pid)] == []
    assert "Traceback" not in serve.log


def test_a_second_start_on_the_same_data_folder_is_rejected(start: Callable[..., Serve]) -> None:
    first = start()
    url = first.url
    status, words = start().refusal()

    assert status == 1
    assert f"Bulk Upload is already running on {first.data} at {url} (process {first.process.pid})." in words
    assert is_healthy(url)


def test_a_port_in_use_is_rejected(start: Callable[..., Serve]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, words = start(port=port).refusal()

    assert status == 1
    assert words == (
        f"Port {port} on 127.0.0.1 is already in use by another program. "
        "Stop that program, or choose another port with --port (or BULK_UPLOAD_PORT).\n"
    )


def test_a_non_loopback_address_is_rejected(start: Callable[..., Serve]) -> None:
    status, words = start("--host", "0.0.0.0").refusal()

    assert status == 2
    assert words.startswith("HOST: 0.0.0.0 can be reached from other machines. Set BULK_UPLOAD_ALLOWED_HOSTS to")


def test_a_non_loopback_address_takes_an_account(start: Callable[..., Serve]) -> None:
    named = {"BULK_UPLOAD_ALLOWED_HOSTS": "imports.example"}
    refused = start("--host", "0.0.0.0", **named)
    status, words = refused.refusal()
    database = Database(f"sqlite:///{refused.data / 'bulk_upload.db'}")
    with database.transaction() as connection:
        accounts.add(connection, "Ana", Role.ADMIN)
    database.close()
    url = start("--host", "0.0.0.0", **named).url

    assert status == 2
    assert "nobody has to sign in while there is no account" in words
    assert is_healthy(url)
    assert httpx.get(f"{url}/uploads").status_code == 400
    assert httpx.get(f"{url}/uploads", headers={"Host": "imports.example"}).headers["location"].startswith("/sign-in?")


def test_a_data_folder_that_is_a_file_is_rejected(start: Callable[..., Serve], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder", "utf-8")
    status, words = start(data="taken").refusal()

    assert status == 2
    assert f"Directory '{tmp_path / 'taken'}' is a file." in words


def test_a_killed_web_process_restarts_without_rejecting_connections(start: Callable[..., Serve]) -> None:
    serve = start()
    url = serve.url
    killed = serve.children["The web process"]
    os.kill(killed, signal.SIGKILL)

    assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200

    until(lambda: serve.children["The web process"] != killed, "the new web process")

    assert f"The web process (process {killed}) was ended by SIGKILL. The supervisor restarts it at once." in serve.log


def test_a_killed_worker_is_restarted(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    killed = serve.children["Worker 1"]
    os.kill(killed, signal.SIGKILL)

    until(lambda: serve.children["Worker 1"] != killed, "the new worker")


def test_a_killed_redis_is_restarted_on_the_same_socket(start: Callable[..., Serve]) -> None:
    serve = start()
    until(lambda: serve.url, "the banner")
    killed = serve.children["The private Redis"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: serve.children["The private Redis"] != killed, "the new Redis")

    until(lambda: redis_server.answers(serve.socket), "the new Redis to answer")


def test_children_of_a_killed_supervisor_end_and_a_new_start_works(start: Callable[..., Serve]) -> None:
    first = start()
    port = int(first.url.rpartition(":")[2])
    children = first.children
    first.process.kill()
    first.process.wait(60)
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
