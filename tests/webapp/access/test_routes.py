"""Every route of the application says whom it lets pass, and nothing of what is hidden comes through any of them."""

import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Mount

from jobs.failed_rows import FailedRow, Reason
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from jobs.uploads import Upload
from tests.support import people, serving
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Records, Served
from tests.support.waiting import until
from webapp.access.needs import GuardedRoute
from webapp.app import create_app

#: Whoever asks, in the order of the tables below.
CALLERS = ("nobody", "viewer", "uploader", "admin")
#: What somebody gets who may not pass.
CLOSED_PAGE, CLOSED_API = 303, 401


def routes(settings: Settings) -> list[GuardedRoute]:
    return [route for route in create_app(settings).routes if isinstance(route, GuardedRoute)]


def test_each_route_has_a_decision(settings: Settings) -> None:
    for route in create_app(settings).routes:
        assert isinstance(route, GuardedRoute) or (isinstance(route, Mount) and route.path == "/static"), route


class Office:
    """A server with accounts: two uploaders, a viewer and an administrator; and a dataset that is hidden from all but
    the administrator."""

    def __init__(self, served: Served) -> None:
        self.served = served
        database = served.records.database
        self.clients = {"nobody": httpx.Client(base_url=served.url, timeout=12, verify=False)}
        for name in ("viewer", "uploader", "admin"):
            secret = people.add(database, name, Role(name))
            self.clients[name] = people.client(served.url, secret)
        until(
            lambda: self.clients["nobody"].get("/api/v1/uploads").status_code == 401, "the server to see the accounts"
        )
        self.hidden = served.records.dataset("hidden_prices", [(1, "secret value", True)])
        [self.hidden_upload] = [each for each in served.records.all() if each.dataset == "hidden_prices"]
        people.restrict(database, "hidden_prices")

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


@pytest.fixture
def office(served: Served) -> Iterator[Office]:
    office = Office(served)
    yield office
    office.close()


def filled(path: str, upload_id: int, dataset: str) -> str:
    """The path of a route with these values."""
    values = {"upload_id": str(upload_id), "row_number": "1", "position": "1.1", "name": dataset, "group": "all"}
    values |= {"token_id": "1", "user": "viewer", "session_id": "1", "secret": "x", "field": "id", "column": "none"}
    values |= {"file_id": "none", "rule_id": "0"}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values[found[1]], path)


def comparable(answer: httpx.Response, *names: str) -> tuple[int, str]:
    """An answer without what a question says itself."""
    text = answer.text
    for name in names:
        text = text.replace(name, "…")
    return answer.status_code, re.sub(r'"seq":\d+', "", text)


@ONE_DATABASE
def test_what_is_hidden_is_answered_like_what_does_not_exist(office: Office, settings: Settings) -> None:
    absent_upload, absent_dataset = 987_654, "absent_prices"
    checked = 0
    for route in routes(settings):
        if not ({"upload_id", "name"} & set(route.param_convertors)) or route.path.startswith("/api/v1/users"):
            continue
        for method in sorted((route.methods or set()) - {"HEAD"}):
            for caller in ("viewer", "uploader"):
                client = office.clients[caller]
                hidden, absent = (
                    client.request(method, filled(route.path, upload_id, dataset))
                    for upload_id, dataset in (
                        (office.hidden_upload.id, office.hidden.name),
                        (absent_upload, absent_dataset),
                    )
                )
                names = [office.hidden.name, absent_dataset, f"#{absent_upload}", f"/{absent_upload}"]
                names += [f"#{office.hidden_upload.id}", f"/{office.hidden_upload.id}"]
                assert comparable(hidden, *names) == comparable(absent, *names), (method, route.path, caller)
                assert hidden.status_code in (403, 404), (method, route.path)
                assert "secret value" not in hidden.text
                checked += 1
    assert checked > 40


@ONE_DATABASE
def test_no_list_search_or_count_tells_of_what_is_hidden(office: Office, settings: Settings) -> None:
    for route in routes(settings):
        if route.param_convertors or "GET" not in (route.methods or set()) or route.path.endswith("/events"):
            continue
        for query in ("", "?q=hidden", "?dataset=hidden_prices", "?name=hidden_prices", "?search=hidden"):
            answer = office.clients["viewer"].get(f"{route.path}{query}")
            told = answer.text.replace(query.partition("=")[2], "…") if query else answer.text

            assert "hidden_prices" not in told, (route.path, query)
            assert "secret value" not in told
    assert office.clients["admin"].get("/datasets").text.count("hidden_prices")


