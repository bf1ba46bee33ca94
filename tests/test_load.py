"""`bulk-upload load`: what it says and with which status it ends, against servers that really run."""

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from jobs.errors import SettingsError
from jobs.settings import Settings
from tests.supervised import ROOT, Serve, kill
from tests.waiting import until
from webapp.load import Bars, State, outcome, server_of, words


def begin(*words_: object, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "webapp.cli", "load", *map(str, words_)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words_: object, **variables: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    process = begin(*words_, **variables)
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def state(status: str = "processing", *, done: int = 0, failed: int = 0, total: int | None = None) -> State:
    return State(status, 0, total, done, failed, None)


def test_a_file_is_loaded_to_its_last_row(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start().url
    june = written(tmp_path, "june.csv", "id,name\n" + "".join(f"{n},name {n}\n" for n in range(1234)))

    assert run(june, "--url", url) == (0, "june.csv: completed, 1,234 rows\n", "june.csv: sending 16,298 bytes\n")


def test_without_a_url_the_server_of_the_settings_is_meant(start: Callable[..., Serve], tmp_path: Path) -> None:
    port = start().url.rpartition(":")[2]
    june = written(tmp_path, "june [1].csv", "id,name\n1,Zoë\n")
    status, out, _ = run(june, BULK_UPLOAD_PORT=port, HTTP_PROXY="http://127.0.0.1:1")

    assert (status, out) == (0, "june [1].csv: completed, 1 row\n")


def test_several_files_go_one_after_the_other_and_one_that_is_refused_keeps_none_back(
    start: Callable[..., Serve], tmp_path: Path
) -> None:
    url = start().url
    files = [
        written(tmp_path, "june.csv", "id,name\n1,Zoë\n"),
        written(tmp_path, "june.doc", "id,name\n"),
        written(tmp_path, "empty.csv", ""),
        written(tmp_path, "july.csv", "id,name\n2,Ann\n3,Bob\n"),
    ]
    status, out, err = run(*files, "--url", url)

    assert (status, out) == (2, "june.csv: completed, 1 row\njuly.csv: completed, 2 rows\n")
    assert "june.doc: “june.doc” is not of a kind that can be imported." in err
    assert "empty.csv: “empty.csv” is empty." in err


def test_the_dataset_is_the_one_that_was_asked_for(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start().url
    june = written(tmp_path, "june.csv", "id,name\n1,Zoë\n")
    status, _, err = run(june, "--dataset", "sales", "--url", url)

    assert status == 0, err
    assert httpx.get(f"{url}/api/v1/uploads/1").json()["dataset"] == "sales"


def test_failed_rows_are_counted_and_the_page_that_shows_them_named(
    start: Callable[..., Serve], tmp_path: Path
) -> None:
    url = start().url
    june = written(tmp_path, "june.csv", "id,name\n" + "".join(f"{n},x\n" for n in range(1230)) + "1\n" * 4)
    status, out, _ = run(june, "--url", url + "/")

    assert status == 1
    assert out == f"june.csv: completed with errors: 4 of 1,234 rows failed, see {url}/uploads/1\n"


def test_a_file_that_is_no_table_fails_with_the_reason(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start().url
    picture = written(tmp_path, "picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    status, out, _ = run(picture, "--url", url)
    error = httpx.get(f"{url}/api/v1/uploads/1").json()["error"]

    assert error
    assert (status, out) == (1, f"picture.csv: failed: {error}\n")


def test_an_upload_that_somebody_cancels_ends_with_status_1(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start("--workers", "0").url
    process = begin(written(tmp_path, "june.csv", "id,name\n1,Zoë\n"), "--url", url)
    until(lambda: httpx.get(f"{url}/api/v1/uploads").json()["items"], "the upload")
    httpx.post(f"{url}/api/v1/uploads/1/cancel").raise_for_status()
    out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (1, f"june.csv: cancelled after 0 rows, see {url}/uploads/1\n")


def test_a_stream_that_is_cut_is_opened_again(start: Callable[..., Serve], tmp_path: Path) -> None:
    serve = start("--workers", "0")
    url = serve.url
    process = begin(written(tmp_path, "june.csv", "id,name\n1,Zoë\n"), "--url", url)
    until(lambda: httpx.get(f"{url}/api/v1/uploads").json()["items"], "the upload")
    web = serve.children["The web process"]
    kill(web)
    until(lambda: serve.children["The web process"] != web, "another web process")
    with serve.worker():
        out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, "june.csv: completed, 1 row\n")


class Terminal:
    """A `load` whose output goes to a terminal of 100 columns."""

    def __init__(self, *words_: object) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webapp.cli", "load", *map(str, words_)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.seen += os.read(self._ours, 4096).decode("utf-8", "replace")
            except OSError:  # the last one on the other side has closed it
                os.close(self._ours)
                return

    def status(self) -> int:
        status = self.process.wait(60)
        self._reader.join(10)
        return status


def test_a_terminal_shows_a_bar_and_then_the_outcome(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start().url
    terminal = Terminal(written(tmp_path, "june.csv", "id,name\n1,Zoë\n"), "--url", url)

    assert terminal.status() == 0
    assert "sending 15 bytes" in terminal.seen
    assert "june.csv: completed, 1 row\r\n" in terminal.seen


def test_ctrl_c_says_that_the_import_goes_on_and_where(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start("--workers", "0").url
    files = [written(tmp_path, name, "id,name\n1,Zoë\n") for name in ("june.csv", "july.csv")]
    terminal = Terminal(*files, "--url", url)
    until(lambda: "waiting for a worker" in terminal.seen, "the bar")
    terminal.process.send_signal(signal.SIGINT)
    status = terminal.status()
    said = " ".join(terminal.seen.split())

    assert status == 130
    assert f"june.csv: the import goes on at the server. Watch it, or cancel it, at {url}/uploads/1" in said
    assert "Not sent: july.csv." in said
    assert "Traceback" not in said


def test_a_server_that_is_away_is_named_and_how_to_start_one(tmp_path: Path) -> None:
    files = [written(tmp_path, name, "id,name\n1,Zoë\n") for name in ("june.csv", "july.csv")]
    with socket.socket() as closed:  # bound, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        url = f"http://someone:secret@127.0.0.1:{closed.getsockname()[1]}"
        status, out, err = run(*files, "--url", url)

    assert (status, out) == (2, "")
    assert err.splitlines()[1:] == [
        f"june.csv: no server answers at {url.replace('someone:secret@', '')}. Start one with `bulk-upload serve`,"
        " or say with --url where it is.",
        "Not sent: july.csv.",
    ]


class Answers(BaseHTTPRequestHandler):
    """Says what the test wants, one answer a request. requests: path and Last-Event-ID of each."""

    answers: list[tuple[int, str, str]]
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append((self.path, self.headers.get("Last-Event-ID")))
        status, kind, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815  # the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  # its name there


@contextmanager
def answering(*answers: tuple[int, str, str]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The address of such a server, and what it was asked."""
    requests: list[tuple[str, str | None]] = []
    handler = type("_Answers", (Answers,), {"answers": list(answers), "requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def upload(status: str, rows: int) -> str:
    return (
        f'{{"id": 7, "status": "{status}", "progress": 50, "rows_total": null, "rows_processed": {rows},'
        ' "rows_failed": 0, "error": null, "of_a_newer_server": 1}'
    )


def test_a_new_stream_goes_on_where_the_old_one_was_cut_and_204_is_the_end(tmp_path: Path) -> None:
    events = f"id: A\nevent: bulk_upload_progress\ndata: {upload('processing', 5)}\n\nevent: ping\ndata: now\n\n"
    answers = [
        (201, "application/json", upload("pending", 0)),
        (200, "text/event-stream", events),
        (503, "application/problem+json", "{}"),
        (204, "text/event-stream", ""),
        (200, "application/json", upload("completed", 9)),
    ]
    with answering(*answers) as (url, requests):
        status, out, _ = run(written(tmp_path, "june.csv", "id\n1\n"), "--url", f"{url}/behind/a/proxy")

    path = "/behind/a/proxy/api/v1/uploads"
    assert (status, out) == (0, "june.csv: completed, 9 rows\n")
    assert requests == [
        (f"{path}?filename=june.csv", None),
        (f"{path}/7/events", None),
        (f"{path}/7/events", "A"),
        (f"{path}/7/events", "A"),
        (f"{path}/7", None),
    ]


def test_an_upload_that_is_gone_ends_with_the_servers_sentence(tmp_path: Path) -> None:
    answers = [
        (201, "application/json", upload("pending", 0)),
        (404, "application/problem+json", '{"status": 404, "detail": "There is no upload #7."}'),
    ]
    with answering(*answers) as (url, _):
        status, _, err = run(written(tmp_path, "june.csv", "id\n1\n"), "--url", url)

    assert (status, err.splitlines()[-1]) == (2, "june.csv: There is no upload #7.")


@pytest.mark.parametrize("answer", [(200, "text/html", "<p>Hello"), (404, "application/json", "[]")])
def test_a_server_that_is_another_one_is_told_by_what_it_says(answer: tuple[int, str, str], tmp_path: Path) -> None:
    with answering(answer) as (url, _):
        status, _, err = run(written(tmp_path, "june.csv", "id\n1\n"), "--url", url)

    assert status == 2
    assert f"june.csv: {url} answered {answer[0]} " in err
    assert "Is it the right address?" in err


def test_a_file_that_does_not_exist_is_refused_before_any_is_sent(tmp_path: Path) -> None:
    june = written(tmp_path, "june.csv", "id\n1\n")
    status, out, err = run(june, tmp_path / "july.csv", "--url", "http://127.0.0.1:1")

    assert (status, out) == (2, "")
    assert "july.csv' does not exist." in err
    assert "june.csv" not in err.replace("july.csv", "")


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1", "ftp://host", "http://", "http://host:port", ""])
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        server_of(url, Settings)

    assert refused.value.problems == (f"URL: {url} is not a server's address. Write it like http://127.0.0.1:8000.",)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("localhost", "http://localhost:8123"),
        ("::1", "http://[::1]:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
    ],
)
def test_the_server_of_the_settings_is_where_it_listens(host: str, url: str) -> None:
    assert url == str(server_of(None, lambda: Settings.load(host=host, port=8123)))


def test_a_port_that_is_not_known_must_be_told() -> None:
    with pytest.raises(SettingsError, match="--url"):
        server_of(None, lambda: Settings.load(port=0))


@pytest.mark.parametrize(
    ("of", "rate", "expected"),
    [
        (state("pending"), None, "waiting for a worker"),
        (state(), None, "reading the file"),
        (state(done=1), None, "1 row"),
        (state(done=100_000), 54_321.9, "100,000 rows, 54,322/s"),
        (state(done=100_000, failed=1_988), 54_321.0, "100,000 rows, 1,988 failed, 54,321/s"),
    ],
)
def test_progress_is_told_in_words(of: State, rate: float | None, expected: str) -> None:
    assert expected == words(of, rate)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (state("completed", done=1_234), ("completed, 1,234 rows", 0)),
        (state("completed", done=1), ("completed, 1 row", 0)),
        (
            state("completed", done=1_234, failed=12),
            ("completed with errors: 12 of 1,234 rows failed, see http://host/uploads/7", 1),
        ),
        (state("cancelled", done=9), ("cancelled after 9 rows, see http://host/uploads/7", 1)),
        (State("failed", 0, None, 0, 0, "It is a picture."), ("failed: It is a picture.", 1)),
    ],
)
def test_an_outcome_is_a_sentence_and_a_status(of: State, expected: tuple[str, int]) -> None:
    assert expected == outcome(of, "http://host/uploads/7")


def test_a_bar_fills_with_bytes_and_then_with_rows() -> None:
    now = 0.0
    progress = Progress(TextColumn("{task.fields[words]}"), console=Console(file=None, quiet=True))
    bars = Bars(progress, clock=lambda: now)

    def seen() -> tuple[float, float | None, str]:
        task = progress.tasks[0]
        return task.completed, task.total, task.fields["words"]

    bars.begin("june.csv", 2_000)
    bars.sent(500)
    sending = seen()
    bars.show(state("pending"))
    waiting = seen()
    bars.show(state())
    now = 10.0
    bars.show(state())
    reading = seen()
    now = 12.0
    bars.show(state(done=700, total=1_000))
    importing = seen()
    bars.end()

    assert sending == (500.0, 2_000.0, "sending 2,000 bytes")
    assert waiting == (0.0, 100.0, "waiting for a worker")
    assert reading == (0.0, 100.0, "reading the file")
    assert importing == (700.0, 1_000.0, "700 rows, 350/s")
    assert len(progress.tasks) == 0
