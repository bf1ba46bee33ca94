"""A process ends when its supervisor does."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import ROOT

CODE = """
import signal, time
from webapp.supervisor import lifeline
lifeline.GRACE_SECONDS = 0.2
{more}
lifeline.watch()
print("watching", flush=True)
time.sleep(60)
"""


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[bytes]"]:
    """A process whose lifeline is its stdin. The parameter: what it does first."""
    words = [sys.executable, "-c", CODE.format(more=request.param)]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n"
        yield process
        process.kill()


@pytest.mark.parametrize("process", [""], indirect=True)
def test_a_process_is_terminated_when_its_supervisor_is_gone(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.write(b"still here")
    process.stdin.flush()
    assert process.poll() is None
    process.stdin.close()

    assert process.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("process", ["signal.signal(signal.SIGTERM, signal.SIG_IGN)"], indirect=True)
def test_a_process_that_does_not_end_in_time_is_killed(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()

    assert process.wait(60) == -signal.SIGKILL
