"""What `serve` prints once everything runs."""

from pathlib import Path

import pytest

from jobs.settings import Settings
from webapp.supervisor import banner

SECRETS = {
    "redis_url": "redis://me:secret@cache:6380/3?protocol=3",
    "database_url": "postgresql://me:secret@db:5433/bulk?sslmode=require",
}


def test_the_banner_says_where_to_go_and_what_it_runs_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.load(data=tmp_path, workers=3, quick_workers=2)
    banner.show(settings, "http://127.0.0.1:8000", "private")
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  "))

    assert facts["Address"] == "http://127.0.0.1:8000"
    assert facts["Data"] == str(tmp_path)
    assert facts["Database"] == f"SQLite {tmp_path / 'bulk_upload.db'}"
    assert (facts["Redis"], facts["Workers"]) == ("private", "3, and 2 for small files")


def test_the_banner_is_silent_about_workers_that_are_not_started() -> None:
    assert banner.workers(Settings.load(workers=3, quick_workers=0)) == "3"


def test_passwords_and_options_of_urls_are_left_out() -> None:
    settings = Settings.load(**SECRETS)

    assert banner.database(settings) == "PostgreSQL db:5433/bulk"
    assert banner.redis(settings) == "at cache:6380/3"
