"""`bulk-upload repair`: what it lists and does, against a real server with a worker."""

import re

import pytest

from jobs import datasets
from jobs.datasets import Mode
from jobs.schema import TableSchema
from jobs.uploads import Upload
from tests.support import commands
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Worker

pytestmark = ONE_DATABASE

FIELDS = [
    {"name": "id", "type": "integer"},
    {"name": "country", "type": "string", "constraints": {"enum": ["Germany", "France"]}},
    {"name": "amount", "type": "number"},
]
CONTENT = "id,country,amount\n1,Germany,1\n2,germany,2\n3,GERMANY,3\n4,France,twelve\n5,France,many\n"


@pytest.fixture
def upload(served: Served) -> Upload:
    with served.records.database.transaction() as connection:
        datasets.declare(connection, "sales", TableSchema.parse({"fields": FIELDS}), Mode.INSERT)
    with Worker(served.settings):
        served.post(CONTENT, "june.csv", dataset="sales")
        return served.finished()


def run(served: Served, *words: object) -> tuple[int, list[str], str]:
    status, out, err = commands.run("repair", *words, "--url", served.url)
    return status, out.splitlines(), err


def test_suggestions_are_listed_and_applied(served: Served, upload: Upload) -> None:
    with Worker(served.settings):
        status, listed, err = run(served, upload.id)
        found = re.search(r"(\w{12})  country: .*, rescues 2 of 2", "\n".join(listed))
        assert found, listed
        applied = run(served, upload.id, "--apply", found[1], "--replace", "amount", "twelve", "12")
        again = run(served, upload.id, "--apply", found[1])
        none = run(served, upload.id, "--import")
        both = run(served, upload.id, "--replace", "amount", "many", "100", "--import")

    assert (status, err) == (0, "")
    assert listed[0] == "#1 june.csv: 4 failed, 0 repaired, 4 open"
    assert "country: is not one of Germany, France (2)" in listed
    assert "  'GERMANY'  1" in listed
    assert applied == (
        0,
        ["#2 june repaired.csv: completed, 3 rows", "#1 june.csv: 1 + 3 after repair, 1 open"],
        "",
    )
    assert again[0] == 2
    assert "Read them again" in again[2]
    assert both == (0, ["#3 june repaired.csv: completed, 1 row", "#1 june.csv: 1 + 4 after repair, 0 open"], "")
    assert none[0] == 2
    assert "None of the edited rows" in none[2]
