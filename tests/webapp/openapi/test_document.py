"""The description of the API has every route, and nothing that no route reads."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers, ImmutableMultiDict
from starlette.routing import BaseRoute

from jobs.datasets import Position
from jobs.import_options import ImportOptions
from jobs.rows.filters import SEARCH, SORT, UPLOAD
from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from webapp.access.needs import GuardedRoute
from webapp.app import create_app
from webapp.openapi.document import document
from webapp.routes import upload_fields

#: `row_filters.parse` goes through the query from its beginning to its end.
ROW_FILTERS = {UPLOAD, SEARCH, SORT, "filters"}


def api_routes(settings: Settings) -> list[GuardedRoute]:
    routes = [route for route in create_app(settings).routes if isinstance(route, GuardedRoute)]
    return [route for route in routes if route.path.startswith("/api/")]


def operations(routes: list[BaseRoute] | list[GuardedRoute]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document(routes)["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@ONE_DATABASE
def test_each_route_of_the_api_is_described(settings: Settings) -> None:
    routes = api_routes(settings)
    expected = {
        (method, route.path_format) for route in routes for method in ((route.methods or set()) - {"HEAD"} or {"HEAD"})
    }

    assert {(method, path) for method, path, _ in operations(routes)} == expected
    assert len(expected) > 40


@ONE_DATABASE
def test_each_reference_leads_to_a_schema_and_each_operation_has_a_name_of_its_own(settings: Settings) -> None:
    found = document(api_routes(settings))
    names = [operation["operationId"] for _, _, operation in operations(api_routes(settings))]

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else ()
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert set(references(found)) <= known
    assert len(set(names)) == len(names)


class Read:
    """Notes which parameters and headers are looked up while a request is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: set[str] = set()
        for kind in (ImmutableMultiDict, Headers):
            for method in ("get", "__getitem__", "__contains__", "getlist"):
                if hasattr(kind, method):
                    monkeypatch.setattr(kind, method, self._noting(getattr(kind, method)))

    def _noting(self, method: Any) -> Any:
        def noting(container: Any, name: Any, *rest: Any) -> Any:
            self.names.add(str(name).lower())
            return method(container, name, *rest)

        return noting


@ONE_DATABASE
def test_each_parameter_that_is_described_is_read(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(1, "Zoë", True)])
    upload = served.records.all()[0]
    read, checked = Read(monkeypatch), 0
    for method, path, operation in operations(api_routes(served.settings)):
        named = {each["name"].lower() for each in operation["parameters"] if each["in"] != "path"} - ROW_FILTERS
        if method != "GET" or not named:
            continue
        read.names.clear()
        position = Position([upload.id, 1])
        address = path.format(upload_id=upload.id, name="sales", position=position)
        with served.client.stream("GET", address) as answer:
            assert answer.status_code in (200, 204, 403), (path, answer.status_code)  # 403: tokens are of accounts
        assert named <= read.names, path
        checked += 1
    assert checked > 10


def test_the_fields_of_an_upload_are_those_that_it_may_have() -> None:
    named = {each.name for each in upload_fields.FIELDS}

    expected = {"expect_rows", "expect_sums", "expect_sha256"}
    others = {"dataset", "duplicates", "mode", "parts", "processor", "review"}
    assert named == {*ImportOptions.names(), *others, *expected}


@ONE_DATABASE
def test_whoever_asks_gets_the_description_of_this_server(served: Served) -> None:
    answer: httpx.Response = served.client.get("/api/v1/openapi.json")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["paths"]["/api/v1/uploads"]["post"]["security"] == [
        {"token": ["upload"]},
        {"token": ["notify"]},
        {"session": []},
    ]
