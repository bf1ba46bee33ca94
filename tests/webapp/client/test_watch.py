"""`bulk-upload watch`: its output and exit status, against real servers."""

import re
import signal
import socket

import pytest

from jobs.failed_rows import FailedRow, Reason
from jobs.settings import Settings
from tests.support.answering import answering, stream, upload
from tests.support.commands import Terminal, begin, run
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served, Web
from tests.support.waiting import until
from tests.webapp.client.test_follower import state
from webapp.client.follower import State
from webapp.client.watch import line

BAD = FailedRow(11, ["x"], [Reason("a", "is not a number", "x")])


def without_times(text: str) -> list[str]:
    """The lines of an output without the time that each must begin with."""
    lines = text.splitlines()
    for each in lines:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  #", each), each
    return [each[21:] for each in lines]


class Watcher:
    """A running `watch`, read line by line."""

    def __init__(self, *words: object) -> None:
        self.process = begin("watch", *words)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out, self._err = self.process.stdout, self.process.stderr

    def prints(self, expected: str) -> None:
        """Check the next line on stdout, without its time."""
        [found] = without_times(self._out.readline())

        assert expected == found

    def warns(self, expected: str) -> None:
        """Check the next line on stderr."""
        assert expected == self._err.readline().rstrip("\n")

    def end(self) -> int:
        """Its exit status; there must be no more output."""
        out, err = self.process.communicate(timeout=60)

        assert (out, err) == ("", "")
        return self.process.returncode


@ONE_DATABASE
def test_each_change_of_each_upload_is_a_line(served: Served) -> None:
    records = served.records
    running = records.processing("june.csv", rows=100)
    watcher = Watcher("--url", served.url)
    watcher.warns(f"Watching {served.url}. Press Ctrl-C to stop.")
    watcher.prints("#1 june.csv: processing, 0 %, 0 rows of 100")
    records.advance(running, 25)
    watcher.prints("#1 june.csv: processing, 25 %, 25 rows of 100")
    other = records.external("july [1].csv")
    watcher.prints("#2 july [1].csv: pending")
    records.report(other, "error", error="The disk\nis full.")
    watcher.prints("#2 july [1].csv: failed: The disk is full.")
    records.complete(running)
    watcher.prints("#1 june.csv: completed, 25 rows")
    watcher.process.send_signal(signal.SIGINT)

    assert watcher.end() == 130


@ONE_DATABASE
def test_one_upload_is_watched_to_its_end(served: Served) -> None:
    records = served.records
    upload, other = records.processing("june.csv", rows=10), records.processing("july.csv")
    watcher = Watcher(upload.id, "--url", f"{served.url}/")
    watcher.warns(f"Watching {served.url}. Press Ctrl-C to stop.")
    watcher.prints("#1 june.csv: processing, 0 %, 0 rows of 10")
    records.advance(other)
    records.advance(upload, 10)
    watcher.prints("#1 june.csv: processing, 99 %, 10 rows of 10")
    records.complete(upload)
    watcher.prints("#1 june.csv: completed, 10 rows")

    assert watcher.end() == 0


@ONE_DATABASE
def test_the_exit_status_is_0_if_all_rows_were_imported(served: Served) -> None:
    records = served.records
    ends = [
        (records.completed(), 0, "completed, 0 rows"),
        (
            records.complete(records.advance(records.processing(), 10, [BAD])),
            1,
            f"completed with errors: 1 of 11 rows failed, see {served.url}/uploads/2",
        ),
        (records.fail(records.processing()), 1, "failed: The file cannot be read."),
        (records.cancel(records.processing()), 1, f"cancelled after 0 rows, see {served.url}/uploads/4"),
    ]
    for ended, expected, sentence in ends:
        status, out, _ = run("watch", ended.id, "--url", served.url)

        assert (status, without_times(out)) == (expected, [f"#{ended.id} june.csv: {sentence}"])


@ONE_DATABASE
def test_warnings_follow_the_outcome_on_stderr(served: Served) -> None:
    upload = served.records.processing("june.csv", rows=10)
    sentence = served.records.warn(upload)
    served.records.complete(served.records.advance(upload, 10))
    watcher = Watcher(upload.id, "--url", served.url)
    watcher.warns(f"Watching {served.url}. Press Ctrl-C to stop.")
    watcher.prints(f"#1 june.csv: completed with warnings, 10 rows, see {served.url}/uploads/1")
    watcher.warns(f"  warning: {sentence}")

    assert watcher.end() == 0


