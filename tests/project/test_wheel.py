"""The wheel is the whole product: it is built from the sdist, installed, and run far from the source tree."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests import ROOT
from tests.support.services import require_redis
from tests.support.supervised import URL
from tests.support.waiting import until

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
#: So that pip builds and installs with what is there, and asks no registry.
OFFLINE = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist, as people build it who do not have the repository."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    [sdist] = folder.glob("*.tar.gz")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, sdist], check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture
def programs(wheel: Path, tmp_path: Path) -> Path:
    """The folder of programs of an environment that holds the wheel, and sees what the tests run with but not this
    source tree: files ending in .pth count only in an environment's own folder."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    subprocess.run([*PIP, "--python", environment / "bin" / "python", "install", *OFFLINE, wheel], check=True)
    [packages] = environment.glob("lib/python*/site-packages")
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    return environment / "bin"


def elsewhere(folder: Path) -> tuple[Path, dict[str, str]]:
    """An empty working folder, and an environment that says nothing about the source tree or about other servers."""
    working = folder / "empty"
    working.mkdir()
    told = ("PYTHONPATH", "DATABASE_URL", "REDIS_URL")
    return working, {name: value for name, value in os.environ.items() if name not in told and "BULK" not in name}


@contextmanager
def serving(programs: Path, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path, str]]:
    """`bulk-upload serve` on a free port: the process, its working folder, its address."""
    working, environment = elsewhere(folder)
    said, log = folder / "said", folder / "log"
    with said.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            [programs / "bulk-upload", "serve", "--port", "0", "--workers", "1"],
            cwd=working,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    with process:
        try:
            until(lambda: process.poll() is not None or URL.search(said.read_text("utf-8")), "the address")
            found = URL.search(said.read_text("utf-8"))

            assert found is not None, log.read_text("utf-8")

            yield process, working, found[1]
        finally:
            process.terminate()


def test_it_holds_every_file_of_the_packages_and_of_the_pages(wheel: Path) -> None:
    tracked = {
        path.relative_to(ROOT).as_posix()
        for folder in ("jobs", "webapp", "templates", "static")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {re.sub("^(templates|static)/", r"webapp/\1/", path) for path in tracked}
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert {"jobs/migrations/script.py.mako", "webapp/templates/base.html", "webapp/static/style.css"} <= inside
    assert packed == inside


def test_both_packages_come_from_the_wheel(programs: Path, tmp_path: Path) -> None:
    working, environment = elsewhere(tmp_path)
    code = "import jobs, webapp; print(jobs.__file__, webapp.__file__, sep='\\n')"
    found = subprocess.run(
        [programs / "python", "-c", code], cwd=working, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    folders = {Path(line).parent.parent for line in found.stdout.splitlines()}

    assert folders == set(programs.parent.glob("lib/python*/site-packages"))


def test_what_is_installed_imports_a_file_and_shows_its_pages(programs: Path, tmp_path: Path) -> None:
    require_redis()
    with serving(programs, tmp_path) as (process, working, url), httpx.Client(base_url=url, timeout=30) as client:
        sent = client.post("/api/v1/uploads", params={"filename": "june.csv"}, content="id,name\n1,Zoë\n2,Ann\n")
        assert sent.status_code == 201, sent.text
        until(lambda: client.get("/api/v1/uploads/1").json()["status"] == "completed", "the import")
        page = client.get("/uploads/1").text
        style = re.search(r'href="(/static/style\.css\?v=\w+)"', page)

        assert "june.csv" in page
        assert style is not None
        assert client.get(style[1]).content == (ROOT / "static" / "style.css").read_bytes()
        assert (working / "data" / "bulk_upload.db").exists()

        process.terminate()

        assert process.wait(60) == 0