@ONE_DATABASE
def test_the_same_bytes_in_a_hidden_dataset_are_no_duplicate(office: Office) -> None:
    content = office.served.stored[0].read_bytes()
    answer = office.clients["uploader"].post(
        "/api/v1/uploads", params={"filename": "prices.csv", "duplicates": "hold"}, content=content
    )

    assert answer.status_code == 201
    assert (answer.json()["duplicate_of"], answer.json()["status"]) == (None, "pending")


@ONE_DATABASE
def test_a_duplicate_does_not_name_what_was_hidden_later(office: Office) -> None:
    """Neither the reason why it is held, nor its log, on any page or stream."""
    uploader, database = office.clients["uploader"], office.served.records.database
    people.open_to_all(database, "hidden_prices")
    query = {"filename": "again.csv", "dataset": "news", "duplicates": "hold"}
    content = office.served.stored[0].read_bytes()
    held = uploader.post("/api/v1/uploads", params=query, content=content).json()
    earlier = f"#{office.hidden_upload.id}"
    own = held["links"]["self"]
    said = "The same file was imported before. Import it into a new dataset, or cancel it."

    assert f"imported into “hidden_prices” on {held['created_at'][:10]} as {earlier}. " in held["hold"][0]["detail"]
    people.restrict(database, "hidden_prices")
    assert uploader.get(own).json()["hold"] == [{"code": "duplicate", "detail": said}]
    for path in (own, f"{own}/log", "/api/v1/uploads", held["links"]["html"], "/uploads"):
        told = uploader.get(path).text
        assert "hidden_prices" not in told, path
        assert earlier not in told, path
    since = f"?since={held['created_at']}"
    for path in (f"{own}/events", f"/api/v1/events{since}", "/uploads/events", f"{held['links']['html']}/events"):
        with serving.stream(uploader, path) as stream:
            told = stream.next().data
        assert ("hidden_prices" in told, earlier in told) == (False, False), path
    assert "hidden_prices" in office.clients["admin"].get(own).text
    assert earlier in office.clients["admin"].get(f"{own}/log").text


@ONE_DATABASE
def test_nobody_uploads_into_a_dataset_that_is_hidden(office: Office) -> None:
    answer = office.clients["uploader"].post(
        "/api/v1/uploads", params={"filename": "prices.csv", "dataset": "hidden_prices"}, content=b"id\n1\n"
    )

    assert answer.status_code == 422


#: What a person may do to an upload: of their own, and of somebody else.
@ONE_DATABASE
@pytest.mark.parametrize(
    ("caller", "own", "other"), [("viewer", None, 403), ("uploader", 200, 403), ("admin", 200, 200)]
)
def test_people_change_their_own_uploads_and_administrators_all(
    office: Office, caller: str, own: int | None, other: int
) -> None:
    theirs = office.served.records.pending("theirs.csv")
    assert office.clients[caller].post(f"/api/v1/uploads/{theirs.id}/cancel").status_code == other
    sent = office.clients[caller].post("/api/v1/uploads", params={"filename": "own.csv"}, content=b"id\n1\n")
    if own is None:
        assert sent.status_code == 403
        return
    found: dict[str, Any] = sent.json()

    assert found["uploaded_by"] == caller
    assert office.clients[caller].post(f"/api/v1/uploads/{found['id']}/cancel").status_code == own


@ONE_DATABASE
def test_of_a_batch_the_uploads_of_others_are_not_allowed(office: Office) -> None:
    uploads = [office.served.records.pending(name) for name in ("own.csv", "theirs.csv")]
    people.give(office.served.records.database, uploads[0].id, "uploader")
    body = {"action": "cancel", "ids": [each.id for each in uploads]}
    answer = office.clients["uploader"].post("/api/v1/uploads/batch", json=body).json()

    assert answer["detail"] == "1 upload cancelled, 1 not allowed."
    assert [each["status"] for each in answer["results"]][1] == 403


#: What repairs or undoes an upload: the method, what follows the upload's path, the body.
REPAIRS_AND_UNDO = [
    ("PATCH", "/failed-rows/1", {"cells": {"b": "2"}, "version": 1}),
    ("PATCH", "/failed-rows", {"rows": [{"row_number": 1, "cells": {"b": "2"}, "version": 1}]}),
    ("POST", "/failed-rows/import", None),
    ("POST", "/repairs", {"replace": [{"column": "b", "from": "x", "to": "2"}]}),
    ("POST", "/edits", {"replace": [{"column": "b", "from": "x", "to": "2"}]}),
    ("POST", "/edits/preview", {"replace": [{"column": "b", "from": "x", "to": "2"}]}),
    ("POST", "/edits/undo", None),
    ("POST", "/undo", {}),
]


