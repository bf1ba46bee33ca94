"""The fields of forms."""

from typing import Any

import pytest
from starlette.requests import Request

from webapp.errors import InvalidBodyError
from webapp.people.form import MAX_FIELDS, Form


async def read(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Form:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return await Form.read(Request({"type": "http", "method": "POST", "headers": headers}, receive))


@pytest.mark.anyio
async def test_a_field_has_its_last_value_or_all() -> None:
    form = await read(b"name=Zo%C3%AB+Ng&scope=read&scope=upload&empty=")

    assert (form["name"], form["scope"], form["empty"], form["missing"]) == ("Zoë Ng", "upload", "", "")
    assert (list(form.all("scope")), list(form.all("missing"))) == (["read", "upload"], [])


@pytest.mark.anyio
async def test_an_empty_body_is_an_empty_form() -> None:
    assert (await read(b"", ""))["name"] == ""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"name": "ana"}', "application/json"),
        (b"name=ana", "text/plain"),
        (b"name=\xff", "application/x-www-form-urlencoded"),
        (b"a=1&" * (MAX_FIELDS + 1), "application/x-www-form-urlencoded"),
    ],
    ids=["json", "text", "bytes", "too many"],
)
async def test_what_is_no_form_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(InvalidBodyError):
        await read(body, kind)
