"""Records of uploads, read once for all callers."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from jobs import uploads
from jobs.uploads import Upload
from tests.support.hubs import PATIENCE
from tests.support.serving import Records
from webapp.live import record_cache
from webapp.live.record_cache import RecordCache


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: the cache only reads records by id."""
    return sqlite_database_url


@pytest.fixture
def cache(records: Records) -> RecordCache:
    return RecordCache(records.database)


def get(cache: RecordCache, seqs: dict[int, int]) -> list[Upload]:
    return asyncio.run(asyncio.wait_for(cache.get(seqs), PATIENCE))


def test_records_are_read_once_for_all_callers(
    records: Records, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[list[int]] = []
    original = uploads.get_many

    def get_many(connection: Any, upload_ids: Any) -> list[Upload]:
        reads.append(sorted(upload_ids))
        return original(connection, upload_ids)

    monkeypatch.setattr(uploads, "get_many", get_many)
    made = [records.pending() for _ in range(3)]
    seqs = {upload.id: upload.seq for upload in made}

    async def scene() -> list[list[Upload]]:
        return [*await asyncio.gather(*(cache.get(seqs) for _ in range(50))), await cache.get(seqs)]

    assert asyncio.run(scene()) == [made] * 51
    assert reads == [[1, 2, 3]]

    made[0] = records.claim(made[0])

    assert get(cache, {made[0].id: made[0].seq}) == [made[0]]
    assert reads == [[1, 2, 3], [1]]


def test_callers_that_want_different_records_share_a_query(
    records: Records, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [records.pending() for _ in range(3)]
    reads: list[list[int]] = []
    original = uploads.get_many

    def get_many(connection: Any, upload_ids: Any) -> list[Upload]:
        reads.append(sorted(upload_ids))
        return original(connection, upload_ids)

    monkeypatch.setattr(uploads, "get_many", get_many)

    async def scene() -> list[list[Upload]]:
        return await asyncio.gather(*(cache.get({upload.id: upload.seq}) for upload in made))

    assert asyncio.run(scene()) == [[upload] for upload in made]
    assert reads == [[1, 2, 3]]


def test_a_record_that_does_not_exist_is_left_out(records: Records, cache: RecordCache) -> None:
    upload = records.pending()

    assert get(cache, {99: 1, upload.id: 1}) == [upload]


def test_a_record_older_than_its_event_is_returned_as_it_is(records: Records, cache: RecordCache) -> None:
    """As after the database was restored, or when a foreign event was published."""
    upload = records.pending()

    assert get(cache, {upload.id: 99}) == [upload]


def test_the_cache_is_bounded(records: Records, cache: RecordCache, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [records.pending() for _ in range(5)]
    monkeypatch.setattr(record_cache, "MAX_RECORDS", 2)
    reads: list[list[int]] = []
    original = uploads.get_many

    def get_many(connection: Any, upload_ids: Any) -> list[Upload]:
        reads.append(sorted(upload_ids))
        return original(connection, upload_ids)

    monkeypatch.setattr(uploads, "get_many", get_many)
    for _ in range(2):
        for upload in made:
            assert get(cache, {upload.id: 1}) == [upload]
    assert len(reads) == 10

    cache.remember(made)

    assert get(cache, {made[3].id: 1, made[4].id: 1}) == made[3:]
    assert len(reads) == 10
    assert get(cache, {made[0].id: 1, made[4].id: 1}) == [made[0], made[4]]
    assert len(reads) == 11


def test_records_of_wide_files_are_kept_only_up_to_so_many_names(
    records: Records, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "MAX_TEXTS", 8)
    wide = [replace(records.pending(), header=["a", "b", "c"], notes=["One."]) for _ in range(3)]
    cache.remember(wide)
    cache.remember([wide[1]])

    assert list(cache._records) == [wide[2].id, wide[1].id]
    cache.remember([replace(wide[2], seq=9, header=None, notes=[])])
    cache.remember([records.pending()])

    assert len(cache._records) == 3


def test_a_caller_gets_all_records_even_if_they_are_more_than_the_cache_keeps(
    records: Records, cache: RecordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "MAX_RECORDS", 2)
    made = [records.pending() for _ in range(5)]
    cache.remember(made)

    assert get(cache, {upload.id: upload.seq for upload in made}) == made


def test_an_old_state_does_not_replace_a_newer_one(records: Records, cache: RecordCache) -> None:
    old = records.pending()
    new = records.claim(old)
    cache.remember([new, old])

    assert get(cache, {new.id: old.seq}) == [new]
