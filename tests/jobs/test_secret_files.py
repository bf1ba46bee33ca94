"""Secrets in files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import secret_files
from jobs.errors import SettingsError
from jobs.settings import SECRETS, Settings, variable
from tests import ROOT

#: A valid value of each.
VALUES = {
    "redis_url": "rediss://me:secret@cache:6380/3",
    "database_url": "postgresql://me:secret@db/bulk",
    "notify_token": "sixteen-letters-or-more",
    "oidc_client_secret": "s3cret of the client",
    "aws_access_key_id": "AKIAEXAMPLE",
    "aws_secret_access_key": "wJalr/EXAMPLE+KEY",
    "aws_session_token": "a-token",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in map(variable, SECRETS):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def test_every_setting_with_a_secret_can_be_in_a_file() -> None:
    hidden = {name for name, field in Settings.model_fields.items() if not field.repr or name.endswith("_url")}

    assert hidden - {"base_url"} == set(SECRETS) == VALUES.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_a_setting_is_read_from_its_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(f"{VALUES[name]}\n")
    monkeypatch.setenv(f"{variable(name)}_FILE", str(tmp_path / "secret"))
    settings = Settings.load()

    assert getattr(settings, name) == VALUES[name]
    assert variable(name) not in settings.environment()


def test_a_child_reads_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(VALUES["notify_token"])
    monkeypatch.setenv("BULK_UPLOAD_NOTIFY_TOKEN_FILE", str(tmp_path / "secret"))
    code = "import os; from jobs.settings import Settings; print(Settings.load().notify_token, sorted(os.environ))"
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **Settings.load().environment()},
        capture_output=True,
        text=True,
        check=True,
    )

    assert child.stdout.startswith(f"{VALUES['notify_token']} ")
    assert "'BULK_UPLOAD_NOTIFY_TOKEN'" not in child.stdout


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(VALUES["redis_url"])
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "secret"))
    assert Settings.load().redis_url == VALUES["redis_url"]

    monkeypatch.setenv("REDIS_URL_FILE", "")
    assert Settings.load().redis_url is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "has to hold the value of REDIS_URL on its only line"),
        (b"redis://a\nredis://b\n", "has to hold the value of REDIS_URL on its only line"),
        (b"r" * (secret_files.LARGEST + 1), "has to hold the value of REDIS_URL on its only line"),
        (b"redis://\xff", "is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_refused(
    content: bytes | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REDIS_URL_FILE", str(path))

    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert refused.value.problems == (f"REDIS_URL_FILE: {path} {problem}",)


def test_a_secret_in_both_places_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(VALUES["redis_url"])
    monkeypatch.setenv("REDIS_URL", "redis://another")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "secret"))

    with pytest.raises(SettingsError, match="REDIS_URL_FILE: REDIS_URL is set too; set one of the two"):
        Settings.load()


def test_what_is_wrong_with_a_secret_does_not_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("too short\n")
    monkeypatch.setenv("BULK_UPLOAD_NOTIFY_TOKEN_FILE", str(tmp_path / "secret"))

    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "too short" not in str(refused.value)
