"""The stream of a dataset's page, on a real uvicorn."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from jobs import datasets
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from webapp.views import dataset as dataset_view
from webapp.views.dataset import DatasetState, Shown


def events_of(served: Served, path: str = "/datasets/sales") -> str:
    """The address of a page's stream."""
    found = re.search(r'hx-sse:connect="([^"]+)"', served.page(path))
    assert found is not None
    return found[1].replace("&amp;", "&")


def grown(served: Served, upload: Upload, rows: int) -> Upload:
    """The upload after it added rows to its dataset."""
    with served.records.database.transaction() as connection:
        datasets.count_rows(connection, "sales", rows)
    return served.records.advance(upload, rows)


def test_it_begins_with_the_number_of_rows_and_what_is_imported(served: Served) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    running = served.records.processing("more.csv", dataset="sales")
    with served.stream(events_of(served)) as listener:
        first = listener.next()

    assert first.data.startswith('<hx-partial hx-target="#dataset-state" hx-swap="outerMorph">')
    assert "1 row</b>" in first.data
    assert f'<a href="/uploads/{running.id}">Processing: more.csv</a>' in first.data
    assert "Show them" not in first.data


def test_it_tells_of_rows_that_the_page_does_not_have(served: Served) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    running = served.records.processing("more.csv", dataset="sales")
    address = events_of(served)
    with served.stream(address) as listener:
        listener.next()
        running = grown(served, running, 1_200)
        text = listener.until_text("1,201 rows</b>")
        served.records.complete(running)
        listener.until(lambda event: "Processing" not in event.data)
    with served.stream(address) as again:
        later = again.next().data

    for shown in (text, later):
        assert f'<a class="button" href="/datasets/sales?upload={running.id}">1,200 new rows. Show them</a>' in shown


def test_other_datasets_are_not_told_of(served: Served) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    other = served.records.processing("other.csv", dataset="weather")
    with served.stream(events_of(served)) as listener:
        listener.next()
        served.records.advance(other)
        running = served.records.processing("more.csv", dataset="sales")
        seen = listener.until(lambda event: "more.csv" in event.data)

    assert "other.csv" not in "".join(event.data for event in seen)
    assert running.id


@ONE_DATABASE
def test_the_stream_of_a_dataset_that_does_not_exist_is_not_opened(served: Served) -> None:
    assert served.client.get("/datasets/none/events").status_code == 404


@ONE_DATABASE
def test_all_clients_share_what_is_read_and_rendered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    running = served.records.processing("more.csv", dataset="sales")
    address = events_of(served)
    reads: list[str] = []
    original = DatasetState.read

    def counting(connection: Any, name: str) -> DatasetState:
        reads.append(name)
        return original(connection, name)

    monkeypatch.setattr(dataset_view.DatasetState, "read", counting)
    with served.stream(address) as first, served.stream(address) as second, served.stream(address) as third:
        listeners = [first, second, third]
        for listener in listeners:
            listener.next()
        before = len(reads)
        grown(served, running, 5)
        texts = [listener.until_text("6 rows</b>") for listener in listeners]

    assert len(set(texts)) == 1
    assert len(reads) - before <= 2


def test_news_say_what_the_page_does_not_show(served: Served) -> None:
    served.records.dataset("sales", [(1, "a", True)])
    with served.records.database.reading() as connection:
        entry = DatasetState.read(connection, "sales").entry
    shown = Shown.of(entry)

    assert shown.news(entry) is None
    assert Shown.from_query({"rows": "1", "changed": shown.changed_at}) == shown
    assert Shown.from_query({"rows": "x"}) is None
    assert urlencode({"rows": 1, "changed": shown.changed_at}) == shown.query
    texts = [Shown(rows, "").news(entry) for rows in (0, 1, 5)]
    assert [news and news.text for news in texts] == ["1 new row", "Rows have changed", "Rows have changed"]
