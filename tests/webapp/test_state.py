"""Ids in paths."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import webapp.state as _state  # registers the convertor  # noqa: F401


async def _shown(request: Request) -> JSONResponse:
    return JSONResponse(request.path_params["number"])


def get(path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/uploads/{number:id}", _shown)]))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(f"http://localhost{path}")

    return asyncio.run(ask())


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("007", 7), ("9" * 18, int("9" * 18))])
def test_digits_are_an_id(text: str, number: int) -> None:
    assert get(f"/uploads/{text}").json() == number


@pytest.mark.parametrize("text", ["9" * 19, "-1", "1.0", "x", "\N{ARABIC-INDIC DIGIT SEVEN}", ""])
def test_what_no_database_numbers_is_no_address(text: str) -> None:
    assert get(f"/uploads/{text}").status_code == 404
