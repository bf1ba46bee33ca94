"""The JSON body of a request → a value of the expected type, or a description and path of each problem."""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from webapp.errors import BodyTooLargeError, InvalidBodyError

#: Largest accepted body, in bytes.
MAX_BYTES = 1 << 20

T = TypeVar("T")


async def read(request: Request[Any]) -> Any:
    """The body as JSON. Raises BodyTooLargeError, InvalidBodyError."""
    body = bytearray()
    try:
        await _fill(body, request)
    except ClientDisconnect as error:
        raise InvalidBodyError([("", "The connection broke before the whole body was sent.")]) from error
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise InvalidBodyError(
            [("", f"The body is not JSON: line {error.lineno}, column {error.colno}: {what}.")]
        ) from error
    except (ValueError, RecursionError) as error:  # not text, a number of 5,000 digits, deep nesting
        raise InvalidBodyError([("", "The body cannot be read as JSON.")]) from error


async def _fill(body: bytearray, request: Request[Any]) -> None:
    """Raises BodyTooLargeError, ClientDisconnect."""
    async for data in request.stream():
        body += data
        if len(body) > MAX_BYTES:
            raise BodyTooLargeError(
                f"The request body is larger than {MAX_BYTES:,} bytes. Split it into several requests."
            )


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
        case "extra_forbidden":
            return "is not a known field"
        case "model_type" | "model_attributes_type":
            return "must be an object"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return error["msg"][:1].lower() + error["msg"][1:]
