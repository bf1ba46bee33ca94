"""A server that runs somewhere, as commands see it: where it is, and whether what it answers is ours."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from jobs.errors import BulkUploadError, SettingsError
from jobs.settings import Settings

#: Seconds to wait for a connection, and for an answer.
TIMEOUT = httpx.Timeout(60, connect=5)
#: Never asked through a proxy, whatever the environment says.
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")


class RemoteError(BulkUploadError):
    """What was asked of the server did not come about: what is wrong and what to do."""


class ServerAwayError(RemoteError):
    """No server answers, so that whatever is asked next would fare no better."""


class Remote:
    """One server. name: its address, as people may see it."""

    def __init__(self, server: httpx.URL) -> None:
        self.client = httpx.Client(
            base_url=server, timeout=TIMEOUT, mounts={f"all://{host}": None for host in THIS_MACHINE}
        )
        self.name = str(self.client.base_url.copy_with(userinfo=b"")).rstrip("/")  # a password is not for the screen

    def page(self, upload_id: int) -> str:
        """Where people can look at an upload."""
        return f"{self.name}/uploads/{upload_id}"

    def away(self) -> ServerAwayError:
        return ServerAwayError(
            f"no server answers at {self.name}. Start one with `bulk-upload serve`, or say with --url where it is."
        )

    def understood(self, response: httpx.Response, wanted: int) -> dict[str, Any]:
        """The upload that was answered. Raises RemoteError with the server's sentence, if it gave one."""
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            if response.status_code == wanted and "id" in answer:
                return answer
            if "detail" in answer:
                raise RemoteError(str(answer["detail"]))
        raise RemoteError(
            f"{self.name} answered {response.status_code} {response.reason_phrase}, which Bulk Upload does not say."
            " Is it the right address?"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()


def server_of(url: str | None, settings: Callable[[], Settings]) -> httpx.URL:
    """The address of the server: the one that was given, else that of the settings. Raises SettingsError."""
    if url is None:
        return _own(settings())
    try:
        server = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        server = httpx.URL("")
    if server.scheme not in ("http", "https") or not server.host:
        raise SettingsError([f"URL: {url} is not a server's address. Write it like http://127.0.0.1:8000."])
    return server


def _own(settings: Settings) -> httpx.URL:
    if not settings.port:
        raise SettingsError(["PORT: 0 is whichever was free, so say with --url where the server is."])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # which nobody can connect to
    return httpx.URL(scheme="http", host=host, port=settings.port)
