"""What goes out on the streams is read and rendered once, for all clients."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs import uploads
from jobs.errors import UploadNotFoundError
from jobs.events import Event, timestamp
from jobs.queue import QueueStatus, UploadQueue
from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.serving import Records
from webapp.fragments import Fragments
from webapp.history import HistoryView
from webapp.live import renderer as lives
from webapp.live.hub import Hub
from webapp.live.renderer import Renderer


class Counting(Fragments):
    """Counts what is rendered."""

    def __init__(self) -> None:
        super().__init__()
        self.rendered: Counter[str] = Counter()

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        self.rendered[template] += 1
        return super().render(template, context)


class Scene:
    """A Renderer over a hub that is not running."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.fragments = Counting()
        self.queue = UploadQueue(records.settings.redis)
        self.hub = Hub(records.database, self.queue, records.settings.redis, batch_interval=0.01, write_timeout=30)
        self.renderer = Renderer(records.database, self.hub, self.fragments)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One database is enough: what differs between them is not this room's."""
    return f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}"


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    with Records(settings) as records:
        scene = Scene(records)
        yield scene
        scene.queue.close()


def test_a_table_is_read_and_rendered_once_for_all_who_ask_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = scene.records.pending()
    reads: list[str] = []
    original = uploads.page

    def page(*words: Any, **more: Any) -> uploads.Page:
        reads.append(more["search"])
        return original(*words, **more)

    monkeypatch.setattr(uploads, "page", page)

    async def ask() -> list[str]:
        views = [HistoryView(), HistoryView(search="nothing")]
        return [each.html for each in await asyncio.gather(*(scene.renderer.history(view) for view in views * 100))]

    found = asyncio.run(ask())

    assert sorted(reads) == ["", "nothing"]
    assert scene.fragments.rendered == {"_uploads_table.html": 2}
    assert len(set(found)) == 2
    assert f'id="upload-{upload.id}"' in found[0]
    assert f'id="upload-{upload.id}"' not in found[1]


def test_a_table_is_never_older_than_the_question(scene: Scene) -> None:
    async def ask() -> list[bool]:
        found = []
        for _ in range(3):
            upload = scene.records.pending()
            found.append(f'id="upload-{upload.id}"' in (await scene.renderer.history(HistoryView())).html)
        return found

    assert asyncio.run(ask()) == [True] * 3


def test_the_hub_knows_what_a_table_showed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = scene.records.pending()

    async def ask() -> list[Upload]:
        await scene.renderer.history(HistoryView())
        monkeypatch.delattr(uploads, "among")
        return await scene.hub.records({upload.id: upload.seq})

    assert asyncio.run(ask()) == [upload]


def test_the_detail_of_an_upload_is_rendered_once_for_all_who_ask_at_once(scene: Scene) -> None:
    upload = scene.records.pending()

    async def ask() -> list[tuple[Upload, str]]:
        return await asyncio.gather(*(scene.renderer.detail(upload.id) for _ in range(100)))

    found = asyncio.run(ask())

    assert scene.fragments.rendered == {"_upload_progress.html": 1}
    assert found == [found[0]] * 100
    assert found[0][0] == upload


def test_the_detail_of_no_upload_is_an_error_for_each_who_asks(scene: Scene) -> None:
    async def ask() -> list[Any]:
        return await asyncio.gather(*(scene.renderer.detail(7) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(ask())] == [UploadNotFoundError] * 3


def test_a_row_is_rendered_once_for_each_state_and_kind_of_page(scene: Scene) -> None:
    upload = scene.records.processing()
    for _ in range(10):
        for each in (upload, replace(upload, seq=upload.seq + 1)):
            for insert in (True, False):
                scene.renderer.row(each, insert=insert)

    assert scene.fragments.rendered == {"_upload_row.html": 4}


def test_a_row_is_rendered_again_when_there_is_something_else_to_say(scene: Scene) -> None:
    upload = scene.records.pending()
    said = []
    for queue_status in (
        QueueStatus(),
        QueueStatus(True, 0),
        QueueStatus(True, 1, {upload.id: 1}),
        QueueStatus(True, 2, {upload.id: 1}),
        QueueStatus(True, 2),
    ):
        scene.hub.queue_status = queue_status
        said.append(scene.renderer.row(upload, insert=True))

    assert "the queue cannot be reached" in said[0]
    assert "no worker is running" in said[1]
    assert "1 ahead of it" in said[2]
    assert said[2] == said[3]
    assert "next in line" in said[4]
    assert scene.fragments.rendered == {"_upload_row.html": 4}


def test_a_toast_is_rendered_once_for_each_end(scene: Scene) -> None:
    upload = scene.records.fail(scene.records.processing(), "No <b>header</b>.")
    toasts = {scene.renderer.toast(upload) for _ in range(10)}

    assert scene.fragments.rendered == {"_toast.html": 1}
    assert len(toasts) == 1
    assert toasts.pop().startswith(
        f'<hx-partial hx-target="#toasts" hx-swap="beforeend"><div id="toast-{upload.id}-{upload.attempt}"'
    )


@pytest.mark.parametrize(
    ("status", "rows_failed", "words"),
    [
        (Status.COMPLETED, 0, "completed: 90 rows"),
        (Status.COMPLETED, 10, "completed with errors: 10 of 100 rows failed"),
        (Status.FAILED, 0, "failed"),
        (Status.CANCELLED, 0, "cancelled"),
    ],
)
def test_a_toast_says_how_it_ended(scene: Scene, status: Status, rows_failed: int, words: str) -> None:
    upload = replace(
        scene.records.processing(), status=status, rows_processed=100, rows_success=90, rows_failed=rows_failed
    )

    assert words in " ".join(scene.renderer.toast(upload).split())


def test_an_event_is_encoded_once_with_line_feeds(scene: Scene) -> None:
    event = Event.of(scene.records.fail(scene.records.processing(), "QueueStatus 1\r\nLine 2"))
    first, second = scene.renderer.json(event), scene.renderer.json(event)

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


def test_only_so_much_is_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "KEPT", 3)
    upload = scene.records.processing()
    states = [replace(upload, seq=seq) for seq in range(5)]
    for state in (*states, *states[2:]):
        scene.renderer.row(state, insert=True)

    assert scene.fragments.rendered["_upload_row.html"] == 5

    scene.renderer.row(states[0], insert=True)

    assert scene.fragments.rendered["_upload_row.html"] == 6


def test_the_watermark_is_the_newest_state(scene: Scene) -> None:
    async def ask() -> str:
        return await scene.renderer.watermark()

    assert asyncio.run(ask()) == ""

    scene.records.pending()
    upload = scene.records.completed()

    assert asyncio.run(ask()) == timestamp(upload.updated_at)


def test_what_ended_since_a_moment_is_told_in_order(scene: Scene) -> None:
    ended = [scene.records.fail(scene.records.processing(f"{n}.csv")) for n in range(3)]
    scene.records.pending()

    async def ask(moment: Any) -> list[int]:
        return [upload.id for upload in await scene.renderer.ended_since(moment)]

    assert asyncio.run(ask(ended[0].updated_at - timedelta(seconds=1))) == [upload.id for upload in ended]
    assert asyncio.run(ask(ended[1].updated_at)) == [ended[2].id]
    assert asyncio.run(ask(ended[2].updated_at)) == []
