"""A child process: restarts and shutdown."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from webapp.supervisor import child
from webapp.supervisor.child import Child


class Nursery:
    """Starts processes that run the given Python, and kills those that remain."""

    def __init__(self) -> None:
        self.spawned: list[subprocess.Popen[bytes]] = []

    def child(self, code: str) -> Child:
        def spawn() -> "subprocess.Popen[bytes]":
            self.spawned.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
            return self.spawned[-1]

        return Child("The thing", spawn)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    for process in nursery.spawned:
        process.kill()
        process.communicate()


def test_a_child_that_keeps_ending_is_restarted_after_increasing_pauses(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child, "PAUSES", (0.0, 0.01, 0.02))
    thing = nursery.child("raise SystemExit(3)")
    thing.start()

    def fourth_start() -> bool:
        thing.tend()
        return len(nursery.spawned) == 5

    until(fourth_start, "four more starts")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert said == [
        f"The thing (process {process.pid}) ended with exit status 3. The supervisor restarts it {when}."
        for process, when in zip(
            nursery.spawned, ["at once", "in 0.01 seconds", "in 0.02 seconds", "in 0.02 seconds"], strict=False
        )
    ]


def test_a_child_that_ran_long_is_restarted_at_once(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child, "SETTLED_SECONDS", 0.0)
    thing = nursery.child("")
    thing.start()

    def third_start() -> bool:
        thing.tend()
        return len(nursery.spawned) == 4

    until(third_start, "three more starts")

    assert caplog.text.count("The supervisor restarts it at once.") == 3


def test_a_child_that_ignores_sigterm_is_killed(nursery: Nursery, caplog: pytest.LogCaptureFixture) -> None:
    deaf = nursery.child("import signal, time; signal.signal(15, lambda *_: None); print(flush=True); time.sleep(60)")
    deaf.start()
    (process,) = nursery.spawned

    assert process.stdout is not None

    process.stdout.readline()  # it is deaf from here on
    child.end([deaf], 0.1)

    assert process.returncode == -9
    assert f"The thing (process {process.pid}) did not end in time. Killing it." in caplog.text


#: Ends in order once three processes were asked to end, and not before.
ENDS_TOGETHER = """
import os, pathlib, signal, time

def end(*_):
    asked = pathlib.Path({folder!r})
    (asked / str(os.getpid())).touch()
    deadline = time.monotonic() + 20
    while len(list(asked.iterdir())) < 3:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.01)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
print(flush=True)
time.sleep(60)
"""


def test_children_end_together(nursery: Nursery, tmp_path: Path) -> None:
    children = [nursery.child(ENDS_TOGETHER.format(folder=str(tmp_path))) for _ in range(3)]
    for each in children:
        each.start()
    for process in nursery.spawned:
        assert process.stdout is not None

        process.stdout.readline()
    child.end(children, 30)

    assert [process.returncode for process in nursery.spawned] == [0, 0, 0]
