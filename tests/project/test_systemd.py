"""The systemd units, held against the code."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from jobs.settings import Settings
from tests import ROOT
from tests.support.parts import require
from webapp.cli import main

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
EACH_UNIT = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
#: An instance of each template.
INSTANCES = {"web": "8000", "worker": "1", "quick-worker": "1", "run": "migrate"}


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def instance(unit: Path) -> str:
    return INSTANCES[unit.name.removeprefix("bulk-upload-").removesuffix("@.service")]


@EACH_UNIT
def test_a_unit_runs_a_command_of_ours_with_options_that_it_knows(unit: Path) -> None:
    [started] = values(unit, "ExecStart")
    program, command, *options = shlex.split(started.replace("%i", instance(unit)))

    assert program == "/opt/bulk-upload/bin/bulk-upload"
    assert isinstance(main, click.Group)
    main.commands[command].make_context(command, options)


@EACH_UNIT
def test_a_unit_runs_as_its_own_user_and_may_write_its_own_folder_only(unit: Path) -> None:
    assert values(unit, "User") == ["bulk-upload"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "NoNewPrivileges") == ["true"]
    assert values(unit, "CapabilityBoundingSet") == [""]
    assert values(unit, "StateDirectory") == ["bulk-upload"]
    assert not values(unit, "ReadWritePaths")


def test_a_worker_is_asked_to_end_alone() -> None:
    for unit in UNITS:
        if "worker" in unit.name:
            assert values(unit, "KillMode") == ["mixed"]


def test_the_example_of_settings_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "database_url").write_text("postgresql://upload:secret@127.0.0.1/upload\n")
    (tmp_path / "redis_url").write_text("redis://:secret@127.0.0.1:6379/0\n")
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for line in (ROOT / "deploy" / "environment.example").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition("=")
            assert shlex.split(value) == [value]  # the same for systemd and for a shell
            monkeypatch.setenv(name, value.replace("/etc/bulk-upload", str(tmp_path)))
    settings = Settings.load()

    assert f"{settings.data}" == f"/var/lib/{values(UNITS[0], 'StateDirectory')[0]}"
    assert settings.database_url == "postgresql://upload:secret@127.0.0.1/upload"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    require(shutil.which("systemd-analyze") is not None, "needs systemd: apt install systemd")
    names = []
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/bulk-upload/bin/bulk-upload", "/bin/true")
        names.append(unit.name.replace("@.", f"@{instance(unit)}."))
        for name in (unit.name, names[-1]):
            (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "deploy" / "systemd" / "bulk-upload.target", tmp_path)
    checked = subprocess.run(
        ["systemd-analyze", "verify", *(f"./{name}" for name in names), "./bulk-upload.target"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    assert not [line for line in checked.stderr.splitlines() if "bulk-upload" in line]
