"""`bulk-upload serve` with everything on a disk that fills up, and has room again."""

from collections.abc import Callable
from functools import partial

import httpx

from tests.support.disks import SmallDisk
from tests.support.supervised import Serve
from tests.support.waiting import until

ROWS = 100_000
CONTENT = "id,name\n" + "".join(f"{number},name {number}\n" for number in range(1, ROWS + 1))


def test_an_import_continues_by_itself_when_there_is_room_again(start: Callable[..., Serve], disk: SmallDisk) -> None:
    serve = start(data=str(disk.path / "data"), BULK_UPLOAD_CHUNK_BYTES="16384", BULK_UPLOAD_LEASE="5")
    with httpx.Client(base_url=serve.url, timeout=30) as client:
        running = client.post("/api/v1/uploads", params={"filename": "june.csv"}, content=CONTENT).json()["links"]
        until(lambda: client.get(running["self"]).json()["rows_processed"], "the first rows")
        waiting = client.post("/api/v1/uploads", params={"filename": "july.csv"}, content="a\n1\n").json()["links"]
        disk.fill()
        until(lambda: "Disk full" in client.get(waiting["html"]).text, "the page to say what it waits for")
        until(lambda: client.get("/readyz").json().get("redis") == "disk full", "Redis to notice")
        refused = client.post("/api/v1/uploads", params={"filename": "august.csv"}, content=CONTENT)
        stopped = client.get(running["self"]).json()
        disk.empty()
        for links in (running, waiting):
            until(partial(_is_completed, client, links), "the import to end")
        ended = client.get(running["self"]).json()

    assert refused.status_code == 507
    assert stopped["status"] in ("pending", "processing")
    assert stopped["rows_processed"] < ROWS
    assert (ended["rows_success"], ended["rows_failed"], ended["error"]) == (ROWS, 0, None)
    names = {path.name.partition(".")[0] for path in (serve.data / "files").iterdir()}
    assert len(names) == 2


def _is_completed(client: httpx.Client, links: dict[str, str]) -> bool:
    return str(client.get(links["self"]).json()["status"]) == "completed"
