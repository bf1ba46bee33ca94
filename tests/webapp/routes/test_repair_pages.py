"""The repair of an upload as a page, without scripts, with a real worker."""

import re
from collections.abc import Iterator

import httpx
import pytest

from jobs.uploads import Upload
from tests.support.serving import Served, Worker
from tests.webapp.routes.test_repairs import CONTENT, Desk


class Reader(Desk):
    """Reads the page and sends its forms."""

    def page(self, upload: Upload, **query: str) -> str:
        answer = self.served.client.get(f"/uploads/{upload.id}/repair", params=query)
        assert answer.status_code == 200
        return answer.text

    def send(self, content: str = CONTENT) -> Upload:
        upload = super().send(content)
        self.suggestions(upload)
        return upload

    def post(self, upload: Upload, **fields: str) -> httpx.Response:
        return self.served.client.post(f"/uploads/{upload.id}/repair", data=fields)


@pytest.fixture(scope="module")
def reader(standing: Served) -> Iterator[Reader]:
    with Worker(standing.settings):
        yield Reader(standing)


def test_forms_repair_rows_by_suggestion_by_value_and_by_cell(reader: Reader) -> None:
    upload = reader.send()
    before = reader.page(upload)
    [suggestion, *_] = reader.suggestions(upload)
    applied = reader.post(upload, do="apply", id=suggestion["id"])
    replaced = reader.post(upload, do="replace", column="amount", **{"from": "twelve"}, to="12")
    edited = reader.post(upload, do="edit", row_number="3", version="2", c1="Spain")
    between = reader.page(upload)
    imported = reader.post(upload, do="import")
    [child] = reader.ask(upload, "").json()["children"]
    reader.ended(child)
    after = reader.page(upload)

    assert "Fix 4 failed rows" in before
    assert suggestion["title"] in before
    assert f'value="{suggestion["id"]}"' in before
    for answer in (applied, replaced, edited, imported):
        assert (answer.status_code, answer.headers["location"]) == (303, f"/uploads/{upload.id}/repair")
    assert "4 fixed · 0 open" in between
    assert "Import 4 corrected rows" in between
    assert "All failed rows are repaired" in after
    assert "6 rows: 2 + 4 after repair, 0 open" in after
    assert "6 rows: 2 + 4 after repair, 0 open" in reader.served.page(f"/uploads/{upload.id}")


def test_find_and_replace_shows_first_what_it_would_do(reader: Reader) -> None:
    upload = reader.send()
    change = {"column": "amount", "from": "twelve", "to": "1<2"}
    seen = reader.post(upload, do="preview", **change)
    untouched = reader.rows(upload)
    reader.post(upload, do="find", **change)
    after = reader.rows(upload, column="amount")
    undone = reader.post(upload, do="undo")

    assert seen.status_code == 200
    assert "2 rows would change, 0 would be right then" in seen.text
    assert "<ins>1&lt;2</ins>" in seen.text
    assert all(not row["edited"] for row in untouched)
    assert [row["cells"]["amount"] for row in after] == ["1<2", "1<2"]
    assert undone.status_code == 303
    assert all(not row["edited"] for row in reader.rows(upload))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"do": "apply", "id": "unknown"}, "There is no suggestion “unknown”"),
        ({"do": "edit", "row_number": "3", "version": "9", "c1": "Spain"}, "was edited"),
        ({"do": "import"}, "is right yet"),
        ({"do": "undo"}, "can be undone"),
        ({"do": "else"}, "is not one of"),
    ],
)
def test_what_is_refused_is_said_on_the_page(reader: Reader, fields: dict[str, str], said: str) -> None:
    upload = reader.send()
    answer = reader.post(upload, **fields)
    part = reader.served.client.post(f"/uploads/{upload.id}/repair", data=fields, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert said in answer.text
    assert (part.status_code, said in part.text, "<html" in part.text) == (200, True, False)


def test_the_grid_shows_rows_of_one_reason_and_marks_wrong_cells(reader: Reader) -> None:
    upload = reader.send()
    page = reader.page(upload, column="amount", rule="is not a number")
    rows = dict(re.findall(r'<tr id="row-(\d+)"(.*?)</tr>', page, re.DOTALL))
    wrong = re.findall(r'name="c(\d)" value="(\w+)"[^>]* aria-invalid="true"', rows["6"])

    assert list(rows) == ["5", "6"]
    assert wrong == [("1", "spain"), ("2", "twelve")]
