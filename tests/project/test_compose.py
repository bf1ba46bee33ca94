"""compose.yaml and the Dockerfile, held against the code: no container engine is needed to see that they fit."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from starlette.routing import Match, Route

from jobs.settings import Settings
from tests import ROOT
from webapp.app import create_app
from webapp.cli import main

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")

#: The variables that the settings read.
VARIABLES = set(
    Settings(
        redis_url="redis://redis", database_url="postgresql://postgres/upload", notify_token="a-secret-of-many-letters"
    ).environment()
)


def instructions(name: str) -> list[str]:
    """The arguments of each such instruction in the Dockerfile."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def image_environment() -> dict[str, str]:
    words = [word for line in instructions("ENV") for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_ours_with_options_that_it_knows(name: str) -> None:
    command, *options = OURS[name]["command"]

    assert isinstance(main, click.Group)

    main.commands[command].make_context(command, options)


def test_the_image_runs_a_command_that_exists() -> None:
    assert instructions("ENTRYPOINT") == ['["bulk-upload"]']

    (words,) = [yaml.safe_load(line) for line in instructions("CMD")]

    assert isinstance(main, click.Group)

    main.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_one_that_the_settings_read(name: str) -> None:
    assert set(OURS[name]["environment"]) <= VARIABLES
    assert {variable for variable in image_environment() if variable.startswith("BULK_")} <= VARIABLES


@pytest.mark.parametrize("name", OURS)
def test_the_values_are_ones_that_the_settings_accept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", value).replace(" ", ""))
    settings = Settings.load()

    assert settings.database.startswith("postgresql+psycopg://")
    assert settings.redis == "redis://redis:6379/0"


@pytest.mark.parametrize("name", OURS)
def test_all_of_ours_share_the_uploaded_files(name: str) -> None:
    data = OURS[name]["environment"]["BULK_UPLOAD_DATA"]

    assert OURS[name]["volumes"] == [f"files:{data}"]
    assert image_environment()["BULK_UPLOAD_DATA"] == data
    assert instructions("VOLUME") == [data]


def test_every_named_volume_is_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert used == set(COMPOSE["volumes"])


def test_only_the_web_port_is_published_and_only_to_this_machine_by_default() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    port = OURS["web"]["environment"]["BULK_UPLOAD_PORT"]

    assert published == {"web": [f"${{BULK_UPLOAD_PUBLISH:-127.0.0.1:8000}}:{port}"]}


def test_the_address_that_the_health_check_asks_is_a_route(tmp_path: Path) -> None:
    (url,) = re.findall(r'"(http://[^"]+)"', " ".join(OURS["web"]["healthcheck"]["test"]))
    path = urlsplit(url).path
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    routes = [route for route in create_app(Settings(data=tmp_path)).routes if isinstance(route, Route)]

    assert [route.path for route in routes if route.matches(scope)[0] is Match.FULL] == [path]
    assert urlsplit(url).port == int(OURS["web"]["environment"]["BULK_UPLOAD_PORT"])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_nothing_of_ours_starts_before_what_it_needs(name: str) -> None:
    conditions = {needed: entry["condition"] for needed, entry in OURS[name]["depends_on"].items()}

    assert conditions == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    assert all("healthcheck" in SERVICES[needed] for needed, how in conditions.items() if how == "service_healthy")


def test_workers_can_be_scaled() -> None:
    assert all("container_name" not in service for service in SERVICES.values())


def test_no_secret_is_written_down() -> None:
    assert all(
        "${POSTGRES_PASSWORD:?" in str(value)
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if "PASSWORD" in name or name == "DATABASE_URL"
    )


def test_the_image_copies_what_exists_and_nothing_that_is_ignored() -> None:
    from_here = [line for line in instructions("COPY") if not line.startswith("--from=")]
    sources = [source for line in from_here for source in line.split()[:-1]]
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]

    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert sorted(sources) == sorted(let_in)


def test_the_image_is_locked_and_does_not_run_as_root() -> None:
    assert any("--no-deps --require-hashes -r requirements.lock" in line for line in instructions("RUN"))
    assert instructions("USER") == ["upload"]


def test_the_image_holds_the_wheel_that_its_first_stage_builds_and_no_source() -> None:
    first, second = re.split("^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    (built,) = re.findall(r"^RUN pip wheel .*--wheel-dir (\S+) \.$", first, re.MULTILINE)

    assert re.findall("^COPY (.*)$", second, re.MULTILINE) == [
        "requirements.lock ./",
        f"--from={first.split()[2]} {built}/ wheels/",
    ]
    assert re.search(r"^RUN pip install .*--no-deps wheels/\*\.whl$", second, re.MULTILINE)


def test_both_stages_run_a_python_that_the_project_is_tested_with() -> None:
    pythons = {line.split()[0] for line in instructions("FROM")}
    (version,) = [python.removeprefix("python:").removesuffix("-slim") for python in pythons]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))

    assert version in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
