"""Receipts, expectations and deleted uploads, as programs and people meet them."""

import httpx

from jobs.failed_rows import FailedRow, Reason
from tests.support.serving import Served

FILE = "sku,price\na,1.5\nb,2.25\nc,3\n"


def send(served: Served, content: str = FILE, **fields: str) -> httpx.Response:
    files = {"file": ("june.csv", content.encode())}
    return served.client.post("/api/v1/uploads", files=files, data=fields)


def test_an_expectation_that_cannot_be_met_is_refused_before_anything_is_imported(served: Served) -> None:
    served.records.declare("sales", {"name": "sku"}, {"name": "price", "type": "number"})
    refused = {
        "expect_rows": "-1",
        "expect_sum.price": "much",
        "expect_sum.sku": "3",
        "expect_sum.nothing": "3",
        "expect_sha256": "ab" * 32,
    }
    for name, value in refused.items():
        answer = send(served, dataset="sales", **{name: value})
        assert (answer.status_code, name) == (422, name)
        assert answer.headers["content-type"] == "application/problem+json"
    form = served.client.post("/uploads", files={"file": ("june.csv", FILE.encode())}, data={"expect_sums": "price"})
    assert form.status_code == 422
    assert 'id="upload-expect-sums-error"' in form.text
    assert served.client.get("/api/v1/uploads").json()["items"] == []

    changed = served.client.patch("/api/v1/datasets/sales", json={"totals": "hold", "totals_required": True})
    assert (changed.json()["totals"], changed.json()["totals_required"]) == ("hold", True)
    answer = send(served, dataset="sales")
    assert answer.status_code == 422
    assert "must say how many rows or which sums to expect" in answer.json()["detail"]
    created = send(served, dataset="sales", **{"expect_rows": "3", "expect_sum.price": "6.75"})
    assert created.status_code == 201
    assert created.json()["expected"] == {"rows": 3, "sums": {"price": "6.75"}}
    assert created.json()["balance"] == []
    receipt = served.client.get(f"/api/v1/uploads/{created.json()['id']}/receipt")
    assert (receipt.status_code, receipt.json()["title"]) == (409, "No receipt")


def test_a_deleted_upload_leaves_a_tombstone(served: Served) -> None:
    failed = [FailedRow(1, ["1", "x"], [Reason("b", "is not a whole number", "x")])]
    running = served.records.advance(served.records.processing(), 10, failed)
    path = f"/api/v1/uploads/{running.id}"
    assert served.client.delete(path, params={"confirm": running.id}).status_code == 409
    upload = served.records.complete(running)
    assert served.client.delete(path).status_code == 422
    assert served.client.delete(path, params={"confirm": upload.id + 1}).status_code == 422

    page = served.client.get(f"/uploads/{upload.id}/delete").text
    assert "its 1 failed row" in page
    assert f"/uploads/{upload.id}/delete?confirm={upload.id}" in page
    assert served.client.delete(path, params={"confirm": upload.id}).status_code == 204

    left = served.client.get(path).json()
    assert left["deleted_at"]
    assert (left["rows_success"], left["rows_failed"]) == (10, 1)
    assert not {"original", "failed_rows"} & set(left["links"])
    assert f"Deleted upload {upload.id}" in served.client.get(f"/uploads/{upload.id}").text
    assert served.client.get("/api/v1/uploads").json()["items"] == []
    assert served.client.get("/api/v1/uploads/recent").json()["items"] == []
    assert served.client.get(f"{path}/log").json()["events"] == []
    assert served.client.get(f"{path}/failed-rows").json()["items"] == []
    assert served.client.get(f"/uploads/{upload.id}/original").status_code == 404
    assert served.client.delete(path, params={"confirm": upload.id}).status_code == 409
    assert served.client.post(f"{path}/retry").status_code == 409
    [entry] = served.client.get("/api/v1/audit", params={"action": "upload.delete"}).json()["items"]
    assert entry["object"] == f"upload {upload.id}"
