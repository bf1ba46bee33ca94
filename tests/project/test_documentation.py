"""The documents tell the truth: commands run, examples are accepted, and tables are those of the code."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from starlette.routing import Mount, Route

from jobs import uploads
from jobs.events import Event
from jobs.failed_rows import FailedRow, Reason
from jobs.import_options import ImportOptions
from jobs.people.roles import Role
from jobs.reports import Report
from jobs.schema import TableSchema
from jobs.settings import SECRETS, Settings, variable
from jobs.uploads import Status, Transition
from tests import ROOT
from tests.support import people
from tests.support.databases import ONE_DATABASE
from tests.support.documents import DOCUMENTS, Document, commands, document, is_sentence, rows, sentences
from tests.support.parts import require
from tests.support.serving import Served
from tests.support.waiting import until
from webapp.app import create_app
from webapp.cli import main

EACH_DOCUMENT = pytest.mark.parametrize("each", DOCUMENTS, ids=repr)

#: The variables whose name is not made of the field's.
VARIABLES = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}
VARIABLES |= {name: name.upper() for name in Settings.model_fields if name.startswith("aws_")}
SETTINGS = {VARIABLES.get(name, f"BULK_UPLOAD_{name.upper()}") for name in Settings.model_fields}
#: Those that name a file with the value of a setting, or of an option of a command.
IN_FILES = {f"{variable(name)}_FILE" for name in SECRETS} | {"BULK_UPLOAD_TOKEN_FILE"}
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
#: Variables of the compose file and of the proxy that are not settings.
OF_DEPLOYMENT = {
    name
    for path in ("compose.yaml", "deploy/Caddyfile")
    for name in re.findall(r"\w+", (ROOT / path).read_text("utf-8"))
}

#: Programs in examples that are not this product's.
OTHER_PROGRAMS = {"caddy", "docker", "echo", "head", "pre-commit", "python", "python3"}
#: Of the system, in docs/operating.md.
OTHER_PROGRAMS |= {
    "adduser",
    "apt-get",
    "base64",
    "chmod",
    "chown",
    "cp",
    "install",
    "printf",
    "redis-cli",
    "sed",
    "su",
}
OTHER_PROGRAMS |= {"systemctl", "tee"}
#: Of scripts, for their reports.
SECRET = "a-secret-of-the-examples"
#: The server in all examples.
SERVER = "http://127.0.0.1:8000"
#: Uploads that the examples of a document expect to exist; those of the others create their own.
EXISTING_UPLOADS = {"docs/events.md": 3}

#: Runs curl so that an error of the server ends the block.
CURL = 'set -e -o pipefail\ncurl() { command curl --silent --show-error --fail-with-body --max-time 30 "$@"; }\n'


def shell_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{each}-{number}")
        for each in DOCUMENTS
        for number, block in enumerate(each.blocks("sh"), 1)
    ]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that examples name."""
    folder = tmp_path / "working"
    (folder / "demo-data").mkdir(parents=True)
    for name in ("planes", "weather"):
        (folder / "demo-data" / f"{name}.csv").write_text(f"{name},year\nA,2013\nB,2013\n")
    for name in ("sales", "stock"):
        (folder / f"{name}.json").write_text("{}")
    monkeypatch.chdir(folder)
    return folder


def test_the_readme_is_a_front_page() -> None:
    assert len(document("README.md").text.splitlines()) <= 130


@EACH_DOCUMENT
def test_each_link_leads_somewhere(each: Document) -> None:
    for link in each.links:
        path, _, anchor = link.partition("#")
        target = (ROOT / each.path).parent / path if path else ROOT / each.path
        assert target.exists(), link
        if anchor:
            assert anchor in Document(str(target.resolve().relative_to(ROOT))).anchors, link


@EACH_DOCUMENT
def test_each_path_exists(each: Document) -> None:
    folders = "deploy|docs|jobs|static|templates|tests|webapp"
    for path in [code for code in each.code if re.fullmatch(rf"\.?({folders}|\.ci)/[\w/.-]*", code)]:
        assert (ROOT / path).exists(), path


@EACH_DOCUMENT
def test_each_make_target_exists(each: Document) -> None:
    for target in [word for code in each.code for word in re.findall(r"^make ([a-z-]+)", code)]:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


@EACH_DOCUMENT
def test_each_command_of_ours_exists(each: Document) -> None:
    assert isinstance(main, click.Group)
    for command in [word for code in each.code for word in re.findall(r"^bulk-upload ([a-z]+)", code)]:
        assert command in main.commands


