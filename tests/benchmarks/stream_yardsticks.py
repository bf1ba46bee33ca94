"""What our streams are measured against: what most people write, and a C server that is made for this.

As a program (`python -m tests.benchmarks.stream_yardsticks REDIS_URL PORT`) it is the first of them: each client has a
Redis subscription of its own, and sse-starlette sends what comes on it.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn
from redis.asyncio import Redis
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.events import GENERAL_CHANNEL
from tests import ROOT
from tests.support.waiting import until

NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class Subscriptions:
    """One Redis subscription a client, on a uvicorn like ours."""

    path = "/events"

    def __init__(self, redis_url: str) -> None:
        self.port = free_port()
        words = [redis_url, str(self.port)]
        self._process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.stream_yardsticks", *words], cwd=ROOT)
        self.pid = self._process.pid
        until(lambda: _answers(self.port), "the yardstick to answer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


class Nchan:
    """nginx with one worker, and nchan in it, which keeps its messages in memory."""

    path = "/events"

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="bulk-nchan-"))
        (self._folder / "nginx.conf").write_text(self._settings(), "utf-8")
        self._process = subprocess.Popen(
            [str(shutil.which("nginx")), "-p", str(self._folder), "-c", "nginx.conf", "-e", "error.log"],
        )
        until(lambda: _answers(self.port), "nginx to answer")
        self.pid = int(
            Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text("utf-8").split()[0]
        )
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}")

    @staticmethod
    def is_installed() -> bool:
        return NCHAN.exists() and shutil.which("nginx") is not None

    def _settings(self) -> str:
        return f"""
            load_module {NCHAN};
            daemon off;
            pid nginx.pid;
            worker_processes 1;
            worker_rlimit_nofile 8192;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    location = / {{ return 204; }}
                    location = /tell {{ nchan_publisher; nchan_channel_id all; nchan_message_buffer_length 50; }}
                    location = /events {{
                        nchan_subscriber eventsource;
                        nchan_channel_id all;
                        nchan_subscriber_first_message newest;
                    }}
                }}
            }}
        """

    def publish(self, data: str) -> None:
        self._client.post("/tell", content=data.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        with self._process:
            self._process.terminate()
        shutil.rmtree(self._folder)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 204
    except httpx.TransportError:
        return False


def _application(redis_url: str) -> Starlette:
    redis: Any = Redis.from_url(redis_url, max_connections=10_000)

    async def events(_request: Request) -> Response:
        async def content() -> AsyncIterator[dict[str, str]]:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(GENERAL_CHANNEL)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        yield {"data": message["data"].decode()}

        return EventSourceResponse(content())

    async def home(_request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(routes=[Route("/", home), Route("/events", events)])


def main() -> None:
    redis_url, port = sys.argv[1:]
    uvicorn.run(_application(redis_url), port=int(port), log_level="critical", access_log=False, backlog=4096)


if __name__ == "__main__":
    main()
