"""JSON about one upload."""

import pytest

from jobs.failed_rows import FailedRow, Reason
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from webapp.parameters import MAX_LIMIT
from webapp.routes import repairs
from webapp.routes.actions import COMMAND_AGENT


def test_the_log_has_the_attempts_and_the_events(served: Served) -> None:
    upload = served.records.complete(served.records.advance(served.records.processing(), 10))
    log = served.client.get(f"/api/v1/uploads/{upload.id}/log").json()

    assert [event["kind"] for event in log["events"]] == ["created", "claimed", "completed"]
    assert [event["seq"] for event in log["events"]] == sorted(event["seq"] for event in log["events"])
    [attempt] = log["attempts"]
    assert (attempt["attempt"], attempt["worker"], attempt["end"]) == (1, "a test", "completed")
    assert (attempt["began_at_row"], attempt["ended_at_row"]) == (0, 10)
    assert attempt["began_at"] < attempt["ended_at"]


@ONE_DATABASE
def test_the_log_says_who_asked_for_a_change(served: Served) -> None:
    upload_id = served.post("a\n1\n").json()["id"]
    served.client.post(f"/uploads/{upload_id}/cancel")
    served.client.post(f"/api/v1/uploads/{upload_id}/retry", headers={"User-Agent": f"{COMMAND_AGENT}1.0"})
    served.client.post(f"/api/v1/uploads/{upload_id}/cancel")
    events = served.client.get(f"/api/v1/uploads/{upload_id}/log").json()["events"]

    assert [(event["kind"], event["via"], event["by"]) for event in events] == [
        ("created", "api", None),
        ("cancelled", "web", None),
        ("retried", "cli", None),
        ("cancelled", "api", None),
    ]


@ONE_DATABASE
def test_an_upload_that_does_not_exist_has_no_log(served: Served) -> None:
    assert served.client.get("/api/v1/uploads/99/log").status_code == 404


def failed(*numbers: int, column: str | None = "a", value: str = "x") -> list[FailedRow]:
    return [
        FailedRow(number, [value, "é"], [Reason(column, "is wrong", value, "in truth")], number + 1)
        for number in numbers
    ]


def with_failed(served: Served, *rows: FailedRow) -> Upload:
    return served.records.advance(served.records.processing(), 1, list(rows))


def test_the_failures_have_the_values_that_break_each_rule(served: Served) -> None:
    upload = with_failed(served, *failed(1, 2), *failed(3, value="y"), FailedRow(4, ["", ""], [Reason(None, "is odd")]))

    assert served.client.get(f"/api/v1/uploads/{upload.id}/failures").json() == [
        {
            "column": "a",
            "rule": "is wrong",
            "rows": 3,
            "values": [{"value": "x", "rows": 2}, {"value": "y", "rows": 1}],
            "more_values": False,
        },
        {"column": None, "rule": "is odd", "rows": 1, "values": [], "more_values": False},
    ]


def test_a_failed_row_has_its_cells_by_column_and_its_reasons(served: Served) -> None:
    row = FailedRow(7, ["x", "", "more"], [Reason("a", "is wrong", "x", "in truth"), Reason(None, "is odd")], 9)
    upload = with_failed(served, row)

    assert served.client.get(f"/api/v1/uploads/{upload.id}/failed-rows").json() == {
        "items": [
            {
                "row_number": 7,
                "line": 9,
                "cells": {"a": "x", "b": ""},
                "surplus": ["more"],
                "reasons": [
                    {"column": "a", "rule": "is wrong", "value": "x", "detail": "in truth"},
                    {"column": None, "rule": "is odd", "value": None, "detail": None},
                ],
                "version": 1,
                "edited": False,
                "original": {},
                "edited_by": None,
                "edited_at": None,
            }
        ],
        "cursor": None,
        "links": {"next": None},
    }


def followed(served: Served, path: str, **query: str | int) -> list[list[int]]:
    """The row numbers of all pages."""
    found: list[list[int]] = []
    page = served.client.get(path, params=query).json()
    while True:
        found.append([item["row_number"] for item in page["items"]])
        if page["links"]["next"] is None:
            return found
        page = served.client.get(page["links"]["next"]).json()


def test_every_failed_row_is_reached_by_the_cursor(served: Served) -> None:
    upload = with_failed(served, *failed(*range(1, 8)), *failed(8, 9, 11, column="b & c"))
    path = f"/api/v1/uploads/{upload.id}/failed-rows"

    assert followed(served, path, limit=4) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 11]]
    assert followed(served, path, limit=2, column="b & c", rule="is wrong") == [[8, 9], [11]]
    assert followed(served, path, limit=5, after=9) == [[11]]
    assert followed(served, path, column="c") == [[]]


def test_a_page_of_large_failed_rows_ends_early(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "CELLS_LENGTH", 2_500)
    upload = with_failed(served, *failed(1, 2, 3, 4, 5, value="x" * 1_000))

    assert followed(served, f"/api/v1/uploads/{upload.id}/failed-rows") == [[1, 2, 3], [4, 5]]


@ONE_DATABASE
@pytest.mark.parametrize(
    "query", ["limit=0", f"limit={MAX_LIMIT + 1}", "limit=x", "after=x", "after=-1", f"after={10**18}"]
)
def test_a_query_that_cannot_be_read_is_refused(served: Served, query: str) -> None:
    upload = with_failed(served, *failed(1))

    assert served.client.get(f"/api/v1/uploads/{upload.id}/failed-rows?{query}").status_code == 422


@ONE_DATABASE
@pytest.mark.parametrize("what", ["failures", "failed-rows"])
def test_an_upload_that_does_not_exist_has_no_failed_rows(served: Served, what: str) -> None:
    assert served.client.get(f"/api/v1/uploads/99/{what}").status_code == 404
