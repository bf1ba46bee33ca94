"""JSON about one upload."""

from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
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
