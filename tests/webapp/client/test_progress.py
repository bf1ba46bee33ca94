"""Progress in a terminal."""

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from tests.webapp.client.test_follower import state
from webapp.client.follower import State
from webapp.client.progress import ProgressBars, progress_text


@pytest.mark.parametrize(
    ("of", "rate", "expected"),
    [
        (state("pending"), None, "waiting to start"),
        (state(), None, "reading the file"),
        (state(done=1), None, "1 row"),
        (state(done=100_000), 54_321.9, "100,000 rows, 54,322/s"),
        (state(done=100_000, failed=1_988), 54_321.0, "100,000 rows, 1,988 failed, 54,321/s"),
    ],
)
def test_progress_as_text(of: State, rate: float | None, expected: str) -> None:
    assert expected == progress_text(of, rate)


def test_a_bar_fills_with_bytes_then_with_rows() -> None:
    now = 0.0
    progress = Progress(TextColumn("{task.fields[text]}"), console=Console(file=None, quiet=True))
    bars = ProgressBars(progress, clock=lambda: now)

    def seen() -> tuple[float, float | None, str]:
        task = progress.tasks[0]
        return task.completed, task.total, task.fields["text"]

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
    assert waiting == (0.0, 100.0, "waiting to start")
    assert reading == (0.0, 100.0, "reading the file")
    assert importing == (700.0, 1_000.0, "700 rows, 350/s")
    assert len(progress.tasks) == 0


def test_a_bar_can_begin_with_a_file_that_the_server_has() -> None:
    progress = Progress(TextColumn("{task.fields[text]}"), console=Console(file=None, quiet=True))
    bars = ProgressBars(progress)
    bars.follow(state(done=700, total=1_000))
    task = progress.tasks[0]

    assert (task.description, task.completed, task.total, task.fields["text"]) == ("june.csv", 700, 1_000, "700 rows")
