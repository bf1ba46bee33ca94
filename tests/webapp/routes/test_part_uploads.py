"""Files that are divided into uploads of their parts, through the API and the page, with a real worker."""

import io
import zipfile
from typing import Any

import pytest

from jobs import datasets, review, uploads
from jobs.datasets import Mode
from jobs.parts import Part
from jobs.people.roles import Role
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, HoldCode, Status, Upload
from tests.support import people, workbooks
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Worker
from tests.support.team import a_team
from tests.support.waiting import until

BOOK = workbooks.of_sheets("June", "July", "August")
SALES = {"fields": [{"name": "part"}, {"name": "amount", "type": "integer"}]}


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in members.items():
            archive.writestr(f"{name}.csv", each)
    return content.getvalue()


@pytest.fixture
def sales(served: Served) -> str:
    with served.records.database.transaction() as connection:
        return datasets.declare(connection, "sales", TableSchema.parse(SALES), Mode.INSERT).name


@pytest.fixture
def held(served: Served, sales: str) -> Upload:
    """A workbook that waits for somebody to choose its worksheets."""
    return hold(served, served.post(BOOK, "book.xlsx", review="auto").json()["id"])


def hold(served: Served, upload_id: int) -> Upload:
    """As a worker does that finds several worksheets."""
    found = [Part(name, "sheet", rows=10, columns=["part", "amount"]) for name in ("June", "July", "August")]
    with served.records.database.transaction() as connection:
        upload = uploads.claim(connection, upload_id, worker="test", lease=60)
        assert upload is not None
        hold = [uploads.hold_of(HoldCode.SHEET, "Only “June” was read.")]
        about: dict[str, Any] = {"header": [], "mapping": None, "notes": [], "warnings": []}
        held = uploads.hold_for_review(connection, Claim(upload.id, upload.attempt), hold, **about)
        review.record(connection, upload.id, review.of_parts(found), None)
    return held


def sent(served: Served, content: bytes, name: str, **fields: str) -> Upload:
    """A file, after a worker has seen it and its parts."""
    with Worker(served.settings):
        answer = served.post(content, name, **fields)
        assert answer.status_code == 201, answer.text
        until(lambda: not any(each.is_active for each in served.records.all()), "the end of all uploads")
    return next(each for each in served.records.all() if each.id == answer.json()["id"])


def divide(served: Served, upload: Upload, *chosen: dict[str, str]) -> Any:
    return served.client.post(f"/api/v1/uploads/{upload.id}/parts", json={"parts": list(chosen)})


def told(served: Served, upload_id: int) -> Any:
    return served.client.get(f"/api/v1/uploads/{upload_id}").json()


@ONE_DATABASE
def test_chosen_worksheets_become_uploads_into_the_dataset_that_has_their_columns(served: Served, held: Upload) -> None:
    proposed = served.client.get(f"/api/v1/uploads/{held.id}/review").json()
    with Worker(served.settings):
        answer = divide(
            served,
            held,
            {"name": "June", "dataset": "sales"},
            {"name": "August"},
            {"name": "July", "dataset": "New July"},
        )
        made = answer.json()["uploads"]
        until(lambda: not any(each.is_active for each in served.records.all()), "the end of the imports")
    found = [told(served, each["id"]) for each in made]
    divided = told(served, held.id)

    assert [(each["name"], each["rows"], each["dataset"], each["datasets"]) for each in proposed["parts"]] == [
        (name, 10, "sales", ["sales"]) for name in ("June", "July", "August")
    ]
    assert (answer.status_code, answer.json()["refused"]) == (201, [])
    assert [(each["part"], each["part_of"], each["dataset"], each["rows_success"]) for each in found] == [
        ("June", held.id, "sales", 10),
        ("August", held.id, "sales", 10),
        ("July", held.id, "new_july", 10),
    ]
    assert (divided["status"], divided["hold"], divided["rows_processed"]) == ("completed", [], 0)
    assert divided["parts"] == [{"name": each["part"], "upload": each["id"]} for each in found]


