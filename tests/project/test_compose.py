"""compose.yaml and the Dockerfile, held against the code: no container engine is needed to see that they fit."""

import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from redis import AuthenticationError, Redis
from starlette.routing import Match, Route

from jobs.settings import SECRETS, Settings, variable
from tests import ROOT
from tests.support.parts import require
from tests.support.waiting import until
from webapp.app import create_app
from webapp.cli import main

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")

#: The variables that the settings read.
VARIABLES = {variable(name) for name in Settings.model_fields} | {f"{variable(name)}_FILE" for name in SECRETS}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder of secrets, as the script makes it."""
    subprocess.run([ROOT / "deploy" / "make-secrets", tmp_path / "secrets"], check=True)
    return tmp_path / "secrets"


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
def test_the_values_are_ones_that_the_settings_accept(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name_ in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name_, raising=False)
    for name_, value in OURS[name]["environment"].items():
        given = re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", value).replace(" ", "")
        monkeypatch.setenv(name_, given.replace("/run/secrets", str(secrets)))
    settings = Settings.load()
    password = (secrets / "postgres_password").read_text()

    assert settings.database == f"postgresql+psycopg://upload:{password}@postgres/upload"
    assert settings.redis == f"redis://:{(secrets / 'redis_password').read_text()}@redis:6379/0"


@pytest.mark.parametrize("name", OURS)
def test_all_of_ours_share_the_uploaded_files(name: str) -> None:
    data = OURS[name]["environment"]["BULK_UPLOAD_DATA"]

    assert OURS[name]["volumes"] == [f"files:{data}"]
    assert image_environment()["BULK_UPLOAD_DATA"] == data
    assert instructions("VOLUME") == [data]


def test_every_named_volume_is_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert {each for each in used if not each.startswith("./")} == set(COMPOSE["volumes"])
    assert all((ROOT / each).exists() for each in used if each.startswith("./"))


def test_only_the_proxy_is_published_and_only_to_this_machine_by_default() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    address = "${BULK_UPLOAD_PUBLISH:-127.0.0.1}"

    assert published == {"caddy": [f"{address}:80:80", f"{address}:443:443"]}


def test_the_web_process_trusts_the_proxy_and_answers_for_its_name() -> None:
    proxy, web = SERVICES["caddy"], OURS["web"]["environment"]

    assert proxy["networks"]["default"]["ipv4_address"] == web["BULK_UPLOAD_TRUSTED_PROXIES"]
    assert proxy["environment"]["BULK_UPLOAD_DOMAIN"] == web["BULK_UPLOAD_ALLOWED_HOSTS"]
    assert proxy["environment"]["BULK_UPLOAD_WEB"] == f"web:{web['BULK_UPLOAD_PORT']}"
    assert set(proxy["environment"]) == set(re.findall(r"\{\$(\w+)", (ROOT / "deploy/Caddyfile").read_text("utf-8")))


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_write_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name in ("caddy", *OURS) or service["user"] == name


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_what_runs_has_a_health_check_and_limits(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


def test_secrets_are_made_once_for_their_owner_only(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run([ROOT / "deploy" / "make-secrets", secrets], check=True)

    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert before.keys() == COMPOSE["secrets"].keys()
    assert {f"./secrets/{name}" for name in before} == {each["file"] for each in COMPOSE["secrets"].values()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}
    assert re.fullmatch("[0-9a-f]{48}", before["postgres_password"])
    assert before["postgres_password"] != before["redis_password"]


def test_each_service_has_the_secrets_that_it_reads() -> None:
    for name, service in SERVICES.items():
        read = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(service)))
        assert read == set(service.get("secrets", [])), name


def test_redis_asks_for_its_password(secrets: Path, tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    require(program is not None, "needs Redis: apt install redis-server")
    [script] = SERVICES["redis"]["command"]
    assert script.startswith("exec redis-server - --dir /data ")
    here = script.replace("$$", "$").replace("/run/secrets", str(secrets)).replace("/data", str(tmp_path))
    here = here.replace("redis-server -", f"redis-server - --port 0 --unixsocket {tmp_path}/s", 1)
    process = subprocess.Popen([*SERVICES["redis"]["entrypoint"], here], stdout=subprocess.DEVNULL)
    try:
        until((tmp_path / "s").exists, "Redis to listen")
        with Redis(unix_socket_path=f"{tmp_path}/s") as client, pytest.raises(AuthenticationError):
            client.ping()
        with Redis(unix_socket_path=f"{tmp_path}/s", password=(secrets / "redis_password").read_text()) as client:
            assert client.ping()
    finally:
        process.terminate()
        assert process.wait(60) == 0  # the signal reaches Redis itself


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
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|DATABASE_URL|REDIS_URL", name):
                assert name.endswith("_FILE")
                assert value.startswith("/run/secrets/")


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
