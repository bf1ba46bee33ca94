"""The routes of the API → their description in OpenAPI 3.1."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from starlette.responses import Response
from starlette.routing import BaseRoute

from webapp.access.needs import ANYBODY, GuardedRoute
from webapp.openapi import answers
from webapp.operation import Answer, Kind, Operation, answer
from webapp.parameters import Parameter
from webapp.problem_details import CHECKSUM_MISMATCH, MEDIA_TYPE
from webapp.state import AppRequest
from webapp.threads import in_thread

PATH = "/api/v1/openapi.json"
_REFERENCES = "#/components/schemas/{model}"
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ID = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
#: Statuses that any request may get: of a foreign host, without signing in, after too many wrong secrets, while a part
#: does not respond.
_OF_ALL = (400, 401, 429, 503)
#: The column of a dataset, with an operator or without, and a value.
_FILTERS = {
    "name": "filters",
    "in": "query",
    "description": "Which rows: COLUMN=, COLUMN__contains=, COLUMN__gte=, COLUMN__lte=, COLUMN__empty=.",
    "required": False,
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}


class Description:
    """The description of all routes, made once, when somebody asks for it first."""

    def __init__(self) -> None:
        self._routes: list[BaseRoute] = []
        self._content: bytes | None = None

    @property
    def route(self) -> GuardedRoute:
        operation = Operation("This description.", answer({"type": "object"}))
        return GuardedRoute(PATH, self._respond, ANYBODY, operation=operation)

    def of(self, routes: list[BaseRoute]) -> list[BaseRoute]:
        """The routes that are described."""
        self._routes = routes
        return routes

    async def _respond(self, _request: AppRequest) -> Response:
        if self._content is None:
            self._content = await in_thread(lambda: json.dumps(document(self._routes), ensure_ascii=False).encode())
        return Response(self._content, media_type="application/json")


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Of those routes that have an operation."""
    schemas = _Schemas()
    described = [route for route in routes if isinstance(route, GuardedRoute) and route.operation is not None]
    for route in described:
        assert route.operation is not None
        schemas.note(route.operation)
    definitions = schemas.make()
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        for method in _methods(route):
            paths.setdefault(route.path_format, {})[method.lower()] = _operation(route, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bulk Upload",
            "version": version("bulk-upload"),
            "description": "Fields are only ever added to answers. Errors are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, with one of its scopes."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "session",
                    "description": "Somebody who has signed in; `__Host-session` over TLS. Not needed, like the token,"
                    " while there is no account.",
                },
            },
        },
    }


def _methods(route: GuardedRoute) -> list[str]:
    """HEAD goes with GET, and is described where it is alone."""
    methods = route.methods or set()
    return sorted(methods - {"HEAD"}) or sorted(methods)


class _Schemas:
    """Schemas of types, with what they share in one place."""

    def __init__(self) -> None:
        self._adapters: dict[int, tuple[Any, TypeAdapter[Any]]] = {}
        self._schemas: Mapping[Any, Any] = {}
        self._kept(answers.Problem)

    def note(self, operation: Operation) -> None:
        for kind in _kinds(operation):
            self._kept(kind)

    def make(self) -> dict[str, Any]:
        """Returns the definitions to which the others refer."""
        inputs: list[tuple[int, Any, TypeAdapter[Any]]] = [
            (key, "validation", adapter) for key, (_, adapter) in self._adapters.items()
        ]
        made, found = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCES)
        self._schemas = {key: schema for (key, _), schema in made.items()}
        definitions: dict[str, Any] = found.get("$defs", {})
        return definitions

    def of(self, kind: Kind) -> Mapping[str, Any]:
        if isinstance(kind, Mapping):
            return kind
        schema: Mapping[str, Any] = self._schemas[id(kind)]
        return schema

    def _kept(self, kind: Kind) -> None:
        if not isinstance(kind, Mapping):
            adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
            self._adapters[id(kind)] = (kind, adapter)


def _kinds(operation: Operation) -> Iterator[Kind]:
    yield from operation.body.values()
    for each in operation.answers.values():
        yield from each.content.values()


def _operation(route: GuardedRoute, method: str, schemas: _Schemas) -> dict[str, Any]:
    operation = route.operation
    assert operation is not None
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}_{re.sub(r'[^a-z0-9]+', '_', route.path_format.lower()).strip('_')}",
        "summary": operation.summary,
        "security": _security(route),
        "parameters": [*_path(route), *_given(operation)],
        "responses": _responses(route, method, operation, schemas),
    }
    if operation.body:
        content = {media_type: {"schema": schemas.of(kind)} for media_type, kind in operation.body.items()}
        described["requestBody"] = {"required": operation.body_needed, "content": content}
    return described


def _security(route: GuardedRoute) -> list[dict[str, list[str]]]:
    """Either of these. A token needs the scope that is named."""
    needs = route.needs
    if needs.is_public:
        return []
    session: dict[str, list[str]] = {"session": []}
    if needs.person:
        return [session]
    tokens: list[list[str]] = [[str(scope)] for scope in needs.scopes] or [[]]
    return [*({"token": scopes} for scopes in tokens), session]


def _path(route: GuardedRoute) -> Iterator[dict[str, Any]]:
    for name, convertor in route.param_convertors.items():
        schema = _ID if type(convertor).__name__ == "IdConvertor" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _given(operation: Operation) -> Iterator[dict[str, Any]]:
    for place, parameters in (("query", operation.query), ("header", operation.headers)):
        for each in parameters:
            yield _parameter(each, place)
    if operation.reads_filters:
        yield _FILTERS


def _parameter(parameter: Parameter[Any], place: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "required": False,
        "schema": parameter.schema,
    }


def _responses(route: GuardedRoute, method: str, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    responses = {str(status): _response(each, schemas) for status, each in operation.answers.items()}
    problem = {MEDIA_TYPE: {"schema": schemas.of(answers.Problem)}}
    for status in sorted(_problems(route, method, operation)):
        responses.setdefault(str(status), {"description": _phrase(status), "content": problem})
    return dict(sorted(responses.items()))


def _phrase(status: int) -> str:
    return "Checksum Mismatch" if status == CHECKSUM_MISMATCH else HTTPStatus(status).phrase


def _response(given: Answer, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": given.description}
    if given.content:
        described["content"] = {kind: {"schema": schemas.of(what)} for kind, what in given.content.items()}
    if given.headers:
        described["headers"] = {name: {"schema": {"type": "string"}} for name in given.headers}
    return described


def _problems(route: GuardedRoute, method: str, operation: Operation) -> set[int]:
    """What follows from what the route takes, and what it says itself."""
    found = {*_OF_ALL, *operation.problems}
    if route.needs.scopes or route.needs.person or method in _UNSAFE:
        found.add(403)
    if route.param_convertors:
        found.add(404)
    if operation.query or operation.headers or operation.reads_filters:
        found.add(422)
    if operation.body:
        found |= {413, 422}
    if method in _UNSAFE:
        found.add(507)
    return found
