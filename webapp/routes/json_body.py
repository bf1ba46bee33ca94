"""The JSON body of a request → a value of the expected type, or a description and path of each problem."""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from webapp.errors import BodyTooLargeError, InvalidBodyError

#: Largest accepted body, in bytes.
MAX_BYTES = 1 << 20
#: How deep lists and objects may be nested; the bodies of this API need three levels.
MAX_DEPTH = 50

T = TypeVar("T")


async def read(request: Request[Any]) -> Any:
    """The body as JSON. Raises BodyTooLargeError, InvalidBodyError."""
    return decode(await read_bytes(request))


async def read_bytes(request: Request[Any]) -> bytes:
    """The body as it is. Raises BodyTooLargeError, InvalidBodyError."""
    body = bytearray()
    try:
        await _fill(body, request)
    except ClientDisconnect as error:
        raise InvalidBodyError([("", "The connection broke before the whole body was sent.")]) from error
    return bytes(body)


def decode(body: bytes) -> Any:
    """A body as JSON. Raises InvalidBodyError."""
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise InvalidBodyError(
            [("", f"The body is not JSON: line {error.lineno}, column {error.colno}: {what}.")]
        ) from error
    except (ValueError, RecursionError) as error:  # not text, a number of 5,000 digits, deep nesting
        raise InvalidBodyError([("", "The body cannot be read as JSON.")]) from error
    if _is_deeper(value, MAX_DEPTH):
        raise InvalidBodyError([("", f"The body has more than {MAX_DEPTH} levels of lists and objects.")])
    return value


async def _fill(body: bytearray, request: Request[Any]) -> None:
    """Raises BodyTooLargeError, ClientDisconnect."""
    _check_size(int(request.headers.get("content-length", 0)))  # before the client sends it
    async for data in request.stream():
        body += data
        _check_size(len(body))


def _check_size(size: int) -> None:
    """Raises BodyTooLargeError."""
    if size > MAX_BYTES:
        raise BodyTooLargeError(f"The request body is larger than {MAX_BYTES:,} bytes. Split it into several requests.")


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested deeper than this. Level by level, so that no depth exhausts the stack."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(depth):
        children = (child for each in level for child in (each.values() if isinstance(each, dict) else each))
        level = [child for child in children if isinstance(child, list | dict)]
        if not level:
            return False
    return bool(level)


def parse(kind: TypeAdapter[T], value: Any) -> T:
    """Raises InvalidBodyError."""
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise InvalidBodyError([(_path(each), _detail(each)) for each in error.errors(include_url=False)]) from error


def _path(error: ErrorDetails) -> str:
    """The path of a value in the JSON: [2].rows_failed."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")


def _detail(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        case "too_short" if error["ctx"]["field_type"] == "Dictionary":
            return "is empty"
        case "extra_forbidden":
            return "is not a known field"
        case "model_type" | "model_attributes_type":
            return "must be an object"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return error["msg"][:1].lower() + error["msg"][1:]
