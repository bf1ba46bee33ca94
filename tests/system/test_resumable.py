"""Files that are sent in several requests, to processes that are killed, and by a client of somebody else's."""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient

from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.resumable import PATH, Sender
from tests.support.serving import Web
from tests.support.waiting import until

#: Kills the process when it is about to record an upload, while the file of this name exists.
KILLED = """
import os, signal
from pathlib import Path
from jobs import incoming
finish = incoming.finish
def killed(*given):
    if Path({flag!r}).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return finish(*given)
incoming.finish = killed
"""


def a_file(size: int, seed: int) -> bytes:
    digits = random.Random(seed).randbytes(size // 2).hex()
    return ("id,text\n" + "\n".join(f"1,{digits[at : at + 60]}" for at in range(0, size, 60))).encode()[:size]


def uploads(web: Web) -> list[dict[str, object]]:
    found: list[dict[str, object]] = web.client.get("/api/v1/uploads").json()["items"]
    return found


def test_whoever_is_killed_what_arrived_stays_and_one_upload_is_created(settings: Settings, tmp_path: Path) -> None:
    content, flag = a_file(8 << 20, 3), tmp_path / "killing"
    half = len(content) // 2
    flag.touch()
    with Web(settings, KILLED.format(flag=str(flag))) as web, Web(settings) as other:
        sender = Sender(web.client)
        path = sender.created(len(content))
        stored = settings.files / path.rpartition("/")[2]
        enough = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield content[:half]
            enough.wait(30)
            yield content[half:]

        def send() -> None:
            with suppress(httpx.TransportError), httpx.Client(base_url=web.url, timeout=60) as client:
                Sender(client).append(path, 0, slowly(), {"Content-Length": str(len(content))})

        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: stored.exists() and stored.stat().st_size >= 1 << 20, "a part to be written")
        web.kill()
        enough.set()
        sending.join()
        at_hand = stored.read_bytes()

        assert content.startswith(at_hand)
        assert Sender(other.client).offset(path) == len(at_hand)

        web.restart()
        with pytest.raises(httpx.TransportError):
            sender.append(path, len(at_hand), content[len(at_hand) :])
        web.process.wait(60)

        assert uploads(other) == []

        flag.unlink()
        asked = Sender(other.client).head(path)
        again = Sender(other.client).append(path, len(at_hand), content[len(at_hand) :])
        [upload] = uploads(other)

        assert (asked.status_code, asked.headers["Upload-Offset"]) == (200, str(len(content)))
        assert asked.headers["Content-Location"] == f"/api/v1/uploads/{upload['id']}"
        assert again.status_code == 409
        assert upload["sha256"] == hashlib.sha256(content).hexdigest()
        assert stored.read_bytes() == content


@ONE_DATABASE
def test_tuspy_sends_a_file_in_chunks_to_two_processes(settings: Settings) -> None:
    content = a_file(3 << 20, 5)
    with Web(settings) as one, Web(settings) as other:
        client = TusClient(f"{one.url}{PATH}")
        uploader = client.uploader(
            file_stream=BytesIO(content),
            chunk_size=700_000,
            metadata={"filename": "sent.csv", "dataset": "sales"},
            upload_checksum=True,
        )
        uploader.upload(stop_at=1_400_000)
        path = str(uploader.url).removeprefix(one.url)
        rest = client.uploader(file_stream=BytesIO(content), url=f"{other.url}{path}", chunk_size=700_000)

        assert rest.offset == uploader.offset == 1_400_000

        rest.upload()
        [upload] = uploads(one)

    assert (upload["filename"], upload["sha256"]) == ("sent.csv", hashlib.sha256(content).hexdigest())
