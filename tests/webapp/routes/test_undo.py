"""Undo through the API and its page, with a real worker, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.datasets import Mode
from jobs.people import audit
from jobs.people.audit import AuditQuery
from jobs.schema import TableSchema
from jobs.undo import orders as undo_orders
from jobs.uploads import Upload
from tests.support.serving import Served, Worker
from tests.support.waiting import until

FIELDS: list[dict[str, Any]] = [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}]


class Shop:
    """A server with a worker, and a dataset that upserts."""

    def __init__(self, served: Served) -> None:
        self.served = served
        with served.records.database.transaction() as connection:
            schema = TableSchema.parse({"fields": FIELDS, "primaryKey": "sku"})
            datasets.declare(connection, "stock", schema, Mode.UPSERT)

    def send(self, prices: dict[int, float | str]) -> Upload:
        content = "sku,price\n" + "".join(f"{sku},{price}\n" for sku, price in prices.items())
        self.served.post(content, "stock.csv", dataset="stock")
        return self.served.finished()

    def ask(self, upload_id: int, what: str = "", method: str = "GET", **options: Any) -> Any:
        return self.served.client.request(method, f"/api/v1/uploads/{upload_id}{what}", **options)

    def undo(self, upload_id: int, **body: Any) -> dict[str, Any]:
        """The undo after its end."""
        answer = self.ask(upload_id, "/undo", "POST", json=body)
        assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/uploads/{answer.json()['id']}")
        return self.ended(answer.json()["id"])

    def ended(self, upload_id: int) -> dict[str, Any]:
        until(lambda: self.ask(upload_id).json()["finished_at"], "the undo to end")
        found: dict[str, Any] = self.ask(upload_id).json()
        return found

    def rows(self) -> dict[int, float]:
        with self.served.records.database.reading() as connection:
            return {row.sku: row.price for row in connection.execute(sa.text("SELECT sku, price FROM data_stock"))}


@pytest.fixture(scope="module")
def shop(standing: Served) -> Iterator[Shop]:
    with Worker(standing.settings):
        yield Shop(standing)


def test_an_upload_is_undone_and_the_undo_too(shop: Shop) -> None:
    sent = shop.send(dict.fromkeys(range(100, 150), 1.5))

    assert shop.ask(sent.id, "/undo").json() == {"remove": 50, "restore": 0, "keep": [], "gone": 0, "repairs": []}
    undone = shop.undo(sent.id)
    assert (undone["kind"], undone["phase"], undone["parent"], undone["status"]) == (
        "undo", "undo", sent.id, "completed"
    )  # fmt: skip
    assert (undone["rows_success"], undone["rows_failed"], undone["undoes"]) == (50, 0, [sent.id])
    assert shop.rows() == {}
    assert shop.ask(sent.id).json()["undone_by"] == undone["id"]
    again = shop.ask(sent.id, "/undo", "POST", json={"repairs": False})
    assert (again.status_code, again.json()["detail"]) == (
        409, f"Upload #{sent.id} was undone already, by #{undone['id']}."
    )  # fmt: skip

    assert shop.ask(undone["id"], "/undo").json()["restore"] == 50
    shop.undo(undone["id"])
    assert len(shop.rows()) == 50
    assert shop.ask(sent.id).json()["undone_by"] is None
    with shop.served.records.database.reading() as connection:
        entries = audit.page(connection, AuditQuery(action="upload.undo"), limit=9)
    assert [entry.object for entry in entries] == [f"upload {undone['id'] + 1}", f"upload {undone['id']}"]


def test_an_undo_that_was_stopped_is_not_continued_once_another_one_did_it(shop: Shop) -> None:
    sent, client = shop.send({800: 1.5}), shop.served.client
    with shop.served.records.database.transaction() as connection:
        stopped = undo_orders.order(connection, sent)  # no worker is told of it
    assert shop.ask(sent.id, method="DELETE", params={"confirm": sent.id}).json()["detail"] == (
        f"Upload #{sent.id} is being undone by #{stopped.id}, so it cannot be deleted."
    )
    shop.ask(stopped.id, "/cancel", "POST")
    assert "Try again" in client.get(f"/uploads/{stopped.id}").text

    undone = shop.undo(sent.id)
    page = client.get(f"/uploads/{stopped.id}").text
    assert ("Try again" in page, "Upload another file" in page) == (False, False)
    refused = shop.ask(stopped.id, "/retry", "POST")
    assert (refused.status_code, refused.json()["title"]) == (409, "Not possible in this state")
    assert refused.json()["detail"] == f"Upload #{sent.id} was undone already, by #{undone['id']}."
    with shop.served.records.database.transaction() as connection:
        back = undo_orders.order(connection, uploads.get(connection, undone["id"]))
    assert shop.ask(stopped.id, "/retry", "POST").json()["detail"] == (
        f"Upload #{undone['id']} is being undone, by #{back.id}."
    )
    shop.ask(back.id, "/cancel", "POST")


def test_pages_say_where_failed_rows_are_open_once_their_corrections_are_undone(shop: Shop) -> None:
    parent = shop.send({700: 1.5, 701: "dear", 702: "cheap"})
    rows = f"701,2.5,{parent.id},2,\n702,still,{parent.id},3,\n"
    shop.served.post(f"sku,price,_upload_id,_row_number,_error\n{rows}", "fixed.csv")
    child = shop.served.finished()
    page = shop.served.page

    assert f'1 still open in <a href="/uploads/{child.id}">' in page(f"/uploads/{parent.id}")
    shop.undo(child.id)
    of_parent, of_child = page(f"/uploads/{parent.id}"), page(f"/uploads/{child.id}")
    assert "Fix 2 rows" in of_parent
    assert "1 of 2 rows imported, undone" in of_parent
    assert "Corrected in" not in of_parent
    assert f'1 failed row is open in <a href="/uploads/{parent.id}">#{parent.id}</a>' in of_child
    assert "upload the file again" not in of_child
    shop.undo(parent.id)


def test_rows_that_failed_again_in_a_deleted_upload_are_open_where_they_failed_before(shop: Shop) -> None:
    parent = shop.send({600: 1.5, 601: "dear", 602: "cheap"})
    rows = f"601,2.5,{parent.id},2,\n602,still,{parent.id},3,\n"
    shop.served.post(f"sku,price,_upload_id,_row_number,_error\n{rows}", "fixed.csv")
    child = shop.served.finished()
    before = shop.ask(parent.id).json()
    shop.ask(child.id, method="DELETE", params={"confirm": child.id})
    after = shop.ask(parent.id).json()

    assert (before["rows_open"], after["rows_open"], after["rows_corrected"]) == (0, 1, 1)
    assert [row["row_number"] for row in shop.ask(parent.id, "/failed-rows").json()["items"]] == [3]
    assert [each["rows"] for each in shop.ask(parent.id, "/failures").json()] == [1]
    assert (after["seq"] > before["seq"], shop.ask(child.id).json()["rows_open"]) == (True, 0)


def test_a_deleted_upload_is_undone_on_what_is_left_of_its_page(shop: Shop) -> None:
    sent = shop.send({900: 1.5})
    shop.ask(sent.id, method="DELETE", params={"confirm": sent.id})
    client = shop.served.client

    assert f'href="/uploads/{sent.id}/undo">Undo…</a>' in client.get(f"/uploads/{sent.id}").text
    undone = shop.undo(sent.id)
    page = client.get(f"/uploads/{sent.id}").text
    assert f'It was undone by <a href="/uploads/{undone["id"]}">#{undone["id"]}</a>' in page
    assert ("Undo…" in page, 900 in shop.rows()) == (False, False)
    shop.undo(undone["id"])
    assert 900 in shop.rows()
    shop.undo(sent.id)


def test_what_cannot_be_undone_is_refused_with_the_reason(shop: Shop) -> None:
    external = shop.served.records.external(dataset="stock")
    waiting = shop.served.client.post(
        "/api/v1/uploads?filename=w.csv&review=always&dataset=stock", content=b"sku,price\n1,2\n"
    ).json()
    until(lambda: shop.ask(waiting["id"]).json()["status"] == "held", "the upload to be held")

    assert "external script" in shop.ask(external.id, "/undo").json()["detail"]
    held = shop.ask(waiting["id"], "/undo", "POST")
    assert (held.status_code, held.json()["title"]) == (409, "Not possible to undo")
    assert "waits for a review" in held.json()["detail"]
    shop.ask(waiting["id"], "/cancel", "POST")
    assert "nothing to undo" in shop.ask(waiting["id"], "/undo").json()["detail"]
    assert shop.ask(10_000, "/undo").status_code == 404


def test_uploads_that_were_undone_are_no_longer_duplicates_and_can_be_found(shop: Shop) -> None:
    prices: dict[int, float | str] = dict.fromkeys(range(200, 210), 7.25)
    first = shop.send(prices)
    assert shop.send(prices).duplicate_of == first.id
    second = shop.served.finished()
    undone = [shop.undo(second.id), shop.undo(first.id)]

    assert shop.send(prices).duplicate_of is None
    found = shop.served.client.get("/api/v1/uploads?kind=undo&dataset=stock").json()["items"]
    assert {each["id"] for each in undone} <= {each["id"] for each in found}
    assert {each["kind"] for each in found} == {"undo"}
    of_outcome = shop.served.client.get("/api/v1/uploads?outcome=undone").json()["items"]
    assert {first.id, second.id} <= {each["id"] for each in of_outcome}
    assert all(each["undone_by"] for each in of_outcome)


def test_the_page_says_what_would_happen_and_does_it(shop: Shop) -> None:
    sent = shop.send(dict.fromkeys(range(3000, 4000), 1.5))
    client = shop.served.client

    before = client.get(f"/uploads/{sent.id}").text
    assert f'href="/uploads/{sent.id}/undo">Undo…</a>' in before
    asked = client.get(f"/uploads/{sent.id}/undo").text
    assert "Undo stock.csv?" in asked
    assert '<b class="num">1,000</b> rows will be removed from stock' in asked
    assert "Undo 1,000 rows" in asked
    answer = client.post(f"/uploads/{sent.id}/undo")
    undo_id = int(answer.headers["location"].rpartition("/")[2])
    assert answer.status_code == 303
    shop.ended(undo_id)
    page = client.get(f"/uploads/{undo_id}").text
    assert f"#{sent.id} is undone: 1,000 rows removed." in page
    after = client.get(f"/uploads/{sent.id}").text
    assert f'Undone by <a href="/uploads/{undo_id}">#{undo_id}</a>' in after
    assert '/undo">Undo…' not in after
    refused = client.get(f"/uploads/{sent.id}/undo")
    assert refused.status_code == 409
    assert f"was undone already, by #{undo_id}" in refused.text