def test_parts_that_were_left_out_are_imported_later_and_none_twice(served: Served, held: Upload) -> None:
    first = divide(served, held, {"name": "June"})
    again = divide(served, held, {"name": "June"})
    both = divide(served, held, {"name": "June"}, {"name": "July"})

    assert [each.status_code for each in (first, again, both)] == [201, 422, 201]
    assert "“June” is imported already" in again.json()["detail"]
    assert [each["part"] for each in both.json()["uploads"]] == ["July"]
    assert [each["name"] for each in both.json()["refused"]] == ["June"]
    assert [each["name"] for each in told(served, held.id)["parts"]] == ["June", "July"]
    assert len(served.records.all()) == 3


@pytest.mark.parametrize(
    "parts",
    [[], [{"name": "May"}], [{"name": "June"}, {"name": "June"}], [{"dataset": "sales"}], [{"name": "June", "x": 1}]],
)
def test_a_request_that_names_no_part_is_refused_and_changes_nothing(
    served: Served, held: Upload, parts: list[dict[str, str]]
) -> None:
    answer = divide(served, held, *parts)

    assert (answer.status_code, told(served, held.id)["status"]) == (422, "held")
    assert len(list(served.settings.files.iterdir())) == 1


def test_a_dataset_that_has_no_valid_name_is_refused_and_the_other_part_is_made(served: Served, held: Upload) -> None:
    answer = divide(served, held, {"name": "June", "dataset": "売上"}, {"name": "July"})

    assert answer.status_code == 201
    assert [each["name"] for each in answer.json()["refused"]] == ["June"]
    assert "cannot be the name of a dataset" in answer.json()["refused"][0]["detail"]
    assert len(list(served.settings.files.iterdir())) == 2


def test_only_an_upload_that_waits_is_divided(served: Served) -> None:
    upload = served.records.completed()

    assert divide(served, upload, {"name": "June"}).status_code == 409
    assert divide(served, served.records.pending(), {"name": "June"}).status_code == 409


@ONE_DATABASE
def test_parts_of_a_file_that_no_worker_has_looked_at_are_not_called_absent(served: Served, sales: str) -> None:
    archive = zipped(june="part,amount\na,1\n", july="part,amount\nb,2\n")
    sent(served, archive, "months.zip", member="june.csv", dataset=sales)
    again = served.post(archive, "months.zip", review="auto").json()
    answer = divide(served, served.records.all()[0], {"name": "june.csv"})

    assert (again["status"], again["hold"][0]["code"]) == ("held", "duplicate")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "parts: cannot be chosen before a worker has looked at the file"


def test_all_parts_are_wanted_when_the_file_is_sent(served: Served) -> None:
    divided = sent(served, zipped(june="a\n1\n", july="a\n2\n"), "all.zip", parts="all", dataset="numbers")
    named = sent(served, BOOK, "book.xlsx", parts='["July"]')

    assert [each["name"] for each in told(served, divided.id)["parts"]] == ["june.csv", "july.csv"]
    assert {told(served, each["upload"])["dataset"] for each in divided.parts} == {"numbers"}
    assert [each["name"] for each in told(served, named.id)["parts"]] == ["July"]


@ONE_DATABASE
def test_a_sheet_or_a_file_that_is_named_several_times_is_as_many_parts(served: Served) -> None:
    query: list[tuple[str, str | int | float | bool | None]] = [
        ("filename", "book.xlsx"),
        ("sheet", "June"),
        ("sheet", "July"),
    ]
    form = [("member", (None, "july.csv")), ("member", (None, "june.csv"))]
    members = {name: f"a\n{name}\n" for name in ("june", "july", "may")}
    archive = ("file", ("all.zip", zipped(**members)))
    with Worker(served.settings):
        first = served.client.post("/api/v1/uploads", params=query, content=BOOK)
        second = served.client.post("/api/v1/uploads", files=[*form, archive])
        until(lambda: not any(each.is_active for each in served.records.all()), "the end of all uploads")

    assert [each["name"] for each in told(served, first.json()["id"])["parts"]] == ["June", "July"]
    assert [each["name"] for each in told(served, second.json()["id"])["parts"]] == ["july.csv", "june.csv"]


