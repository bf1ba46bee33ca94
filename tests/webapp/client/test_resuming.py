"""`bulk-upload load` with large files: cut, interrupted, and begun again."""

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.commands import begin, run
from tests.support.cutting import Cutting
from tests.support.supervised import Serve
from tests.support.waiting import until

CONTENT = b"id,text\n" + b"".join(b"%d,%s\n" % (number, b"x" * 10_000) for number in range(1_678))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.csv"
    path.write_bytes(CONTENT)
    return path


def state(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state" / "bulk-upload" / "sending").glob("*"))


def check_one_upload(url: str) -> None:
    [upload] = httpx.get(f"{url}/api/v1/uploads").json()["items"]
    assert (upload["filename"], upload["sha256"]) == ("large.csv", hashlib.sha256(CONTENT).hexdigest())


def test_a_large_file_that_is_cut_again_and_again_arrives_whole(
    start: Callable[..., Serve], large: Path, tmp_path: Path
) -> None:
    url = start().url
    with Cutting(url, cuts=6, seed=11, between=(1 << 20, 2 << 20)) as cutting:
        status, out, err = run("load", large, "--dataset", "sales", "--url", cutting.url, **state(tmp_path))

    assert (status, cutting.cuts) == (0, 6), err
    assert out == "large.csv: completed, 1,678 rows\n"
    assert err.count("  resuming at ") >= 5
    assert notes(tmp_path) == []
    check_one_upload(url)


def test_a_command_that_is_started_again_sends_the_rest(
    start: Callable[..., Serve], large: Path, tmp_path: Path
) -> None:
    url = start("--workers", "1").url
    with Cutting(url, pause_after=5 << 20) as slow:
        process = begin("load", large, "--url", slow.url, **state(tmp_path))
        until(lambda: slow.is_paused, "some megabytes to be sent")
        process.send_signal(signal.SIGINT)
        slow.go_on()
        _, err = process.communicate(timeout=60)

        assert process.returncode == 130, err
        assert "large.csv: interrupted. Start the command again to send the rest.\n" in err
        assert len(notes(tmp_path)) == 1

        status, _, err = run("load", large, "--url", slow.url, **state(tmp_path))

    assert status == 0, err
    assert "  resuming at " in err
    assert notes(tmp_path) == []
    check_one_upload(url)
