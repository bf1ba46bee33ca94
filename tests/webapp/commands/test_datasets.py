"""`bulk-upload dataset` and `retry`, on a data folder of the test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from redis import Redis

from jobs import datasets, uploads
from jobs.database import Database, migrate
from jobs.events import channels
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.files import store
from tests.support.queueing import rung_for
from tests.support.services import RedisServer
from webapp.cli import main
from webapp.commands.datasets import MAX_BYTES

SCHEMA = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "Größe", "type": "number", "aliases": ["size"]},
    ],
    "primaryKey": ["id"],
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UPLOAD_DATA", str(tmp_path / "data"))


def run(*words: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def add(name: str, schema: Any = SCHEMA, *flags: str) -> Result:
    return run("dataset", "add", name, "-", *flags, stdin=json.dumps(schema))


def test_a_dataset_is_added_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA), "utf-8")
    result = run("dataset", "add", "sales", path, "--mode", "upsert")

    assert (result.exit_code, result.output) == (0, "Added the dataset “sales”: 2 columns, upsert on id.\n")


def test_a_dataset_says_whether_its_uploads_are_reviewed(settings: Settings) -> None:
    result = add("sales", SCHEMA, "--review", "always")
    database = Database(Settings.load().database)
    with database.reading() as connection:
        found = datasets.review_of(connection, "sales")
    database.close()

    assert (result.exit_code, found) == (0, "always")
    assert add("stock", SCHEMA, "--review", "sometimes").exit_code == 2


def test_a_shown_schema_can_be_added_under_another_name() -> None:
    add("sales")
    shown = run("dataset", "show", "sales")
    again = run("dataset", "add", "sales_2", "-", stdin=shown.stdout)

    assert json.loads(shown.stdout) == SCHEMA
    assert "Größe" in shown.stdout
    assert shown.stderr == "# sales: mode insert, 0 rows\n"
    assert again.exit_code == 0, again.output
    assert run("dataset", "show", "sales_2").stdout == shown.stdout


def test_the_list_is_aligned() -> None:
    before = run("dataset", "list")
    add("sales", SCHEMA, "--mode", "upsert")
    add("a_long_name", {"fields": [{"name": f"c{n}"} for n in range(1_000)]})

    assert before.output == "No datasets yet.\n"
    assert run("dataset", "list").output == (
        "NAME         MODE    ROWS  COLUMNS\n"
        "a_long_name  insert     0    1,000\n"
        "sales        upsert     0        2\n"
    )  # fmt: skip


def test_an_existing_name_is_rejected() -> None:
    add("sales")
    result = add("sales")

    assert result.exit_code == 1
    assert result.stderr == "A dataset named “sales” already exists. Choose another name.\n"


def test_a_name_is_normalised() -> None:
    result = add("Sales June")

    assert (result.exit_code, result.stdout) == (0, "Added the dataset “sales_june”: 2 columns, insert.\n")


@pytest.mark.parametrize("name", ["?!", "", "auto", "x" * 99])
def test_an_invalid_name_is_rejected(name: str) -> None:
    result = add(name)

    assert result.exit_code == 2
    assert "Invalid value for NAME: " in result.stderr


def test_each_problem_of_a_schema_is_printed_with_its_path() -> None:
    schema = {"fields": [{"name": "id", "type": "int"}, {"type": "date", "constraints": {"min": 1}}]}
    result = add("sales", schema)

    assert result.exit_code == 2
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        "fields[0].type",
        "fields[1].name",
        "fields[1].constraints.min",
    ]


def test_an_upsert_without_a_key_is_rejected() -> None:
    result = add("sales", {"fields": [{"name": "id"}]}, "--mode", "upsert")

    assert result.exit_code == 2
    assert result.stderr.startswith("primaryKey: is missing")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"fields": [\n  {"name": "id",,}\n]}', "line 2, column 17: "),
        (b"", "line 1, column 1: "),
        (b'{"fields": "\xff"}', "byte 13 is not valid UTF-8."),
    ],
)
def test_invalid_json_is_rejected_with_its_position(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(content)
    result = run("dataset", "add", "sales", path)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"schema.json is not JSON: {sentence}")
    assert run("dataset", "list").output == "No datasets yet.\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"a":' * 100_000, "schema.json is nested too deeply."),
        (b'{"fields": [{"name": ' + b"1" * 5_000 + b"}]}", "schema.json contains a number with too many digits."),
        (b" " * (MAX_BYTES + 1), "schema.json has more than 33,554,432 bytes, the limit for a schema."),
    ],
)
def test_json_without_bounds_is_rejected(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(content)
    result = run("dataset", "add", "sales", path)

    assert result.exit_code == 2
    assert result.stderr == f"{sentence}\n"


def test_a_missing_schema_file_is_rejected(tmp_path: Path) -> None:
    result = run("dataset", "add", "sales", tmp_path / "schema.json")

    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_an_unknown_dataset_cannot_be_shown() -> None:
    result = run("dataset", "show", "sales")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "There is no dataset called “sales”.\n"


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of the commands: a database in the test's folder, and a running Redis."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    settings = Settings.load()
    migrate(settings)
    return settings


def changed(settings: Settings, change: Callable[[sa.Connection], Upload]) -> Upload:
    database = Database(settings.database)
    try:
        with database.transaction() as connection:
            return change(connection)
    finally:
        database.close()


def recorded(settings: Settings, filename: str = "june.csv") -> Upload:
    """An upload that waits for a worker."""
    return changed(settings, lambda connection: uploads.create(connection, store(settings, "id\n1\n", filename)))


def cancelled(settings: Settings) -> Upload:
    upload = recorded(settings)
    return changed(settings, lambda connection: uploads.cancel(connection, upload.id))


def test_a_retry_is_recorded_published_and_enqueued(settings: Settings) -> None:
    upload = cancelled(settings)
    with Redis.from_url(settings.redis) as redis, redis.pubsub() as listener:
        listener.subscribe(*channels(upload.id))
        for _ in channels(upload.id):
            listener.get_message(timeout=5)
        result = run("retry", upload.id)
        heard = [listener.get_message(timeout=5) for _ in channels(upload.id)]
    now = changed(settings, lambda connection: uploads.get(connection, upload.id))

    assert (result.exit_code, result.output) == (0, "Upload #1 (june.csv) is queued again.\n")
    assert now.status is Status.PENDING
    assert sorted(message["channel"].decode() for message in heard if message) == sorted(channels(upload.id))
    assert {json.loads(message["data"])["seq"] for message in heard if message} == {now.seq}
    assert rung_for(settings) == [upload.id]


def test_a_retry_without_redis_is_recorded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = cancelled(settings)
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")
    result = run("retry", upload.id)

    assert (result.exit_code, result.stdout) == (0, "Upload #1 (june.csv) is queued again.\n")
    assert changed(settings, lambda connection: uploads.get(connection, upload.id)).status is Status.PENDING


def test_an_upload_that_has_not_ended_cannot_be_retried(settings: Settings) -> None:
    result = run("retry", recorded(settings).id)

    assert result.exit_code == 1
    assert result.stderr == "Upload #1 is pending, so it cannot be retried.\n"


def test_an_unknown_upload_cannot_be_retried(settings: Settings) -> None:
    result = run("retry", 2**63 - 1)

    assert result.exit_code == 1
    assert result.stderr == f"There is no upload #{2**63 - 1}.\n"


@pytest.mark.parametrize("upload_id", ["june.csv", "0", 2**63])
def test_an_invalid_upload_id_is_rejected(upload_id: object) -> None:
    assert run("retry", upload_id).exit_code == 2