@pytest.mark.parametrize("each", [each for each in DOCUMENTS if each.path != "CHANGELOG.md"], ids=repr)
def test_each_setting_exists(each: Document) -> None:
    for name in re.findall(r"\bBULK_UPLOAD_\w+|\bREDIS_URL\b|\bDATABASE_URL\b", each.text):
        assert name in SETTINGS | IN_FILES | OF_DEPLOYMENT | of_commands(), name


def of_commands() -> set[str]:
    """The variables that stand for options of commands."""
    assert isinstance(main, click.Group)
    found = [option.envvar for command in main.commands.values() for option in command.params]
    return {name for name in found if isinstance(name, str)}


@pytest.mark.parametrize("block", shell_blocks())
def test_each_command_of_an_example_can_be_run(block: str, files: Path) -> None:
    for words in [] if "curl " in block else commands(block):
        while words and re.match(r"[A-Z_]+=", words[0]):
            assert words.pop(0).partition("=")[0] in OF_DEPLOYMENT | {"REDISCLI_AUTH"}
        program = words[0].rsplit("/", 1)[-1]
        if program == "make":
            assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE)
        elif program == "export":
            assert words[1].partition("=")[0] in SETTINGS | OF_DEPLOYMENT
        elif program == "bulk-upload":
            parse(words[1:])
        elif (ROOT / words[0]).is_file():
            assert os.access(ROOT / words[0], os.X_OK)
        else:
            assert program in OTHER_PROGRAMS, f"Say in this test what becomes of {program}."


def parse(words: list[str]) -> None:
    """Take the words of a command apart, as it does itself. Raises click's UsageError."""
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


