"""What many clients receive is rendered once."""

from dataclasses import replace

import pytest

from jobs.events import Event
from jobs.forecast import Place, Workers
from jobs.queue import QueueStatus
from jobs.uploads import Status
from tests.support.rendering import Scene
from webapp.live import renderer as renderers


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: what differs between them is tested where it is queried."""
    return sqlite_database_url


def test_a_row_is_rendered_once_for_each_state_and_kind_of_page(scene: Scene) -> None:
    upload = scene.records.processing()
    for _ in range(10):
        for each in (upload, replace(upload, seq=upload.seq + 1)):
            for insert in (True, False):
                scene.renderer.row(each, insert=insert)

    assert scene.templates.rendered == {"_upload_row.html": 4}


def test_a_row_is_rendered_again_when_the_queue_status_changes_what_it_shows(scene: Scene) -> None:
    upload = scene.records.pending()
    said = []
    for queue_status in (
        QueueStatus(),
        QueueStatus(True),
        QueueStatus(True, Workers(1), {upload.id: Place(1)}),
        QueueStatus(True, Workers(2), {upload.id: Place(1)}),
        QueueStatus(True, Workers(2)),
    ):
        scene.queue_monitor.status = queue_status
        said.append(scene.renderer.row(upload, insert=True))

    assert "Queue unavailable" in said[0]
    assert "No worker is running" in said[1]
    assert "Queued: 1 ahead" in said[2]
    assert said[2] == said[3]
    assert "Queued: next" in said[4]
    assert scene.templates.rendered == {"_upload_row.html": 4}


def test_a_toast_is_rendered_once_for_each_end(scene: Scene) -> None:
    upload = scene.records.fail(scene.records.processing(), "No <b>header</b>.")
    toasts = {scene.renderer.toast(upload) for _ in range(10)}

    assert scene.templates.rendered == {"_toast.html": 1}
    assert len(toasts) == 1
    assert toasts.pop().startswith(
        f'<hx-partial hx-target="#toasts" hx-swap="beforeend"><div id="toast-{upload.id}-{upload.attempt}"'
    )


@pytest.mark.parametrize(
    ("status", "rows_failed", "words"),
    [
        (Status.COMPLETED, 0, "completed: 90 rows imported"),
        (Status.COMPLETED, 10, "completed with failed rows: 10 of 100"),
        (Status.FAILED, 0, "failed"),
        (Status.CANCELLED, 0, "cancelled"),
    ],
)
def test_a_toast_says_how_the_upload_ended(scene: Scene, status: Status, rows_failed: int, words: str) -> None:
    upload = replace(
        scene.records.processing(), status=status, rows_processed=100, rows_success=90, rows_failed=rows_failed
    )

    assert words in " ".join(scene.renderer.toast(upload).split())


def test_an_event_is_encoded_once_with_line_feeds(scene: Scene) -> None:
    event = Event.from_upload(scene.records.fail(scene.records.processing(), "QueueStatus 1\r\nLine 2"))
    first, second = scene.renderer.json_message(event), scene.renderer.json_message(event)

    assert first == second
    assert first.decode().split("\n") == [
        f"id: {event.timestamp}",
        "event: bulk_upload_error",
        f"data: {event.json()}",
        "retry: 2000",
        "",
        "",
    ]
    assert b"\r" not in first


def test_the_number_of_kept_pieces_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderers, "MAX_PIECES", 3)
    upload = scene.records.processing()
    states = [replace(upload, seq=seq) for seq in range(5)]
    for state in (*states, *states[2:]):
        scene.renderer.row(state, insert=True)

    assert scene.templates.rendered["_upload_row.html"] == 5

    scene.renderer.row(states[0], insert=True)

    assert scene.templates.rendered["_upload_row.html"] == 6
