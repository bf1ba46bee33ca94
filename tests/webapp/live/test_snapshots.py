"""Snapshots are read and rendered once for all concurrent callers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import uploads
from jobs.errors import UploadNotFoundError
from jobs.events import timestamp
from jobs.history_query import HistoryQuery
from jobs.uploads import Upload
from jobs.view import EVERYTHING
from tests.support.rendering import Scene
from webapp.history import HistoryView
from webapp.live.snapshots import MISSED_TOASTS


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: what differs between them is tested where it is queried."""
    return sqlite_database_url


def test_a_table_is_read_and_rendered_once_for_all_concurrent_callers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = scene.records.pending()
    reads: list[str] = []
    original = uploads.page

    def page(connection: sa.Connection, query: HistoryQuery, **more: Any) -> uploads.Page:
        reads.append(query.search)
        return original(connection, query, **more)

    monkeypatch.setattr(uploads, "page", page)

    async def ask() -> list[str]:
        views = [HistoryView(), HistoryView(search="nothing")]
        return [
            each.html
            for each in await asyncio.gather(*(scene.snapshots.history(view, EVERYTHING) for view in views * 100))
        ]

    found = asyncio.run(ask())

    assert sorted(reads) == ["", "nothing"]
    assert scene.templates.rendered == {"_uploads_table.html": 2}
    assert len(set(found)) == 2
    assert f'id="upload-{upload.id}"' in found[0]
    assert f'id="upload-{upload.id}"' not in found[1]


def test_a_table_is_never_older_than_the_call(scene: Scene) -> None:
    async def ask() -> list[bool]:
        found = []
        for _ in range(3):
            upload = scene.records.pending()
            found.append(f'id="upload-{upload.id}"' in (await scene.snapshots.history(HistoryView(), EVERYTHING)).html)
        return found

    assert asyncio.run(ask()) == [True] * 3


def test_the_cache_has_the_records_of_a_table(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = scene.records.pending()

    async def ask() -> list[Upload]:
        await scene.snapshots.history(HistoryView(), EVERYTHING)
        monkeypatch.delattr(uploads, "get_many")
        return await scene.cache.get({upload.id: upload.seq})

    assert asyncio.run(ask()) == [upload]


def test_the_progress_of_an_upload_is_rendered_once_for_all_concurrent_callers(scene: Scene) -> None:
    upload = scene.records.pending()

    async def ask() -> list[tuple[Upload, str]]:
        return await asyncio.gather(*(scene.snapshots.progress(upload.id, EVERYTHING) for _ in range(100)))

    found = asyncio.run(ask())

    parts = ("_upload_progress.html", "_failed_rows.html", "_upload_aside.html")
    assert scene.templates.rendered == dict.fromkeys(parts, 1)
    assert found == [found[0]] * 100
    assert found[0][0] == upload


def test_the_progress_of_no_upload_is_an_error_for_each_caller(scene: Scene) -> None:
    async def ask() -> list[Any]:
        return await asyncio.gather(
            *(scene.snapshots.progress(7, EVERYTHING) for _ in range(3)), return_exceptions=True
        )

    assert [type(error) for error in asyncio.run(ask())] == [UploadNotFoundError] * 3


def test_the_moment_of_a_table_is_that_of_the_newest_state(scene: Scene) -> None:
    async def ask() -> str:
        return (await scene.snapshots.history(HistoryView(), EVERYTHING)).moment

    assert asyncio.run(ask()) == ""

    scene.records.pending()
    upload = scene.records.completed()

    assert asyncio.run(ask()) == timestamp(upload.updated_at)


def test_uploads_that_ended_since_a_moment_are_sorted(scene: Scene) -> None:
    ended = [scene.records.fail(scene.records.processing(f"{n}.csv")) for n in range(3)]
    scene.records.pending()

    async def ask(moment: Any) -> list[int]:
        return [upload.id for upload in await scene.snapshots.ended_since(moment, EVERYTHING)]

    assert asyncio.run(ask(ended[0].updated_at - timedelta(seconds=1))) == [upload.id for upload in ended]
    assert asyncio.run(ask(ended[1].updated_at)) == [ended[2].id]
    assert asyncio.run(ask(ended[2].updated_at)) == []


def test_at_most_a_few_of_the_uploads_that_ended_are_returned(scene: Scene) -> None:
    ended = [scene.records.fail(scene.records.processing(f"{n}.csv")) for n in range(MISSED_TOASTS + 2)]

    found = asyncio.run(scene.snapshots.ended_since(ended[0].updated_at - timedelta(seconds=1), EVERYTHING))

    assert [upload.id for upload in found] == [upload.id for upload in ended[2:]]


def test_a_table_names_the_uploads_that_it_shows_as_active_and_its_moment(scene: Scene) -> None:
    scene.records.completed()
    active = scene.records.processing()

    found = asyncio.run(scene.snapshots.history(HistoryView(), EVERYTHING))

    assert found.active == {active.id: active.seq}
    assert found.moment == timestamp(active.updated_at)
    assert f"id: {found.moment}\n".encode() in found.message


def test_the_changed_states_are_the_active_ones_and_with_a_moment_those_that_changed_since(scene: Scene) -> None:
    old, active = scene.records.completed(), scene.records.processing()
    new = scene.records.completed()

    plain = asyncio.run(scene.snapshots.changed(None, EVERYTHING))
    since = asyncio.run(scene.snapshots.changed(new.updated_at, EVERYTHING))

    assert plain.seqs == {active.id: active.seq}
    assert since.seqs == {active.id: active.seq, new.id: new.seq}
    assert since.newest == timestamp(new.updated_at)
    assert since.message == scene.renderer.json_messages(since.events)
    assert old.id not in since.seqs


def test_the_states_of_named_uploads_must_all_exist(scene: Scene) -> None:
    upload = scene.records.completed()

    assert asyncio.run(scene.snapshots.states(frozenset({upload.id}), EVERYTHING)).seqs == {upload.id: upload.seq}
    with pytest.raises(UploadNotFoundError, match="#98"):
        asyncio.run(scene.snapshots.states(frozenset({upload.id, 98, 99}), EVERYTHING))