@ONE_DATABASE
def test_warnings_of_all_uploads_are_printed_too(served: Served) -> None:
    upload = served.records.processing("june.csv", rows=10)
    sentence = served.records.warn(upload)
    watcher = Watcher("--url", served.url)
    watcher.warns(f"Watching {served.url}. Press Ctrl-C to stop.")
    watcher.prints("#1 june.csv: processing, 0 %, 0 rows of 10")
    served.records.complete(upload)
    watcher.prints(f"#1 june.csv: completed with warnings, 0 rows, see {served.url}/uploads/1")
    watcher.warns(f"  warning: {sentence}")
    watcher.process.send_signal(signal.SIGINT)

    assert watcher.end() == 130


@ONE_DATABASE
def test_watch_reconnects_to_a_restarted_server_without_missing_a_state(settings: Settings) -> None:
    records = Records(settings)
    upload = records.processing("june.csv", rows=10)
    with Web(settings) as web:
        watcher = Watcher("--url", web.url)
        watcher.warns(f"Watching {web.url}. Press Ctrl-C to stop.")
        watcher.prints("#1 june.csv: processing, 0 %, 0 rows of 10")
        web.kill()
        watcher.warns(f"{web.url} does not respond. Trying again until it does.")
        records.complete(records.advance(upload, 10))
        web.restart()
        watcher.warns(f"Reconnected to {web.url}.")
        watcher.prints("#1 june.csv: completed, 10 rows")
        watcher.process.send_signal(signal.SIGINT)

        assert watcher.end() == 130
    records.close()


@ONE_DATABASE
def test_a_terminal_shows_a_bar_and_then_the_outcome(served: Served) -> None:
    upload = served.records.advance(served.records.processing("june.csv", rows=10), 5)
    terminal = Terminal("watch", upload.id, "--url", served.url)
    until(lambda: "5 rows" in terminal.seen, "the bar")
    served.records.complete(upload)

    assert terminal.status() == 0
    assert "june.csv: completed, 5 rows\r\n" in terminal.seen
    assert "#1" not in terminal.seen


@ONE_DATABASE
def test_ctrl_c_ends_without_a_traceback(served: Served) -> None:
    upload = served.records.advance(served.records.processing("june.csv", rows=10), 5)
    for words in ([], [upload.id]):
        terminal = Terminal("watch", *words, "--url", served.url)
        until(lambda terminal=terminal: "5 rows" in terminal.seen, "the state of the upload")  # type: ignore[misc]  # bound
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.status() == 130
        assert "Traceback" not in terminal.seen
        assert "Aborted" not in terminal.seen


@ONE_DATABASE
def test_a_missing_upload_ends_with_the_servers_message(served: Served) -> None:
    assert run("watch", 7, "--url", served.url) == (2, "", "There is no upload #7.\n")


@pytest.mark.parametrize("words", [[], ["7"]])
def test_an_unreachable_server_is_reported_with_how_to_start_one(words: list[str]) -> None:
    with socket.socket() as closed:  # bound but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        status, out, err = run("watch", *words, "--url", url)

    assert (status, out) == (2, "")
    assert err == f"No server responds at {url}. Start one with `bulk-upload serve`, or give its address with --url.\n"


@pytest.mark.parametrize("words", [["june"], ["0"], ["-1"], ["7", "8"], ["--url", "june"]])
def test_invalid_arguments_end_with_status_2(words: list[str]) -> None:
    status, out, err = run("watch", *words)

    assert (status, out) == (2, "")
    assert "Traceback" not in err


def test_a_closed_stdout_ends_it() -> None:
    # Each stream has new states: a command that has written all there is would not notice that its reader has gone.
    states = [upload(seq=seq, timestamp=f"2026-01-31T09:00:00.{seq:06}Z") for seq in range(1, 5000)]
    answers = [stream(*states[first : first + 50]) for first in range(0, len(states), 50)]
    with answering(*answers) as (url, _):
        process = begin("watch", "--url", url)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (state("pending"), "pending"),
        (state(), "processing, 0 %, 0 rows"),
        (state(done=1), "processing, 0 %, 1 row"),
        (state(done=100_000, failed=988, total=400_000), "processing, 0 %, 100,000 rows of 400,000, 988 failed"),
        (state("completed", done=5), "completed, 5 rows"),
        (state("of a newer server", done=5), "of a newer server, 0 %, 5 rows"),
    ],
)
def test_a_state_is_a_line(of: State, expected: str) -> None:
    assert without_times(re.sub(r"\x1b\[\d+m", "", line(of, "http://host/uploads/7"))) == [f"#7 june.csv: {expected}"]
