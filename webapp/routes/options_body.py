"""The body of a retry → the import options that it changes, as fields of a form."""

import json
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.requests import Request

from webapp.errors import InvalidBodyError
from webapp.routes import json_body

#: Fields of a form; it has one for each option, and the header row twice.
MAX_FIELDS = 20


class Options(BaseModel):
    """Import options as JSON. Those that are left out stay as they are; null: detect it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    encoding: str | None = None
    delimiter: str | None = None
    header_row: int | None = None
    sheet: str | None = None
    types: str | dict[str, str] | None = None


class HeldOptions(Options):
    """Of a held upload also: what its rows do with those of the dataset, and into which they go; "": a new one."""

    mode: str | None = None
    dataset: str | None = None


OPTIONS: TypeAdapter[Options] = TypeAdapter(Options)
HELD_OPTIONS: TypeAdapter[HeldOptions] = TypeAdapter(HeldOptions)


async def read(request: Request[Any], expected: TypeAdapter[Any] = OPTIONS) -> dict[str, str]:
    """The fields of a form or of a JSON object; an empty one is to be detected. Without a body there are none.

    Of a field that a form has twice, the last counts. Raises BodyTooLargeError, InvalidBodyError.
    """
    body = await json_body.read_bytes(request)
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return _of_form(body)
    options = json_body.parse(expected, json_body.decode(body))
    return {name: _field(getattr(options, name)) for name in options.model_fields_set}


def _of_form(body: bytes) -> dict[str, str]:
    try:
        text = body.decode("ascii")  # everything else is escaped
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:  # UnicodeDecodeError is one
        raise InvalidBodyError([("", f"The form cannot be read, or has more than {MAX_FIELDS} fields.")]) from error


def _field(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict) else str(value)
