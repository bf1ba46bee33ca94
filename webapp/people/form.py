"""The fields of a form in the body of a request, and what is wrong with them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from webapp.errors import InvalidBodyError
from webapp.routes import json_body

#: Fields of a form: each grant of a dataset has three.
MAX_FIELDS = 2_000


class Form:
    """Texts by name; a name may have several."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    @classmethod
    async def read(cls, request: Request[Any]) -> "Form":
        """Raises BodyTooLargeError, InvalidBodyError."""
        body = await json_body.read_bytes(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/x-www-form-urlencoded":
            raise InvalidBodyError([("", "Send the form as application/x-www-form-urlencoded.")])
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError as error:  # UnicodeDecodeError is one
            raise InvalidBodyError(
                [("", f"The form cannot be read, or has more than {MAX_FIELDS:,} fields.")]
            ) from error
        fields: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            fields[name].append(value)
        return cls(fields)

    def __getitem__(self, name: str) -> str:
        """The last value, "" without one."""
        return (self._fields.get(name) or [""])[-1]

    def all(self, name: str) -> Sequence[str]:
        return self._fields.get(name, [])