@ONE_DATABASE
def test_one_file_of_an_archive_is_named(served: Served) -> None:
    upload = sent(served, zipped(june="a\n1\n", july="a\n2\n3\n"), "all.zip", member="july.csv")
    missing = sent(served, zipped(june="a\n1\n", july="a\n2\n3\n"), "all.zip", member="may.csv")

    assert (upload.status, upload.part, upload.part_of, upload.rows_success) == (Status.COMPLETED, "july.csv", None, 2)
    assert missing.error == "The archive contains no file “may.csv”. Choose one of “june.csv”, “july.csv”."


@pytest.mark.parametrize("parts", ["some", "[]", "[1]"])
def test_parts_that_mean_nothing_are_refused_when_the_file_is_sent(served: Served, parts: str) -> None:
    answer = served.post(BOOK, "book.xlsx", parts=parts)

    assert (answer.status_code, list(served.settings.files.iterdir())) == (422, [])


def test_the_page_lists_the_parts_and_imports_the_chosen_ones(served: Served, held: Upload) -> None:
    page = served.client.get(f"/uploads/{held.id}").text
    nothing = served.client.post(f"/uploads/{held.id}/parts", data={"name": "June", "dataset": "sales"})
    chosen = {"name": ["June", "July"], "dataset": ["sales", "売上"], "part": ["June", "July"]}
    refused = served.client.post(f"/uploads/{held.id}/parts", data=chosen)
    one = served.client.post(f"/uploads/{held.id}/parts", data={"name": "July", "dataset": "july", "part": "July"})
    after = served.client.get(f"/uploads/{held.id}").text
    history = served.client.get("/uploads").text

    assert "Import 3 parts" in page
    assert 'value="sales" aria-label="Dataset for June"' in page
    assert (nothing.status_code, "Choose at least one part" in nothing.text) == (422, True)
    assert (refused.status_code, "“July” was not imported" in refused.text) == (422, True)
    assert (one.status_code, one.headers["location"]) == (303, f"/uploads/{served.records.all()[0].id}")
    assert "Import parts" in after
    assert "In 2 parts" in history
    assert "Part of" in served.client.get(one.headers["location"]).text


def test_each_part_needs_the_right_to_upload_into_its_dataset_and_counts_only_as_waiting(
    settings: Settings,
) -> None:
    limits = {"quota_uploads_per_day": 1, "quota_active_uploads": 1, "quota_bytes_per_day": len(BOOK)}
    with a_team(settings.model_copy(update=limits)) as team:
        served = team.served
        for name, role in (("ana", Role.UPLOADER), ("ben", Role.UPLOADER), ("cem", Role.VIEWER)):
            team.add(name, role)
        with team.database.transaction() as connection:
            for name in ("seen", "hidden"):
                datasets.declare(connection, name, TableSchema.parse(SALES), Mode.INSERT)
        people.restrict(team.database, "seen", {"ana": Role.VIEWER})
        people.restrict(team.database, "hidden", {})
        ana, ben, cem = (team.program(name) for name in ("ana", "ben", "cem"))
        sent = ana.post("/api/v1/uploads", params={"filename": "book.xlsx", "review": "auto"}, content=BOOK)
        url = f"/api/v1/uploads/{hold(served, sent.json()['id']).id}/parts"
        proposed = ana.get(url.replace("/parts", "/review")).json()["parts"]
        others = [client.post(url, json={"parts": [{"name": "June"}]}).status_code for client in (ben, cem)]
        alone = ana.post(url, json={"parts": [{"name": "June", "dataset": "seen"}]})
        many = ana.post(url, json={"parts": [{"name": "June", "dataset": "a"}, {"name": "July", "dataset": "b"}]})
        mixed = [("June", "seen"), ("July", "hidden"), ("August", "mine")]
        made = ana.post(url, json={"parts": [{"name": part, "dataset": dataset} for part, dataset in mixed]})

    assert [each["datasets"] for each in proposed] == [["seen"]] * 3
    assert (others, alone.status_code, many.status_code) == ([403, 403], 403, 429)
    assert [each["part"] for each in made.json()["uploads"]] == ["August"]
    assert [each["uploaded_by"] for each in made.json()["uploads"]] == ["ana"]
    assert [each["name"] for each in made.json()["refused"]] == ["June", "July"]
