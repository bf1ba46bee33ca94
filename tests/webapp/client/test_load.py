"""`bulk-upload load`: its output and exit status, against real servers."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support import workbooks
from tests.support.answering import answering, stream, upload
from tests.support.commands import Terminal, begin, run
from tests.support.files import written
from tests.support.serving import Served
from tests.support.supervised import Serve, kill
from tests.support.waiting import until


def test_a_file_is_loaded_to_its_last_row(start: Callable[..., Serve], tmp_path: Path) -> None:
    url = start().url
    june = written(tmp_path, "id,name\n" + "".join(f"{n},name {n}\n" for n in range(1234)), "june.csv")

    assert run("load", june, "--url", url) == (
        0,
        "june.csv: completed, 1,234 rows\n",
        "june.csv: sending 16,298 bytes\n",
    )


def test_warnings_follow_the_outcome_on_stderr(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    files = [
        written(tmp_path, "id,name\n1,Zoë\n", "june.csv"),
        written(tmp_path, "id,Full name\n2,Ann\n", "july.csv"),
    ]
    status, out, err = run("load", *files, "--dataset", "Sales 2024 Q1", "--url", url)

    assert (status, out) == (
        0,
        f"june.csv: completed, 1 row\njuly.csv: completed with warnings, 1 row, see {url}/uploads/2\n",
    )
    assert "  warning: Column “Full name” of the file is not in the dataset and was not imported.\n" in err
    assert httpx.get(f"{url}/api/v1/uploads/2").json()["dataset"] == "sales_2024_q1"


def test_every_part_of_a_file_is_followed_to_its_end(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    book = tmp_path / "book.xlsx"
    book.write_bytes(workbooks.of_sheets("June", "July"))

    assert run("load", book, "--all-parts", "--url", url)[:2] == (
        0,
        "book.xlsx: in 2 parts\nbook.xlsx, June: completed, 10 rows\nbook.xlsx, July: completed, 10 rows\n",
    )
    assert run("load", book, "--part", "July", "--url", url)[1] == (
        "book.xlsx: in 1 part\nbook.xlsx, July: completed, 10 rows\n"
    )
    assert run("load", book, "--part", "July", "--all-parts", "--url", url)[0] == 2


def test_without_a_url_the_address_comes_from_the_settings(site: Callable[..., Served], tmp_path: Path) -> None:
    port = site().url.rpartition(":")[2]
    june = written(tmp_path, "id,name\n1,Zoë\n", "june [1].csv")
    status, out, _ = run("load", june, BULK_UPLOAD_PORT=port, HTTP_PROXY="http://127.0.0.1:1")

    assert (status, out) == (0, "june [1].csv: completed, 1 row\n")


def test_files_are_sent_in_order_and_a_rejected_one_does_not_stop_the_next(
    site: Callable[..., Served], tmp_path: Path
) -> None:
    url = site().url
    files = [
        written(tmp_path, "id,name\n1,Zoë\n", "june.csv"),
        written(tmp_path, "id,name\n", "june.doc"),
        written(tmp_path, "", "empty.csv"),
        written(tmp_path, "id,name\n2,Ann\n3,Bob\n", "july.csv"),
    ]
    status, out, err = run("load", *files, "--url", url)

    assert (status, out) == (2, "june.csv: completed, 1 row\njuly.csv: completed, 2 rows\n")
    assert "june.doc: The file type of “june.doc” is not supported." in err
    assert "empty.csv: “empty.csv” is empty." in err


def test_the_rows_go_into_the_requested_dataset(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    june = written(tmp_path, "id,name\n1,Zoë\n", "june.csv")
    status, _, err = run("load", june, "--dataset", "sales", "--url", url)

    assert status == 0, err
    assert httpx.get(f"{url}/api/v1/uploads/1").json()["dataset"] == "sales"


def test_failed_rows_are_counted_with_a_link_to_their_page(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    june = written(tmp_path, "id,name\n" + "".join(f"{n},x\n" for n in range(1230)) + "1\n" * 4, "june.csv")
    status, out, _ = run("load", june, "--url", url + "/")

    assert status == 1
    assert out == f"june.csv: completed with errors: 4 of 1,234 rows failed, see {url}/uploads/1\n"


def test_a_file_that_is_not_a_table_fails_with_the_reason(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    picture = written(tmp_path, b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "picture.csv")
    status, out, _ = run("load", picture, "--url", url)
    error = httpx.get(f"{url}/api/v1/uploads/1").json()["error"]

    assert error
    assert (status, out) == (1, f"picture.csv: failed: {error}\n")


def test_a_cancelled_upload_ends_with_status_1(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site(workers=0).url
    process = begin("load", written(tmp_path, "id,name\n1,Zoë\n", "june.csv"), "--url", url)
    until(lambda: httpx.get(f"{url}/api/v1/uploads").json()["items"], "the upload")
    httpx.post(f"{url}/api/v1/uploads/1/cancel").raise_for_status()
    out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (1, f"june.csv: cancelled after 0 rows, see {url}/uploads/1\n")


def test_a_held_upload_ends_with_status_3_and_its_page(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    june = written(tmp_path, "id,name\n1,Zoë\n", "june.csv")
    status, out, _ = run("load", june, "--review", "always", "--url", url)
    watched = run("watch", "1", "--url", url)
    refused = run("load", june, "--mode", "upsert", "--url", url)

    assert (status, watched[0]) == (3, 3)
    assert refused[0] == 2
    assert "must be insert or replace, not upsert" in refused[2]
    told = f"held: Look at how the file was read before it is imported. Review it at {url}/uploads/1\n"
    assert out == f"june.csv: {told}"
    assert watched[1].endswith(told)


def test_a_broken_stream_is_reopened(start: Callable[..., Serve], tmp_path: Path) -> None:
    serve = start("--workers", "0")
    url = serve.url
    terminal = Terminal("load", written(tmp_path, "id,name\n1,Zoë\n", "june.csv"), "--url", url)
    until(lambda: "waiting to start" in terminal.seen, "the upload to be accepted")
    web = serve.children["The web process"]
    kill(web)
    until(lambda: serve.children["The web process"] != web, "another web process")
    with serve.worker():
        assert terminal.status() == 0

    assert "june.csv: completed, 1 row\r\n" in terminal.seen


def test_a_terminal_shows_a_bar_and_then_the_outcome(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site().url
    terminal = Terminal("load", written(tmp_path, "id,name\n1,Zoë\n", "june.csv"), "--url", url)

    assert terminal.status() == 0
    assert "sending 15 bytes" in terminal.seen
    assert "june.csv: completed, 1 row\r\n" in terminal.seen


def test_ctrl_c_says_where_the_import_continues(site: Callable[..., Served], tmp_path: Path) -> None:
    url = site(workers=0).url
    files = [written(tmp_path, "id,name\n1,Zoë\n", name) for name in ("june.csv", "july.csv")]
    terminal = Terminal("load", *files, "--url", url)
    until(lambda: "waiting to start" in terminal.seen, "the bar")
    terminal.process.send_signal(signal.SIGINT)
    status = terminal.status()
    said = " ".join(terminal.seen.split())

    assert status == 130
    assert f"june.csv: the import continues on the server. Watch or cancel it at {url}/uploads/1" in said
    assert "Not sent: july.csv." in said
    assert "Traceback" not in said


def test_an_unreachable_server_is_reported_with_how_to_start_one(tmp_path: Path) -> None:
    files = [written(tmp_path, "id,name\n1,Zoë\n", name) for name in ("june.csv", "july.csv")]
    with socket.socket() as closed:  # bound but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://someone:secret@127.0.0.1:{closed.getsockname()[1]}"
        status, out, err = run("load", *files, "--url", url)

    assert (status, out) == (2, "")
    assert err.splitlines()[1:] == [
        f"june.csv: no server responds at {url.replace('someone:secret@', '')}. Start one with `bulk-upload serve`,"
        " or give its address with --url.",
        "Not sent: july.csv.",
    ]


def test_a_reopened_stream_resumes_and_204_ends_it(tmp_path: Path) -> None:
    answers = [
        (201, "application/json", upload("pending")),
        stream(upload("processing", 5, seq=2), ping="now"),
        (503, "application/problem+json", "{}"),
        (204, "text/event-stream", ""),
        (200, "application/json", upload("completed", 9, seq=3)),
    ]
    with answering(*answers) as (url, requests):
        status, out, _ = run("load", written(tmp_path, "id\n1\n", "june.csv"), "--url", f"{url}/behind/a/proxy")

    last_id = "2026-01-31T09:00:02.000000Z"
    path = "/behind/a/proxy/api/v1/uploads"
    assert (status, out) == (0, "june.csv: completed, 9 rows\n")
    assert requests == [
        (f"{path}?filename=june.csv", None),
        (f"{path}/7/events", None),
        (f"{path}/7/events", last_id),
        (f"{path}/7/events", last_id),
        (f"{path}/7", None),
    ]


def test_a_missing_upload_ends_with_the_servers_message(tmp_path: Path) -> None:
    answers = [
        (201, "application/json", upload("pending")),
        (404, "application/problem+json", '{"status": 404, "detail": "There is no upload #7."}'),
    ]
    with answering(*answers) as (url, _):
        status, _, err = run("load", written(tmp_path, "id\n1\n", "june.csv"), "--url", url)

    assert (status, err.splitlines()[-1]) == (2, "june.csv: There is no upload #7.")


@pytest.mark.parametrize("answer", [(200, "text/html", "<p>Hello"), (404, "application/json", "[]")])
def test_a_server_of_another_kind_is_recognized(answer: tuple[int, str, str], tmp_path: Path) -> None:
    with answering(answer) as (url, _):
        status, _, err = run("load", written(tmp_path, "id\n1\n", "june.csv"), "--url", url)

    assert status == 2
    assert f"june.csv: {url} answered {answer[0]} " in err
    assert "Check the address." in err


def test_a_missing_file_is_rejected_before_any_is_sent(tmp_path: Path) -> None:
    june = written(tmp_path, "id\n1\n", "june.csv")
    status, out, err = run("load", june, tmp_path / "july.csv", "--url", "http://127.0.0.1:1")

    assert (status, out) == (2, "")
    assert "july.csv' does not exist." in err
    assert "june.csv" not in err.replace("july.csv", "")
