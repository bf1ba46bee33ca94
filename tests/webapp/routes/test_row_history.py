"""The history of a row through the API and on its page, with a real worker, on both databases."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jobs import datasets
from jobs.datasets import Mode
from jobs.people.audit import Actor, Via
from jobs.repair import rules
from jobs.repair.repairs import Repair
from jobs.schema import TableSchema
from jobs.uploads import Upload
from tests.support.serving import Served, Worker
from tests.support.waiting import until

FIELDS: list[dict[str, Any]] = [
    {"name": "sku", "type": "integer"},
    {"name": "country", "type": "string"},
    {"name": "price", "type": "number"},
]


class Shop:
    def __init__(self, served: Served) -> None:
        self.served, self.client = served, served.client
        with served.records.database.transaction() as connection:
            schema = TableSchema.parse({"fields": FIELDS, "primaryKey": "sku"})
            datasets.declare(connection, "goods", schema, Mode.UPSERT)

    def send(self, *rows: str) -> Upload:
        self.served.post("\n".join(["sku,country,price", *rows, ""]), "june.csv", dataset="goods")
        return self.served.finished()

    def post(self, path: str, **body: Any) -> int:
        """The upload that it makes, after its end."""
        answer = self.client.post(f"/api/v1/uploads/{path}", json=body)
        assert answer.status_code == 201, answer.text
        number: int = answer.json()["id"]
        until(lambda: self.client.get(f"/api/v1/uploads/{number}").json()["finished_at"], "the upload to end")
        return number

    def position(self, sku: int) -> str:
        items = self.client.get(f"/api/v1/datasets/goods/rows?sku={sku}").json()["items"]
        found: str = items[0]["position"]
        return found

    def history(self, position: str, query: str = "") -> httpx.Response:
        return self.client.get(f"/api/v1/datasets/goods/rows/{position}/history{query}")


@pytest.fixture(scope="module")
def shop(standing: Served) -> Iterator[Shop]:
    with Worker(standing.settings):
        yield Shop(standing)


def test_what_imports_repairs_rules_and_undos_did_to_a_row_is_told(shop: Shop) -> None:
    with shop.served.records.database.transaction() as connection:
        rules.add(connection, Actor("root", Via.API), "goods", Repair.single("country", "replace", "Germny", "Germany"))
    first = shop.send("7,Germny,1.5", "8,France,2")
    second = shop.send("8,France,2", "7,Germany,oops")
    position = shop.position(7)
    [failed] = shop.client.get(f"/api/v1/uploads/{second.id}/failed-rows").json()["items"]
    edited = {"cells": {"price": "2.25"}, "version": failed["version"]}
    shop.client.patch(f"/api/v1/uploads/{second.id}/failed-rows/{failed['row_number']}", json=edited)
    repair = shop.post(f"{second.id}/failed-rows/import")
    undone = shop.post(f"{repair}/undo")
    redone = shop.post(f"{undone}/undo")

    items = shop.history(position).json()
    assert [(each["upload"], each["kind"], each["before"], each["after"]) for each in items] == [
        (redone, "undo", ["7", "Germany", "1.5"], ["7", "Germany", "2.25"]),
        (undone, "undo", ["7", "Germany", "2.25"], ["7", "Germany", "1.5"]),
        (repair, "repair", ["7", "Germany", "1.5"], ["7", "Germany", "2.25"]),
        (first.id, "import", None, ["7", "Germany", "1.5"]),
    ]
    oldest = items[-1]
    assert (oldest["filename"], oldest["line"], oldest["replaced_by"], oldest["undone_by"]) == (
        "june.csv", 2, repair, None
    )  # fmt: skip
    assert oldest["rules"][0]["cells"] == 1
    assert items[1]["undone_by"] == redone
    assert shop.position(7) == position
    other = shop.history(shop.position(8)).json()
    assert [each["found_by"] for each in other] == [[{"upload": second.id, "line": 2}]]

    page = shop.served.page(f"/datasets/goods/rows/{position}")
    assert re.findall(r'<li id="version-(\d+)"', page) == [str(each["upload"]) for each in items]
    assert '<del><span class="whole">1.5</span></del>' in page
    assert '<ins><span class="whole">2.25</span></ins>' in page
    assert "Germny" in page
    assert f'Corrects failed rows of <a href="/uploads/{second.id}">' in page
    assert f'Undone by <a href="/uploads/{redone}">' in page
    assert f'<a href="/uploads/{second.id}/failed-rows/2">Line 3</a>' in page
    linked = shop.served.page(f"/datasets/goods/rows/{position}?version={repair}")
    assert re.findall(r'<li id="version-(\d+)"', linked) == [str(repair), str(first.id)]
    assert "not kept any more" in shop.served.page(f"/datasets/goods/rows/{position}?version=99999")


def test_a_row_that_was_removed_keeps_its_page_and_a_deleted_upload_its_number(shop: Shop) -> None:
    sent = shop.send("100,Peru,1")
    position = shop.position(100)
    undone = shop.post(f"{sent.id}/undo")

    assert [each["upload"] for each in shop.history(position).json()] == [undone, sent.id]
    assert "A row that was removed" in shop.served.page(f"/datasets/goods/rows/{position}")
    shop.client.delete(f"/api/v1/uploads/{sent.id}?confirm={sent.id}")
    newest, oldest = shop.history(position).json()
    assert (oldest["filename"], oldest["deleted"], newest["deleted"]) == (None, True, False)
    assert "deleted upload, <a" in shop.served.page(f"/datasets/goods/rows/{position}")


def test_a_long_history_has_pages(shop: Shop) -> None:
    sent = [shop.send(f"200,Chile,{price}").id for price in range(3)][::-1]
    position = shop.position(200)

    found, answer = [], shop.history(position, "?limit=2")
    found += answer.json()
    answer = shop.client.get(answer.links["next"]["url"])
    found += answer.json()
    assert ([each["upload"] for each in found], "link" in answer.headers) == (sent, False)
    assert shop.history(position, "?cursor=99999").status_code == 422
    assert shop.history("WzFd.").status_code == 404
    assert shop.history("WzQwNF0").status_code == 404  # there never was a row 404