def with_a_failed_row(records: Records) -> Upload:
    """A completed upload of nobody, into a dataset that all see."""
    records.dataset("prices")
    upload = records.processing("theirs.csv", dataset="prices", is_named=True)
    failed = [FailedRow(1, ["1", "x"], [Reason("b", "is not a whole number", "x")])]
    return records.complete(records.advance(upload, 99, failed))


@ONE_DATABASE
@pytest.mark.parametrize("page", ["undo", "repair"])
def test_a_page_says_why_it_offers_nothing_to_whoever_did_not_upload_the_file(office: Office, page: str) -> None:
    theirs = with_a_failed_row(office.served.records)

    def shown(name: str) -> str:
        return office.clients[name].get(f"/uploads/{theirs.id}/{page}").text

    assert "Somebody else uploaded this file. Whoever did may change it" in shown("uploader")
    assert "This takes the role “uploader”" in shown("viewer")
    assert f'id="{page}-refusal"' not in shown("admin")


@ONE_DATABASE
@pytest.mark.parametrize(("method", "path", "body"), REPAIRS_AND_UNDO)
def test_uploaders_repair_and_undo_their_own_uploads_only(
    office: Office, method: str, path: str, body: dict[str, Any] | None
) -> None:
    theirs = with_a_failed_row(office.served.records)
    url = f"/api/v1/uploads/{theirs.id}{path}"

    assert office.clients["viewer"].request(method, url, json=body).status_code == 403
    answer = office.clients["uploader"].request(method, url, json=body)
    assert (answer.status_code, "Somebody else" in answer.text) == (403, True)
    people.give(office.served.records.database, theirs.id, "uploader")
    if path == "/undo":  # the others ask a worker
        assert office.clients["uploader"].request(method, url, json=body).status_code == 201


@ONE_DATABASE
@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_may_do_what_its_scope_says_and_nothing_else(office: Office, scope: Scope) -> None:
    secret = people.add(office.served.records.database, f"of {scope}", Role.ADMIN, scopes={scope})
    with people.client(office.served.url, secret) as client:
        found = {
            "read": client.get("/api/v1/uploads").status_code,
            "upload": client.post("/api/v1/uploads", params={"filename": "a.csv"}, content=b"a\n1\n").status_code,
            "notify": client.post("/api/v1/internal/notify", json={}).status_code,
            "admin": client.get("/api/v1/audit").status_code,
        }
    allowed = {name for name, status in found.items() if status not in (401, 403)}

    assert allowed == {scope}


@ONE_DATABASE
def test_downloads_are_in_the_audit_log(office: Office) -> None:
    for path in (f"/uploads/{office.hidden_upload.id}/original", "/api/v1/datasets/hidden_prices/rows.csv"):
        assert office.clients["admin"].get(path).status_code == 200
    admin = office.clients["admin"]
    until(lambda: len(admin.get("/api/v1/audit?action=download").json()["items"]) == 2, "both downloads to be noted")
    found = admin.get("/api/v1/audit?action=download").json()["items"]

    assert {(each["actor"], each["object"], each["detail"]) for each in found} == {
        ("admin", f"upload {office.hidden_upload.id}", "original"),
        ("admin", "dataset hidden_prices", "rows.csv"),
    }


@ONE_DATABASE
@pytest.mark.parametrize("packed", ["as it is", "in a ZIP archive", "with gzip"])
def test_corrections_of_what_is_hidden_are_hidden_before_a_worker_reads_them(office: Office, packed: str) -> None:
    records = office.served.records
    failed = [FailedRow(1, ["1", "x"], [Reason("b", "is not a whole number", "x")])]
    parent = records.complete(records.advance(records.processing("old.csv", dataset="hidden_prices"), 99, failed))
    content = f"a,b,_upload_id,_row_number,_error\n1,2,{parent.id},1,wrong\n".encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("corrected.csv", content)
    name, sent = {
        "as it is": ("secret.csv", content),
        "in a ZIP archive": ("secret.zip", archive.getvalue()),
        "with gzip": ("secret.csv.gz", gzip.compress(content)),
    }[packed]
    upload = office.clients["admin"].post("/api/v1/uploads", params={"filename": name}, content=sent).json()

    assert (upload["parent"], upload["dataset"]) == (parent.id, "hidden_prices")
    assert office.clients["viewer"].get(upload["links"]["self"]).status_code == 404
    assert "secret" not in office.clients["viewer"].get("/uploads").text
