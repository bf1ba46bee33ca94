"""GET /metrics: who may ask, and what it says."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from jobs.failed_rows import FailedRow, Reason
from jobs.people.roles import Scope
from jobs.settings import Settings
from tests.support import people
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, stream
from tests.support.waiting import until
from webapp.metrics import endpoint

#: Everything that there is, with its type.
KINDS = {
    "bulk_upload_uploads": "counter",
    "bulk_upload_rows": "counter",
    "bulk_upload_bytes": "counter",
    "bulk_upload_queue_depth": "gauge",
    "bulk_upload_queue_oldest_seconds": "gauge",
    "bulk_upload_workers": "gauge",
    "bulk_upload_disk_free_bytes": "gauge",
    "bulk_upload_streams": "gauge",
    "bulk_upload_streams_cut": "counter",
    "bulk_upload_publish_failures": "counter",
    "bulk_upload_retries": "counter",
    "bulk_upload_sign_in_failures": "counter",
    "bulk_upload_delivery_seconds": "histogram",
}
FAILED = [FailedRow(11, ["x", ""], [Reason("a", "is not a number", "x")])]
#: Of a client elsewhere, behind a proxy on this machine.
ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "KEPT_SECONDS", 0.0)


@pytest.fixture
def proxied(settings: Settings) -> Iterator[Served]:
    with Served(settings.model_copy(update={"trusted_proxies": "127.0.0.1"})) as served:
        yield served


def values(client: httpx.Client) -> dict[str, float]:
    """Each value by its name and labels, as PromQL spells them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found = {}
    for family in parse(answer.text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_the_answer_has_what_the_database_and_this_process_know(served: Served) -> None:
    records = served.records
    with stream(served.client, "/api/v1/events") as events:
        completed = records.complete(records.advance(records.processing(), 10, FAILED))
        events.until_seq(completed)
        failed = records.fail(records.processing("july.csv"))
        events.until_seq(failed)
        served.client.post(f"/api/v1/uploads/{failed.id}/retry")
        found = values(served.client)

    assert found['bulk_upload_uploads_total{lane="quick",status="completed"}'] == 1
    assert found['bulk_upload_uploads_total{lane="quick",status="failed"}'] == 1
    assert found['bulk_upload_uploads_total{lane="bulk",status="cancelled"}'] == 0
    assert found['bulk_upload_rows_total{result="success"}'] == 10
    assert found['bulk_upload_rows_total{result="failed"}'] == 1
    assert found["bulk_upload_bytes_total"] == completed.size + failed.size
    assert found['bulk_upload_queue_depth{lane="quick"}'] == 1
    assert 0 <= found['bulk_upload_queue_oldest_seconds{lane="quick"}'] < 60
    assert found['bulk_upload_queue_depth{lane="bulk"}'] == 0
    assert found['bulk_upload_workers{lane="bulk"}'] == 0
    assert found["bulk_upload_disk_free_bytes"] > 0
    assert found["bulk_upload_streams"] == 1
    assert found["bulk_upload_retries_total"] == 1
    assert found["bulk_upload_delivery_seconds_count"] >= 2
    assert found['bulk_upload_delivery_seconds_bucket{le="+Inf"}'] == found["bulk_upload_delivery_seconds_count"]
    assert 0 < found["bulk_upload_delivery_seconds_sum"] < 60


@ONE_DATABASE
def test_both_formats_can_be_read_and_have_these_metrics_only(served: Served) -> None:
    text = served.client.get("/metrics")
    openmetrics = served.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert text.headers["content-type"].startswith("text/plain; version=")
    assert {each.name: each.type for each in parse(text.text)} == KINDS
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(openmetrics.text)  # type: ignore[no-untyped-call]  # the library's
    assert {each.name: each.type for each in families} == KINDS
    assert all(each.documentation for each in parse(text.text))


@ONE_DATABASE
def test_figures_of_the_system_survive_the_process(settings: Settings, served: Served) -> None:
    served.records.complete(served.records.advance(served.records.processing(), 10))
    of_system = ("bulk_upload_uploads", "bulk_upload_rows", "bulk_upload_bytes")
    before = values(served.client)
    with Served(settings) as another:
        after = values(another.client)

    assert {name: value for name, value in after.items() if name.startswith(of_system)} == {
        name: value for name, value in before.items() if name.startswith(of_system)
    }


@ONE_DATABASE
def test_only_this_machine_and_tokens_to_read_may_ask(proxied: Served) -> None:
    database = proxied.records.database
    reads, uploads = (people.add(database, each, scopes={each}) for each in (Scope.READ, Scope.UPLOAD))
    one_dataset = people.add(database, "one dataset", scopes={Scope.READ}, dataset="sales")
    until(lambda: proxied.client.get("/api/v1/uploads").status_code == 401, "the server to see the accounts")

    def status(secret: str | None = None, **headers: str) -> int:
        sent = {**ELSEWHERE, **headers, **(people.bearer(secret) if secret else {})}
        return proxied.client.get("/metrics", headers=sent).status_code

    assert proxied.client.get("/metrics").status_code == 200
    assert status(**{"X-Forwarded-For": "127.0.0.1"}) == 200
    assert status(**{"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}) == 401
    assert status() == 401
    assert status(reads) == 200
    assert status(uploads) == 401
    assert status(one_dataset) == 401
    assert status("bu_nonsense") == 401
    refused = proxied.client.get("/metrics", headers={**ELSEWHERE, "Accept": "application/json"})
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["status"] == 401


@ONE_DATABASE
def test_behind_a_proxy_that_nobody_trusts_everybody_is_elsewhere(served: Served) -> None:
    assert served.client.get("/metrics", headers=ELSEWHERE).status_code == 401


@ONE_DATABASE
def test_refused_sign_ins_count(served: Served) -> None:
    people.add(served.records.database, "ann")
    until(lambda: served.client.get("/api/v1/uploads").status_code == 401, "the server to see the account")
    for _ in range(2):
        served.client.post("/api/v1/session", json={"name": "ann", "password": "wrong"})

    assert values(served.client)["bulk_upload_sign_in_failures_total"] == 2
