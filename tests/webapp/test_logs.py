"""The log on stderr, as a process writes it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.settings import Settings
from tests import ROOT

CODE = """
import logging
from jobs.settings import Settings
from webapp import logs

logs.configure(Settings.load(), "web")
for name in ("jobs.sweeper", "alembic.runtime", "uvicorn.error"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "%s %s", name, logging.getLevelName(level))
"""


def logged(level: str) -> list[str]:
    """The lines that a process writes at a log level."""
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=Settings(log_level=level).environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == ""
    return process.stderr.splitlines()


def test_a_line_has_its_time_level_role_and_process() -> None:
    [line] = (line for line in logged("INFO") if line.endswith("jobs.sweeper INFO"))

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    web\[\d+\] jobs\.sweeper INFO", line)


@pytest.mark.parametrize(
    ("level", "ours", "of_libraries"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"], ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "WARNING", "ERROR"], ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"], ["ERROR"]),
    ],
)
def test_everyday_lines_of_libraries_are_left_out_unless_everything_is_wanted(
    level: str, ours: list[str], of_libraries: list[str]
) -> None:
    lines = [line.split()[-2:] for line in logged(level)]

    assert [what for name, what in lines if name == "jobs.sweeper"] == ours
    assert [what for name, what in lines if name == "alembic.runtime"] == of_libraries
    assert [what for name, what in lines if name == "uvicorn.error"] == of_libraries


JSON_CODE = """
import logging, sys, threading, warnings
from jobs.process import log_context
from jobs.settings import Settings
from webapp import logs

logs.configure(Settings.load(), "web")
log = logging.getLogger("jobs.sweeper")
log.info("Two\\nlines of %s: \\u2028 “%s”", "text", "ä")
with log_context.about(7):
    log_context.request_id.set("of-a-proxy")
    log_context.user_id.set(3)
    log.warning("About an upload.")
log.info("About another.", extra={"upload_id": 8})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("A defect.")
warnings.warn("A warning.")
def break_down(): raise KeyError("of a thread")
thread = threading.Thread(target=break_down); thread.start(); thread.join()
class Late:
    def __del__(self): raise OSError("too late")
Late()
raise RuntimeError("the end")
"""


def test_as_json_every_line_is_an_object_also_what_python_prints() -> None:
    process = subprocess.run(
        [sys.executable, "-c", JSON_CODE],
        cwd=ROOT,
        env=Settings(log_format="JSON").environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    first, about, another, defect, warning, of_thread, late, end = lines

    assert process.returncode == 1
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
        assert (line["role"], line["pid"]) == ("web", first["pid"])
    assert first.keys() == {"timestamp", "level", "logger", "message", "role", "pid"}
    assert (first["level"], first["logger"]) == ("INFO", "jobs.sweeper")
    assert first["message"] == "Two\nlines of text: \u2028 “ä”"
    assert (about["upload_id"], about["request_id"], about["user_id"]) == (7, "of-a-proxy", 3)
    assert another["upload_id"] == 8
    assert defect["traceback"].endswith("ZeroDivisionError: division by zero")
    assert (warning["level"], "A warning." in warning["message"]) == ("WARNING", True)
    assert "KeyError: 'of a thread'" in of_thread["traceback"]
    assert "OSError: too late" in late["traceback"]
    assert (end["level"], end["message"]) == ("CRITICAL", "The process ends: the end")
    assert "RuntimeError: the end" in end["traceback"]


@pytest.mark.parametrize("words", [["web", "--host", "0.0.0.0"], ["serve", "--port", "70000"]])
def test_as_json_a_process_that_does_not_start_says_why(words: list[str], tmp_path: Path) -> None:
    settings = Settings(log_format="json", data=tmp_path)
    process = subprocess.run(
        [sys.executable, "-m", "webapp.cli", *words],
        cwd=ROOT,
        env=settings.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    *_, line = map(json.loads, process.stderr.splitlines())

    assert process.returncode > 0
    assert (line["level"], line["role"]) == ("ERROR", words[0])
    assert words[2] in line["message"] or "PORT" in line["message"]
