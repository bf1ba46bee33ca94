"""A client of tus that sends what a test says."""

import base64
from typing import Any

import httpx

PATH = "/api/v1/uploads/tus"
PART = "application/offset+octet-stream"


def metadata(**fields: str) -> str:
    """The value of Upload-Metadata."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())


def checksum(algorithm: str, digest: bytes) -> dict[str, str]:
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


class Sender:
    """Each request says which version of tus it follows."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def create(self, size: int | str, content: bytes = b"", headers: Any = None, **fields: str) -> httpx.Response:
        """fields: `filename` is june.csv if it is not given."""
        named = {"filename": "june.csv", **fields}
        given = {"Upload-Length": str(size), "Upload-Metadata": metadata(**named)}
        if content:
            given["Content-Type"] = PART
        return self.ask("POST", PATH, {**given, **(headers or {})}, content)

    def created(self, size: int, **fields: str) -> str:
        """The address of a new file."""
        answer = self.create(size, b"", None, **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["Location"])

    def append(self, path: str, offset: int | str, content: Any, headers: Any = None) -> httpx.Response:
        return self.ask("PATCH", path, {"Upload-Offset": str(offset), "Content-Type": PART, **(headers or {})}, content)

    def head(self, path: str) -> httpx.Response:
        return self.ask("HEAD", path)

    def offset(self, path: str) -> int:
        answer = self.head(path)
        assert answer.status_code == 200
        return int(answer.headers["Upload-Offset"])

    def ask(self, method: str, path: str, headers: Any = None, content: Any = b"") -> httpx.Response:
        given = {"Tus-Resumable": "1.0.0", **(headers or {})}
        return self._client.request(
            method, path, headers={name: value for name, value in given.items() if value is not None}, content=content
        )
