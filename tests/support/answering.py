"""A server with prepared responses."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answers(BaseHTTPRequestHandler):
    """Sends one prepared response per request. requests: path and Last-Event-ID of each."""

    answers: list[tuple[int, str, str]]
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append((self.path, self.headers.get("Last-Event-ID")))
        status, kind, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815  # the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  # its name there


@contextmanager
def answering(*answers: tuple[int, str, str]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The address of such a server, and the requests that it receives."""
    requests: list[tuple[str, str | None]] = []
    handler = type("_Answers", (Answers,), {"answers": list(answers), "requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def upload(status: str = "processing", rows: int = 0, seq: int = 1, **more: Any) -> str:
    """An upload, or an event of it, as JSON."""
    state = {
        "id": 7, "file_id": 7, "seq": seq, "filename": "june.csv", "status": status, "progress": 50,
        "rows_total": None, "rows_processed": rows, "rows_failed": 0, "error": None,
        "timestamp": f"2026-01-31T09:00:{seq:02}.000000Z", "of_a_newer_server": 1,
    }  # fmt: skip
    return json.dumps(state | more)


def stream(*events: str, **named: str) -> tuple[int, str, str]:
    """A response with a stream of these events. named: other events and their data."""
    told = [f"id: {json.loads(data)['timestamp']}\nevent: bulk_upload_progress\ndata: {data}\n\n" for data in events]
    told += [f"event: {name}\ndata: {data}\n\n" for name, data in named.items()]
    return 200, "text/event-stream", "".join(told)
