"""The settings: read from the environment and validated once, at start."""

import hashlib
import os
import re
import tempfile
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingsError
from jobs.lanes import QUICK_BYTES

#: The most bytes of a Unix socket's path that every system allows (Linux 107, macOS 103).
SOCKET_PATH_LIMIT = 100
#: Characters of a secret that people choose; 20 wrong ones a minute cannot find it.
SHORTEST_SECRET = 16


class Settings(BaseSettings):
    """One field per setting; the environment variable is BULK_UPLOAD_ plus the field's name, or the field's alias."""

    model_config = SettingsConfigDict(env_prefix="BULK_UPLOAD_", extra="ignore", frozen=True, populate_by_name=True)

    data: Path = Field(
        default=Path("data"), description="Folder for all state: uploaded files, SQLite database, private Redis."
    )
    host: str = Field(default="127.0.0.1", description="Address that the web process listens on.")
    port: Annotated[int, Field(ge=0, le=65535, description="Port that the web process listens on.")] = 8000
    workers: Annotated[int, Field(ge=0, le=64, description="Number of workers for all files that `serve` starts.")] = 2
    quick_workers: Annotated[
        int, Field(ge=0, le=64, description="Number of workers for small files that `serve` starts on top.")
    ] = 1
    quick_bytes: Annotated[
        int, Field(ge=0, description="Bytes of the largest file that counts as small, and waits on the lane `quick`.")
    ] = QUICK_BYTES
    dataset_imports: Annotated[
        int, Field(ge=1, description="Maximum number of imports into one dataset at once; others wait.")
    ] = 4
    open: bool = Field(
        default=False,
        description="Allow other machines to connect although nobody has to sign in while there is no account.",
    )
    setup: bool = Field(
        default=False, description="Answer nothing but the set-up link until there is an account, also beyond loopback."
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names, separated by commas, by which the server may be reached; empty: those of loopback.",
    )
    session_idle: Annotated[
        float, Field(ge=60, description="Seconds without a request after which a browser has to sign in again.")
    ] = 8 * 3600.0
    session_age: Annotated[
        float, Field(ge=60, description="Seconds after which a browser has to sign in again in any case.")
    ] = 7 * 24 * 3600.0
    quota_bytes_per_day: Annotated[
        int | None, Field(ge=1, description="Bytes that each account may upload in a day (UTC); unset: any number.")
    ] = None
    quota_uploads_per_day: Annotated[
        int | None, Field(ge=1, description="Files that each account may upload in a day (UTC); unset: any number.")
    ] = None
    quota_active_uploads: Annotated[
        int | None, Field(ge=1, description="Uploads of an account that may wait or run at once; unset: any number.")
    ] = None
    quota_total_bytes: Annotated[
        int | None, Field(ge=1, description="Bytes that all uploaded files together may take; unset: any number.")
    ] = None
    auth_header: str | None = Field(
        default=None, description="Header in which a trusted proxy names the user, who then needs no password."
    )
    oidc_issuer: str | None = Field(default=None, description="URL of the issuer for sign-in by OpenID Connect.")
    oidc_client_id: str | None = Field(default=None, description="Client id at the issuer.")
    oidc_client_secret: str | None = Field(default=None, repr=False, description="Client secret at the issuer.")
    oidc_role_claim: str | None = Field(default=None, description="Claim with the account's role.")
    oidc_group_claim: str | None = Field(default=None, description="Claim with the names of the account's groups.")
    redis_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="URL of a Redis server to use instead of the private one.",
    )
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="URL of a PostgreSQL database (or SQLite file) to use instead of the one in the data folder.",
    )
    worker_memory: Annotated[
        int, Field(ge=1 << 27, description="Bytes of memory that one import may hold before it is stopped.")
    ] = 2 * 1024**3
    lease: Annotated[
        float,
        Field(ge=1, description="Seconds until the upload of a worker that stopped responding goes to another one."),
    ] = 15.0
    sweep: Annotated[float, Field(ge=0.1, description="Seconds between two checks for abandoned uploads.")] = 3.0
    chunk_bytes: Annotated[int, Field(ge=256, description="Bytes of a file that one transaction imports.")] = (
        4 * 1024 * 1024
    )
    failed_rows_kept: Annotated[int, Field(ge=0, description="Maximum number of failed rows to store per upload.")] = (
        100_000
    )
    max_expansion_ratio: Annotated[
        int, Field(ge=1, description="Maximum size of a decompressed file, as a multiple of its compressed size.")
    ] = 200
    max_expanded_bytes: Annotated[int, Field(ge=1, description="Maximum size of a decompressed file in bytes.")] = (
        20 * 1024**3
    )
    max_upload_bytes: Annotated[int, Field(ge=1, description="Maximum size of an uploaded file in bytes.")] = (
        10 * 1024**3
    )
    notify_token: str | None = Field(
        default=None,
        repr=False,
        description="Secret of at least 16 characters that external scripts send with their reports.",
    )
    external_timeout: Annotated[
        float, Field(ge=1, description="Seconds without a report after which an external upload fails.")
    ] = 3600.0
    streams: Annotated[int, Field(ge=1, description="Maximum number of open event streams per web process.")] = 5_000
    streams_per_address: Annotated[
        int, Field(ge=1, description="Maximum number of open event streams per client address.")
    ] = 500
    stream_batch_interval: Annotated[
        float,
        Field(
            ge=0.001,
            le=5,
            description="Seconds for which changes are collected into one message while many follow each other.",
        ),
    ] = 0.05
    stream_max_age: Annotated[
        float, Field(ge=1, description="Seconds after which a stream ends, plus or minus a fifth; clients reconnect.")
    ] = 600.0
    stream_write_timeout: Annotated[
        float, Field(ge=0.1, description="Seconds after which a client that does not read is disconnected.")
    ] = 30.0
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of proxies, separated by commas, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` headers are trusted.",
    )
    log_level: str = Field(default="INFO", description="Log level: DEBUG, INFO, WARNING or ERROR.")

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator(
        "redis_url", "database_url", "notify_token", "auth_header", "oidc_issuer", "oidc_client_id",
        "oidc_client_secret", "oidc_role_claim", "oidc_group_claim",
    )  # fmt: skip
    @classmethod
    def _empty_means_unset(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value and not value.startswith(("postgresql://", "postgresql+psycopg://", "postgres://", "sqlite:///")):
            raise ValueError("use postgresql://user:password@host/name, or sqlite:////absolute/path.db")
        return value

    @field_validator("notify_token")
    @classmethod
    def _fits_a_header(cls, value: str | None) -> str | None:
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise ValueError("use printable ASCII characters without spaces")
        if value and len(value) < SHORTEST_SECRET:
            raise ValueError(f"use at least {SHORTEST_SECRET} characters, so that nobody can guess them")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _known_hosts(cls, value: str) -> str:
        names = [_host(name) for name in map(str.strip, value.split(",")) if name]
        return ",".join(dict.fromkeys(names))

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: str) -> str:
        networks = [_network(address) for address in map(str.strip, value.split(",")) if address]
        together: list[IPv4Network | IPv6Network] = [
            *collapse_addresses(each for each in networks if isinstance(each, IPv4Network)),
            *collapse_addresses(each for each in networks if isinstance(each, IPv6Network)),
        ]
        if any(each.prefixlen == 0 for each in together):
            raise ValueError("these are all addresses there are: name those of your proxies only")
        return ",".join(str(each).removesuffix(f"/{each.max_prefixlen}") for each in networks)

    @field_validator("auth_header")
    @classmethod
    def _known_header(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
            raise ValueError("use the name of a header, such as X-Forwarded-User")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _known_issuer(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "https://none")
        except ValueError:
            parts = urlsplit("")
        is_near = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not (is_near or parts.scheme == "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("use the URL of the issuer, which begins with https://")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.auth_header and not self.trusted_proxies:
            raise ValueError("AUTH_HEADER: name the proxy that sets this header in BULK_UPLOAD_TRUSTED_PROXIES")
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_client_secret):
            raise ValueError("OIDC_ISSUER: set BULK_UPLOAD_OIDC_CLIENT_ID and BULK_UPLOAD_OIDC_CLIENT_SECRET too")
        return self

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = value.upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("use DEBUG, INFO, WARNING or ERROR")
        return level

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """The settings of this process, from the environment; overrides: values of the command line, None for unset.

        Raises SettingsError with a sentence for each invalid value.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)  # type: ignore[arg-type]  # names are those of the fields, values are checked by pydantic
        except ValidationError as error:
            raise SettingsError([_sentence(each) for each in error.errors()]) from error

    @property
    def host_names(self) -> list[str]:
        """The names of `allowed_hosts`."""
        return list(filter(None, self.allowed_hosts.split(",")))

    @property
    def files(self) -> Path:
        """Folder of the uploaded files."""
        return self.data / "files"

    @property
    def exports(self) -> Path:
        """Folder in which files for downloads are made."""
        return self.data / "exports"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        if self.database_url is None:
            return f"sqlite:///{self.data / 'bulk_upload.db'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else self.database_url

    @property
    def sqlite_folder(self) -> Path | None:
        """The folder of the SQLite database. None: the database is PostgreSQL."""
        scheme, _, path = self.database.partition(":///")
        return Path(path).absolute().parent if scheme == "sqlite" else None

    @property
    def redis_socket(self) -> Path:
        """Socket of the private Redis: in the data folder, or in a temporary folder if that path is too long."""
        inside = self.data / "redis" / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        outside = Path(f"bulk-upload-{os.getuid()}-{name}") / "redis.sock"
        temporary = Path(tempfile.gettempdir()) / outside  # TMPDIR may be long too
        return temporary if len(os.fsencode(temporary)) <= SOCKET_PATH_LIMIT else Path("/tmp") / outside

    @property
    def redis(self) -> str:
        """The URL of Redis."""
        return self.redis_url or f"unix://{self.redis_socket}"

    def environment(self) -> dict[str, str]:
        """The environment variables with which a child process loads the same settings."""
        names = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}
        values = self.model_dump(exclude_none=True)
        return {names.get(name, f"BULK_UPLOAD_{name.upper()}"): str(value) for name, value in values.items()}


def _sentence(error: ErrorDetails) -> str:
    """What is wrong with which setting. An error about several names it itself."""
    name = ".".join(str(part) for part in error["loc"]).upper()
    return f"{name}: {error['msg']}" if name else error["msg"].removeprefix("Value error, ")


def _host(text: str) -> str:
    """A host as `Host` headers name it. Raises ValueError."""
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        if re.fullmatch(r"[0-9a-z_-]+(\.[0-9a-z_-]+)*", text.lower()):
            return text.lower()
    raise ValueError(f"“{text}” is not a host name: use uploads.example.org, without a port or a wildcard")


def _network(text: str) -> IPv4Network | IPv6Network:
    """Raises ValueError."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"“{text}” is not an address or network: use 127.0.0.1,10.0.0.0/8") from None
