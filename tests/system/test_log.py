"""With BULK_UPLOAD_LOG_FORMAT=json each line of each process of `serve` is an object."""

import json
import re
from pathlib import Path

import httpx

from tests.support.supervised import Serve
from tests.support.waiting import until


def test_every_line_of_serve_is_json_and_tells_what_it_is_about(tmp_path: Path) -> None:
    serve = Serve(tmp_path, "data", BULK_UPLOAD_LOG_FORMAT="json")
    try:
        found = until(lambda: re.search(r"is running at (http://[\d.:]+) ", serve.banner), "the server to run")
        assert isinstance(found, re.Match)
        with httpx.Client(base_url=found[1], headers={"X-Request-ID": "of-the-test"}, timeout=20) as client:
            sent = client.post("/api/v1/uploads", files={"file": ("a.csv", b"id\n1\n2\n")}).json()
            until(lambda: client.get(f"/api/v1/uploads/{sent['id']}").json()["status"] == "completed", "the import")
    finally:
        serve.process.terminate()
        serve.process.wait(60)
    lines = [json.loads(line) for line in (serve.banner + serve.log).splitlines()]
    story = [line for line in lines if line.get("upload_id") == sent["id"]]

    assert {line["role"] for line in lines} >= {"serve", "web", "horse"}
    assert {line["role"] for line in story} == {"web", "horse"}
    assert {line["request_id"] for line in story if line["role"] == "web"} == {"of-the-test"}
    for line in lines:
        assert {"timestamp", "level", "logger", "message", "role", "pid"} <= line.keys()