@ONE_DATABASE
@pytest.mark.parametrize("each", [each for each in DOCUMENTS if "curl " in "".join(each.blocks("sh"))], ids=repr)
def test_each_request_of_an_example_is_accepted(each: Document, settings: Settings, files: Path) -> None:
    require(shutil.which("curl") is not None, "needs curl: apt install curl")
    environment = {**os.environ, "BULK_UPLOAD_NOTIFY_TOKEN": SECRET}
    with Served(settings.model_copy(update={"notify_token": SECRET})) as served:
        served.records.declare("sales", {"name": "sku"})
        if "$TOKEN" in each.text:
            environment["TOKEN"] = people.add(served.records.database, "ana", Role.ADMIN)
            until(lambda: served.client.get("/uploads").status_code == 303, "the account to take effect")
        for _ in range(EXISTING_UPLOADS.get(each.path, 0)):
            served.records.pending()
        for block in [block for block in each.blocks("sh") if "curl " in block]:
            lines = block.replace(SERVER, served.url).splitlines(keepends=True)
            streams = [line for line in lines if line.startswith("curl -N ")]
            requests = CURL + "".join(line for line in lines if line not in streams)
            done = subprocess.run(
                ["bash", "-c", requests], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, block + done.stdout + done.stderr
            for line in streams:
                assert first_line(line) in ("id", "event", "")


def first_line(request: str) -> str:
    """The name of the first field of a stream; "" for a comment."""
    words = [*shlex.split(request), "--silent", "--fail"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert ":" in line, request
    return line.partition(":")[0]


@ONE_DATABASE
@pytest.mark.parametrize(
    "script", [pytest.param(block, id=repr(each)) for each in DOCUMENTS for block in each.blocks("python")]
)
def test_each_script_of_an_example_runs(script: str, settings: Settings) -> None:
    with Served(settings.model_copy(update={"notify_token": SECRET})) as served:
        served.records.completed()
        assert SERVER in script
        run(script, served)


def run(script: str, served: Served) -> str:
    """Run a script against this server. Returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", script.replace(SERVER, served.url)],
        env={**os.environ, "BULK_UPLOAD_NOTIFY_TOKEN": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@EACH_DOCUMENT
def test_each_example_of_json_is_json(each: Document) -> None:
    for block in each.blocks("json"):
        json.loads(block)


def test_the_table_of_settings_is_that_of_the_code() -> None:
    written = rows(document("docs/deploying.md").section("Settings"))
    expected = [
        [
            f"`{VARIABLES.get(name, f'BULK_UPLOAD_{name.upper()}')}`",
            f"`{field.default}`" if field.default not in (None, "") else "",
            field.description,
        ]
        for name, field in Settings.model_fields.items()
    ]

    assert written == expected


@ONE_DATABASE
def test_each_route_is_documented(settings: Settings) -> None:
    documented = document("docs/api.md").text + document("docs/events.md").text
    for route in create_app(settings).routes:
        assert isinstance(route, Route | Mount)
        path = re.sub(r"\{(?:upload_)?(\w+)(?::\w+)?\}", r"{\1}", route.path)
        methods = {"GET"} if isinstance(route, Mount) else (route.methods or set()) - {"HEAD"}
        for method in methods:
            assert f"`{method} {path}`" in documented


@ONE_DATABASE
def test_the_example_of_an_upload_has_the_fields_of_the_api(settings: Settings) -> None:
    [example] = [json.loads(block) for block in document("docs/api.md").blocks("json") if "sha256" in block]
    with Served(settings) as served:
        failed = [FailedRow(1, ["1", "x"], [Reason("b", "is not a whole number", "x")])]
        upload = served.records.complete(served.records.advance(served.records.processing(), 990, failed))
        found = served.client.get(f"/api/v1/uploads/{upload.id}").json()

    assert list(example) == list(found)
    assert set(example["links"]) == set(found["links"])


@ONE_DATABASE
def test_the_example_of_a_dataset_has_the_fields_of_the_api(settings: Settings) -> None:
    [example] = [json.loads(block) for block in document("docs/api.md").blocks("json") if '"schema"' in block]
    with Served(settings) as served:
        served.records.dataset("sales")
        found = served.client.get("/api/v1/datasets/sales").json()

    assert (list(example), example["links"]) == (list(found), found["links"])


def test_the_titles_of_errors_are_those_of_the_code() -> None:
    titles = [cells[1].strip("`") for cells in rows(document("docs/api.md").section("Errors"))]
    texts = sentences()

    assert [title for title in titles if title not in texts] == []


def test_each_symptom_is_a_sentence_of_the_code() -> None:
    texts = sentences()
    symptoms = [
        symptom
        for cells in rows(document("docs/troubleshooting.md").text)
        if cells[0].startswith("`")
        for symptom in re.findall("`(.+?)`", cells[0])
    ]

    assert symptoms
    assert [symptom for symptom in symptoms if not is_sentence(symptom, texts)] == []


def test_the_table_of_an_events_fields_is_that_of_the_code() -> None:
    named = [cells[0].strip("`") for cells in rows(document("docs/events.md").section("Payload"))]

    assert named == [field.name for field in dataclasses.fields(Event)]


def test_the_table_of_import_options_is_that_of_the_code() -> None:
    named = [cells[0].strip("`") for cells in rows(document("docs/datasets.md").section("Import options"))]

    assert named == ImportOptions.names()


def test_the_example_of_a_schema_is_one() -> None:
    [example] = document("docs/datasets.md").blocks("json")

    assert TableSchema.parse(json.loads(example)).primary_key == ["sku"]


EXTERNAL = document("docs/external-imports.md")


@ONE_DATABASE
def test_the_script_for_external_imports_reports_its_import_to_the_end(settings: Settings) -> None:
    [script] = EXTERNAL.blocks("python")
    with Served(settings.model_copy(update={"notify_token": SECRET})) as served:
        run(script, served)
        [upload] = served.records.all()

    assert (upload.status, upload.rows_success, upload.seq) == (Status.COMPLETED, 1000, 11)


def test_the_table_of_a_reports_fields_is_that_of_the_code() -> None:
    section = EXTERNAL.section("Report")
    prose = " ".join(section.split())
    named = {name for cells in rows(section) for name in re.findall(r"`(\w+)`", cells[0])}
    [ignored] = re.findall(r"its ((?:`\w+`(?:, | and )?)+) are ignored", prose)

    assert named | set(re.findall(r"\w+", ignored.replace(" and ", " "))) == set(Report.model_fields)


def test_the_tree_has_every_module() -> None:
    [tree] = [block for block in document("docs/architecture.md").blocks("text") if "jobs/  " in block]
    named, folder = set(), ""
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]  # each line has a name
        if not indent:
            folder = name
        else:
            named.add(folder + name)
    modules = {
        str(path.relative_to(ROOT))
        for package in ("jobs", "webapp")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and "versions" not in path.parts
    }

    assert named == modules


def test_the_table_of_transitions_is_that_of_the_code() -> None:
    def states(found: frozenset[Status]) -> str:
        return ", ".join(sorted(found))

    expected = {
        name: [states(each.sources), str(each.target or "unchanged"), str(each.processor or "all")]
        for name, each in vars(uploads).items()
        if isinstance(each, Transition)
    }
    reports = list(uploads.REPORT.values())
    expected["REPORT"] = [states(reports[0].sources), states(frozenset(uploads.REPORT)), str(reports[0].processor)]
    written = rows(document("docs/architecture.md").section("The state machine"))

    assert {cells[0].strip("`"): cells[1:4] for cells in written} == expected
