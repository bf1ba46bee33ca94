"""Schemathesis sends what the description of the API says, and what it forbids, to a server that runs."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import tables
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from tests import ROOT
from tests.support import people
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.waiting import until

#: A process makes these files, which takes a second each.
SLOW = r"rows\.(parquet|xlsx)$"
#: Seconds of a stream, so that requests for one end.
STREAM_AGE = 0.05
#: What may be wrong with an answer.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: Of the token that requests are sent with: fuzzing hits none so large.
TOKEN_ID = 10**17
ACCOUNT = "root"

Seen = dict[tuple[str, str], set[int]]


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    """With a dataset, uploads, and an administrator."""
    with Served(settings.model_copy(update={"stream_max_age": STREAM_AGE})) as served:
        served.records.dataset("sales", [(1, "Zoë", True), (2, "Ana", False)])
        served.records.fail(served.records.processing())
        served.records.pending()
        yield served


def token(served: Served, scope: Scope) -> str:
    """Of an administrator, with one scope."""
    secret = people.add(served.records.database, ACCOUNT, Role.ADMIN, scopes={scope})
    with served.records.database.transaction() as connection:
        connection.execute(sa.update(tables.tokens).values(id=TOKEN_ID))
    until(lambda: served.client.get("/api/v1/uploads").status_code == 401, "the account to take effect")
    return secret


def run(served: Served, secret: str, folder: Path, *options: str) -> Seen:
    """Which statuses each operation was answered with. Fails if an answer is none of those that are described."""
    report = folder / "report.har"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {secret}", "--checks", CHECKS, "--seed", "1", "--no-shrink"),
        *("--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure"),
        *("--request-timeout", "60", "--warnings", "off", "--no-color", "--report-har-path", str(report), *options),
    ]
    environment = {"KEPT_TOKEN": str(TOKEN_ID), "KEPT_ACCOUNT": ACCOUNT, "PYTHONPATH": str(ROOT)}
    environment["SCHEMATHESIS_HOOKS"] = "tests.webapp.openapi.hooks"
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=folder, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    described = served.client.get("/api/v1/openapi.json", headers=people.bearer(secret)).json()
    return seen(served, described["paths"], json.loads(report.read_text("utf-8")))


def seen(served: Served, described: Iterable[str], report: dict[str, Any]) -> Seen:
    paths = sorted(described, key=lambda path: path.count("{"))
    patterns = [(path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path))) for path in paths]
    found: Seen = defaultdict(set)
    for entry in report["log"]["entries"]:
        asked = entry["request"]["url"].removeprefix(served.url).partition("?")[0]
        path = next((path for path, pattern in patterns if pattern.fullmatch(asked)), asked)
        found[entry["request"]["method"], path].add(entry["response"]["status"])
    return found


#: What a token of each scope can do without luck; the others of its operations depend on what exists.
SUCCEEDING = {
    Scope.READ: {("GET", "/api/v1/uploads"), ("GET", "/api/v1/datasets/{name}/rows"), ("GET", "/api/v1/events")},
    Scope.UPLOAD: {("POST", "/api/v1/uploads/batch")},
    Scope.NOTIFY: set(),
    Scope.ADMIN: {("GET", "/api/v1/audit"), ("GET", "/api/v1/tokens"), ("GET", "/api/v1/users")},
}
#: What takes another scope if fields are to be added to the dataset.
ASKING_FOR_MORE = {("PUT", "/api/v1/uploads/{upload_id}/mapping")}


def allowed(served: Served, scope: Scope) -> dict[tuple[str, str], str]:
    """The ids of the operations that a token of this scope may ask for; of those for anybody, too, with `read`."""
    paths = served.client.get("/api/v1/openapi.json").json()["paths"]
    found = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            of_tokens = [each["token"] for each in operation["security"] if "token" in each]
            anybody = not operation["security"] or [] in of_tokens
            if [scope] in of_tokens or (anybody and scope is Scope.READ):
                found[method.upper(), path] = operation["operationId"]
    return found


@ONE_DATABASE
@pytest.mark.parametrize("scope", list(Scope))
def test_no_request_that_a_scope_allows_gets_an_answer_that_is_not_described(
    served: Served, scope: Scope, tmp_path: Path
) -> None:
    operations = allowed(served, scope)
    chosen = f"^({'|'.join(operations.values())})$"
    phases = ("--phases", "coverage,fuzzing", "--max-examples", "4", "--exclude-path-regex", SLOW)
    found = run(served, token(served, scope), tmp_path, *phases, "--include-operation-id-regex", chosen)

    assert {each for each in operations if not re.search(SLOW, each[1])} <= set(found)
    for operation in SUCCEEDING[scope]:
        assert found[operation] & {200, 201}, operation
    assert not any(401 in statuses for operation, statuses in found.items() if operation[1] != "/api/v1/session")
    assert {operation for operation, statuses in found.items() if 403 in statuses} <= ASKING_FOR_MORE


@ONE_DATABASE
def test_no_request_without_the_scope_gets_an_answer_that_is_not_described(served: Served, tmp_path: Path) -> None:
    phases = ("--phases", "fuzzing", "--max-examples", "1", "--exclude-path-regex", SLOW)
    found = run(served, token(served, Scope.NOTIFY), tmp_path, *phases)

    refused = [operation for operation, statuses in found.items() if 403 in statuses]
    assert len(refused) > 60


@ONE_DATABASE
def test_no_request_for_a_file_gets_an_answer_that_is_not_described(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = ("--phases", "fuzzing", "--max-examples", "4", "--include-path-regex", SLOW)
    monkeypatch.setenv("DATASET", "sales")
    found = run(served, token(served, Scope.READ), tmp_path, *phases)

    assert all(200 in statuses for statuses in found.values())
    assert len(found) == 2
