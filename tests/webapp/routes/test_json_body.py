"""The JSON body of a request, and its problems."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import TypeAdapter
from starlette.requests import Request

from webapp.errors import BodyTooLargeError, InvalidBodyError
from webapp.routes import json_body


def read(*parts: bytes, breaks: bool = False, length: int | None = None) -> Any:
    """The JSON of a body in these parts. breaks: the connection breaks after them. length: as the client says."""
    ending: Iterable[dict[str, Any]] = [{"type": "http.disconnect"}] if breaks else [{"type": "http.request"}]
    messages = iter([*({"type": "http.request", "body": part, "more_body": True} for part in parts), *ending])

    async def receive() -> dict[str, Any]:
        return next(messages)

    headers = [(b"content-length", str(length).encode())] if length is not None else []
    return asyncio.run(json_body.read(Request({"type": "http", "headers": headers}, receive)))


def test_a_body_may_arrive_in_parts() -> None:
    assert read(b'{"gr', "öße".encode()[:2], "öße".encode()[2:], b'": [1, null]}') == {"größe": [1, None]}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not JSON: line 1, column 1: expecting value."),
        (b'{\n"a": }', "The body is not JSON: line 2, column 6: expecting value."),
        (b"\xff\xfe\xfd", "The body cannot be read as JSON."),
        (b"[" * 100_000, "The body cannot be read as JSON."),
        (b"9" * 5_000, "The body cannot be read as JSON."),
    ],
)
def test_invalid_json_is_rejected_with_its_position(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidBodyError) as refused:
        read(body)

    assert str(refused.value) == sentence


def test_an_incomplete_body_is_rejected_even_if_it_is_json() -> None:
    with pytest.raises(InvalidBodyError, match="The connection broke"):
        read(b"{}", breaks=True)


def test_a_body_may_have_the_maximum_size_and_no_more() -> None:
    assert read(b" " * (json_body.MAX_BYTES - 2), b"{}") == {}
    with pytest.raises(BodyTooLargeError, match="1,048,576 bytes"):
        read(b" " * (json_body.MAX_BYTES - 1), b"{}")


def test_a_length_that_is_too_large_is_rejected_before_the_body() -> None:
    with pytest.raises(BodyTooLargeError, match="1,048,576 bytes"):
        read(length=json_body.MAX_BYTES + 1, breaks=True)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[1,{"a":', "}]")])
def test_a_body_may_have_some_levels_and_no_more(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    fitting = json_body.MAX_DEPTH // levels

    def nested(depth: int) -> bytes:
        return f"{opening * depth}1{closing * depth}".encode()

    assert read(nested(fitting)) == json.loads(nested(fitting))
    for depth in (fitting + 1, 300):
        with pytest.raises(InvalidBodyError, match="more than 50 levels of lists and objects"):
            read(nested(depth))


def test_each_problem_has_its_path() -> None:
    with pytest.raises(InvalidBodyError) as refused:
        json_body.parse(TypeAdapter(list[dict[str, list[int]]]), [{"a": [1]}, {"b": [1, "x"]}, 7])

    assert [path for path, _ in refused.value.problems] == ["[1].b[1]", "[2]"]
    assert str(refused.value).startswith("[1].b[1]: input should be a valid integer")
