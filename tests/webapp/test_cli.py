"""The command line: options, errors, and what it imports."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import ROOT
from webapp.cli import main


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "webapp.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    assert re.findall(r"^  (\w+)  ", result.output.partition("Commands:\n")[2], re.MULTILINE) == [
        "audit",
        "backup",
        "dataset",
        "doctor",
        "load",
        "migrate",
        "repair",
        "restore",
        "retry",
        "serve",
        "store",
        "token",
        "undo",
        "user",
        "verify",
        "watch",
        "web",
        "worker",
    ]


def test_options_for_the_supervisor_are_hidden() -> None:
    result = CliRunner().invoke(main, ["web", "--help"])

    assert "--lifeline" not in result.output
    assert "--fd" not in result.output


def test_each_invalid_setting_is_reported_on_its_own_line() -> None:
    result = run("serve", "--port", "70000", BULK_UPLOAD_WORKERS="many")

    assert result.returncode == 2
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["PORT", "WORKERS"]


def test_an_option_takes_precedence_over_the_environment() -> None:
    result = run("serve", "--port", "70000", BULK_UPLOAD_PORT="8000")

    assert result.returncode == 2
    assert result.stderr.startswith("PORT:")


@pytest.mark.parametrize("command", ["serve", "web"])
@pytest.mark.parametrize("hosts", ["", "imports.example"], ids=["unnamed", "named"])
def test_a_non_loopback_address_is_rejected_while_there_is_no_account(
    command: str, hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_ALLOWED_HOSTS", hosts)
    result = run(command, "--data", str(tmp_path / "data"), "--host", "0.0.0.0", "--port", "0")

    assert result.returncode == 2
    assert ("BULK_UPLOAD_ALLOWED_HOSTS" in result.stderr) == (not hosts)
    assert "bulk-upload user add" in result.stderr
    assert "--open" in result.stderr


def test_an_unknown_host_is_rejected(tmp_path: Path) -> None:
    result = run("serve", "--data", str(tmp_path), "--host", "no such host")

    assert result.returncode == 2
    assert result.stderr == "HOST: no such host is not an address, or a name that this machine can resolve.\n"


def test_migrate_creates_the_database_and_can_run_again(tmp_path: Path) -> None:
    results = [run("migrate", "--data", str(tmp_path / "data")) for _ in range(2)]

    assert [result.returncode for result in results] == [0, 0], results
    assert (tmp_path / "data" / "bulk_upload.db").exists()


@pytest.mark.parametrize("command", [["migrate"], ["dataset", "list"], ["retry", "1"]], ids=" ".join)
def test_each_command_stores_for_this_user_only(command: list[str], tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        run(*command, "--data", str(tmp_path / "new" / "data"))
    finally:
        os.umask(before)
    found = list((tmp_path / "new" / "data").iterdir())

    assert "bulk_upload.db" in {path.name for path in found}
    assert {path.name: path.stat().st_mode & 0o077 for path in found} == {path.name: 0 for path in found}


@pytest.mark.parametrize("command", [["migrate"], ["web", "--port", "0"], ["worker"], ["serve"], ["dataset", "list"]])
def test_each_command_refuses_a_folder_that_everybody_may_write_to(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    result = run(*command, "--data", str(tmp_path / "data"))

    assert result.returncode == 1
    assert result.stderr.startswith(f"Every user of this machine may write to {tmp_path / 'data'}, ")


def test_a_missing_postgresql_driver_is_reported_with_install_instructions(tmp_path: Path) -> None:
    without = "import sys; sys.modules['psycopg'] = None; from webapp.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", without, "migrate", "--data", tmp_path / "data"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": "postgresql://someone:secret@127.0.0.1:1/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr == (
        "DATABASE_URL names a PostgreSQL database, but its driver, psycopg, is not installed. "
        "Install it with: pip install 'bulk-upload[postgres]'\n"
    )


def test_an_unreachable_database_is_reported_without_the_password(tmp_path: Path) -> None:
    url = "postgresql://someone:secret@127.0.0.1:1/nowhere"
    result = run("migrate", "--data", str(tmp_path / "data"), DATABASE_URL=url)

    assert result.returncode == 1
    assert result.stderr.startswith("The database (PostgreSQL 127.0.0.1:1/nowhere) cannot be used: ")
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("module", ["webapp.cli", "webapp.supervisor.serve", "webapp.server.process"])
def test_only_the_worker_imports_pandas(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'pandas', 'pyarrow', 'numpy'}} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = {"pydantic", "sqlalchemy", "starlette", "uvicorn", "rq", "httpx", "rich"}
    code = f"import sys, webapp.cli; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


def test_a_worker_takes_one_lane_or_all() -> None:
    result = run("worker", "--lane", "slow")

    assert result.returncode == 2
    assert "'slow' is not one of 'quick', 'bulk', 'all'." in result.stderr
