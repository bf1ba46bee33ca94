"""`bulk-upload undo`: what it says and does, against a real server with a worker."""

from jobs import datasets
from jobs.datasets import Mode
from jobs.schema import TableSchema
from tests.support import commands
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Worker

pytestmark = ONE_DATABASE

FIELDS = [{"name": "id", "type": "integer"}, {"name": "word", "type": "string"}]


def run(served: Served, *words: object) -> tuple[int, list[str], str]:
    status, out, err = commands.run("undo", *words, "--url", served.url)
    return status, out.splitlines(), err


def test_it_says_what_would_happen_and_does_it_if_that_is_confirmed(served: Served) -> None:
    with served.records.database.transaction() as connection:
        datasets.declare(connection, "words", TableSchema.parse({"fields": FIELDS}), Mode.INSERT)
    with Worker(served.settings):
        served.post("id,word\n1,one\n2,two\n", "june.csv", dataset="words")
        upload = served.finished()
        said = run(served, upload.id)
        assert served.finished().undone_by is None
        done = run(served, upload.id, "--yes")
        again = run(served, upload.id, "--yes")
        back = run(served, upload.id + 1, "--yes")

    assert said == (
        0,
        [
            f"#{upload.id} june.csv, in words:",
            "            2  removed",
            "            0  get earlier values back",
            "Nothing is undone yet. Add --yes to do it.",
        ],
        "",
    )
    assert (done[0], done[1][-1]) == (0, f"#{upload.id + 1} undoes #{upload.id}: completed, 2 rows")
    assert (again[0], again[2]) == (2, f"Upload #{upload.id} was undone already, by #{upload.id + 1}.\n")
    assert back[1][1:3] == ["            0  removed", "            2  put back"]
    assert back[0] == 0
