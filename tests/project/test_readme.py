"""The README tells the truth about what can be set and run."""

import os
import re
import subprocess
import sys

import pytest

from jobs.reports import Report
from jobs.settings import Settings
from jobs.uploads import Status
from tests import ROOT
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served

README = (ROOT / "README.md").read_text("utf-8")
VARIABLES = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}


def test_the_table_of_settings_is_that_of_the_code() -> None:
    written = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)
    expected = [
        (VARIABLES.get(name, f"BULK_UPLOAD_{name.upper()}"), str(field.default or ""), field.description)
        for name, field in Settings.model_fields.items()
    ]

    assert [(name, default if default != "False" else "", what) for name, default, what in written] == expected


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_every_make_target_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"`((?:jobs|webapp|templates|static|deploy)/[\w/.]*)`", README))
def test_every_path_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


SCRIPTS = README.partition("## Scripts that import by themselves")[2].partition("## Settings")[0]


@ONE_DATABASE
def test_the_requests_that_it_shows_are_taken(settings: Settings) -> None:
    requests = re.findall(r"^curl http://127\.0\.0\.1:8000(\S+).*?-d '(.*?)'$", SCRIPTS, re.MULTILINE | re.DOTALL)
    headers = {"Authorization": "Bearer secret", "Content-Type": "application/json"}
    with Served(settings.model_copy(update={"notify_token": "secret"})) as served:
        answers = [served.client.post(path, content=body, headers=headers) for path, body in requests]
        [upload] = served.records.all()

    assert [answer.status_code for answer in answers] == [201, 200]
    assert (upload.filename, upload.rows_success, upload.rows_failed, upload.progress) == ("june.parquet", 240, 10, 25)


@ONE_DATABASE
def test_the_script_that_it_shows_reports_an_import_to_its_end(settings: Settings) -> None:
    [script] = re.findall(r"```python\n(.*?)```", SCRIPTS, re.DOTALL)
    with Served(settings.model_copy(update={"notify_token": "secret"})) as served:
        assert "http://127.0.0.1:8000" in script

        words = [sys.executable, "-c", script.replace("http://127.0.0.1:8000", served.url)]
        done = subprocess.run(
            words, env={**os.environ, "BULK_UPLOAD_NOTIFY_TOKEN": "secret"}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        [upload] = served.records.all()

    assert (upload.status, upload.rows_success, upload.seq) == (Status.COMPLETED, 1000, 11)


def test_the_table_of_a_reports_fields_is_that_of_the_code() -> None:
    named = {
        name for cell in re.findall(r"^\| (`.*?) \|", SCRIPTS, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    [ignored] = re.findall(r"its ((?:`\w+`(?:, | and )?)+) are not looked at", SCRIPTS)

    assert named | set(re.findall(r"\w+", ignored.replace(" and ", " "))) == set(Report.model_fields)
