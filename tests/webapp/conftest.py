"""What all tests of the web application share."""

import asyncio

import pytest
import uvloop


@pytest.fixture(autouse=True)
def _loop_of_the_web_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run coroutines on the loop that the product runs on; it differs from asyncio's."""
    monkeypatch.setattr(asyncio, "run", uvloop.run)
