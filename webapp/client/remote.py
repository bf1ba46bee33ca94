"""The server that a command talks to: its address, and the check that its responses are those of Bulk Upload."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

import httpx

from jobs.errors import BulkUploadError, SettingsError
from jobs.settings import Settings

#: Seconds to wait for a response, and for a connection.
TIMEOUT = httpx.Timeout(60, connect=5)
#: Hosts that are always contacted directly, even if the environment names a proxy.
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class RemoteError(BulkUploadError):
    """A request to the server failed. The text says why and what to do."""


class ServerUnavailableError(RemoteError):
    """The server does not respond, so further requests would fail too."""


@dataclass(frozen=True)
class Server:
    """Where a server is, and the API token for it, if there is one."""

    address: httpx.URL
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Raises SettingsError for a token that no header can have."""
        if not self.token:
            return {}
        if not (self.token.isascii() and self.token.isprintable()) or " " in self.token:
            raise SettingsError(["TOKEN: this is no API token. Give it as it was shown when it was made."])
        return {"Authorization": f"Bearer {self.token}"}


class Remote:
    """One server. name: its address without credentials."""

    def __init__(self, server: Server) -> None:
        self.client = httpx.Client(
            base_url=server.address,
            timeout=TIMEOUT,
            mounts={f"all://{host}": None for host in LOOPBACK_HOSTS},
            headers={"User-Agent": f"bulk-upload/{version('bulk-upload')}", **server.headers},
        )
        self.name = str(self.client.base_url.copy_with(userinfo=b"")).rstrip("/")

    def page(self, upload_id: int) -> str:
        """Address of an upload's page."""
        return f"{self.name}/uploads/{upload_id}"

    def unavailable(self) -> ServerUnavailableError:
        return ServerUnavailableError(
            f"no server responds at {self.name}. Start one with `bulk-upload serve`, or give its address with --url."
        )

    def parse_upload(self, response: httpx.Response, expected_status: int) -> dict[str, Any]:
        """The upload in a response. Raises RemoteError, with the server's `detail` if there is one."""
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            if response.status_code == expected_status and "id" in answer:
                return answer
            if "detail" in answer:
                raise RemoteError(str(answer["detail"]))
        raise RemoteError(
            f"{self.name} answered {response.status_code} {response.reason_phrase}, which is not a response of Bulk"
            " Upload. Check the address."
        )

    def upload(self, upload_id: int) -> dict[str, Any]:
        """An upload as the API tells it. Raises RemoteError."""
        try:
            return self.parse_upload(self.client.get(f"/api/v1/uploads/{upload_id}"), 200)
        except httpx.TransportError as error:
            raise self.unavailable() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()


def server_at(url: str | None, token: str | None, settings: Callable[[], Settings]) -> Server:
    """The server at `url` if given, else at the address in the settings. Raises SettingsError."""
    return Server(server_url(url, settings), token)


def server_url(url: str | None, settings: Callable[[], Settings]) -> httpx.URL:
    """The address of the server. Raises SettingsError."""
    if url is None:
        return _from_settings(settings())
    try:
        server = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        server = httpx.URL("")
    if server.scheme not in ("http", "https") or not server.host:
        raise SettingsError([f"URL: {url} is not the address of a server. Use a form like http://127.0.0.1:8000."])
    return server


def _from_settings(settings: Settings) -> httpx.URL:
    if not settings.port:
        raise SettingsError(["PORT: with 0 the server picks a free port, so give its address with --url."])
    # A wildcard address is for listening, not for connecting.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return httpx.URL(scheme="http", host=host, port=settings.port)
