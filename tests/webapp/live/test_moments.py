"""The moment up to which a client knows every change."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from jobs.events import timestamp
from webapp.errors import InvalidQueryError
from webapp.live import moments
from webapp.state import AppRequest

MOMENT = datetime(2026, 1, 31, 9, 0, 0, 123456, UTC)
OTHER = datetime(2025, 1, 1, tzinfo=UTC)


def request(last_event_id: str | None = None, query: str = "") -> AppRequest:
    headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


def since(moment: datetime) -> str:
    return urlencode({"since": timestamp(moment)})


def test_the_id_of_a_message_is_its_moment() -> None:
    assert moments.parse(timestamp(MOMENT)) == MOMENT
    assert moments.parse(timestamp(moments.EARLIEST)) == moments.EARLIEST


@pytest.mark.parametrize(
    "text",
    ["", "17", "yesterday", "2026-01-31", "2019-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z", "x" * 9999],
)
@pytest.mark.parametrize("found", [moments.parse, lambda text: moments.last_event(request(text))])
def test_any_other_text_is_no_moment(found: Callable[[str], datetime | None], text: str) -> None:
    assert found(text) is None


def test_a_page_knows_what_its_last_message_or_else_its_address_says() -> None:
    assert moments.of_page(request()) is None
    assert moments.of_page(request(query=since(OTHER))) == OTHER
    assert moments.of_page(request(timestamp(MOMENT))) == MOMENT
    assert moments.of_page(request(timestamp(MOMENT), since(OTHER))) == MOMENT
    assert moments.of_page(request("nonsense", since(OTHER))) == OTHER
    assert moments.of_page(request(query="since=yesterday")) is None


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T09:00:00.123456Z", "2026-01-31T11:00:00.123456+02:00", "2026-01-31T11:00:00.123456%2B02:00",
     "2026-01-31T09:00:00.123456"],
)  # fmt: skip
def test_a_script_may_write_a_moment_in_any_iso_8601_form(text: str) -> None:
    assert moments.requested(request(query=f"since={text}")) == MOMENT


def test_a_script_need_not_name_a_moment() -> None:
    assert moments.requested(request(timestamp(MOMENT))) is None


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2019-12-31", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59-23:59"]
)
def test_an_invalid_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidQueryError) as refused:
        moments.requested(request(query=f"since={text}"))

    assert str(refused.value) == ("`since` must be a time like 2026-01-31T09:00:00Z, in 2020 or later.")
