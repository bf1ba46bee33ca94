"""The settings: read from the environment and validated once, at start."""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from jobs import secret_files
from jobs.errors import SettingsError
from jobs.lanes import QUICK_BYTES

#: The most bytes of a Unix socket's path that every system allows (Linux 107, macOS 103).
SOCKET_PATH_LIMIT = 100
#: The setting of a store that is a folder.
FILE = "file"
#: Characters of a secret that people choose; 20 wrong ones a minute cannot find it.
SHORTEST_SECRET = 16


#: Settings with a secret in them, or that may have one: each can be in a file, which the variable with `_FILE` names.
SECRETS = (
    "redis_url", "database_url", "notify_token", "oidc_client_secret", "aws_access_key_id", "aws_secret_access_key",
    "aws_session_token",
)  # fmt: skip
#: Variables whose name is not made of the field's.
_VARIABLES = {
    "redis_url": "REDIS_URL",
    "database_url": "DATABASE_URL",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "aws_region": "AWS_REGION",
}


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _VARIABLES.get(field, f"BULK_UPLOAD_{field.upper()}")


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads settings from the files that have them (secret_files.py)."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        """variables: of the fields whose value may be in a file."""
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return secret_files.read(self._variables[field_name]), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: secret_files.read(variable) for name, variable in self._variables.items()}
        return {self._key(name): value for name, value in found.items() if value is not None}

    def _key(self, name: str) -> str:
        """By what the environment would name a field, so that this value comes before an empty variable."""
        has_alias = self.settings_cls.model_fields[name].validation_alias is not None
        return self._variables[name] if has_alias else name


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
    store: str = Field(
        default=FILE,
        description="Where uploaded files are: `file` in the data folder, or `s3://bucket/prefix` in a bucket.",
    )
    store_before: str | None = Field(
        default=None,
        description="Where they were, as `BULK_UPLOAD_STORE` had it, until `bulk-upload store move` has moved them; "
        "unset: the data folder.",
    )
    s3_endpoint: str | None = Field(
        default=None, description="URL of an S3-compatible server that has the bucket; unset: that of AWS."
    )
    aws_access_key_id: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
        description="Access key of the bucket.",
    )
    aws_secret_access_key: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
        description="Its secret.",
    )
    aws_session_token: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("AWS_SESSION_TOKEN", "aws_session_token"),
        description="Token of a temporary access key.",
    )
    aws_region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION", "aws_region"),
        description="Region of the bucket; unset: us-east-1.",
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
        32 * 1024 * 1024
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
    resume_hours: Annotated[
        float, Field(gt=0, description="Hours without a byte after which a file that arrives in parts is removed.")
    ] = 24.0
    notify_token: str | None = Field(
        default=None,
        repr=False,
        description="Secret of at least 16 characters that external scripts send with their reports.",
    )
    external_timeout: Annotated[
        float, Field(ge=1, description="Seconds without a report after which an external upload fails.")
    ] = 3600.0
    held_days: Annotated[
        float, Field(gt=0, description="Days that an upload waits for a review at most; then it is cancelled.")
    ] = 30.0
    undo_days: Annotated[
        float,
        Field(ge=0, description="Days for which the rows that an upload replaced are kept, to undo it; 0 keeps none."),
    ] = 30.0
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
    base_url: str | None = Field(
        default=None,
        description="URL at which browsers reach the server; `doctor` looks at the proxy through it.",
    )
    keep_originals_days: Annotated[
        float,
        Field(ge=0, description="Days after the end of an upload until its file is removed; 0: it is kept for ever."),
    ] = 0
    keep_bytes: Annotated[
        int,
        Field(ge=0, description="Bytes that uploaded files may take before the oldest are removed; 0: any number."),
    ] = 0
    keep_failed_rows_days: Annotated[
        float,
        Field(ge=0, description="Days after the end of an upload until its failed rows are removed; 0: they are kept."),
    ] = 0
    keep_audit_days: Annotated[
        float, Field(ge=0, description="Days until an entry of the audit log is removed; 0: it is kept for ever.")
    ] = 0
    keep_idempotency_days: Annotated[
        float,
        Field(ge=0, description="Days for which answers to requests with an `Idempotency-Key` are kept; 0: for ever."),
    ] = 1.0
    log_level: str = Field(default="INFO", description="Log level: DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(default="text", description="Format of the log: text, or json with an object on each line.")

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator(
        "redis_url", "database_url", "notify_token", "auth_header", "oidc_issuer", "oidc_client_id",
        "oidc_client_secret", "oidc_role_claim", "oidc_group_claim", "store_before", "s3_endpoint", "aws_access_key_id",
        "aws_secret_access_key", "aws_session_token", "aws_region", "base_url",
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

    @field_validator("store", "store_before")
    @classmethod
    def _known_store(cls, value: str | None) -> str | None:
        if value in (None, FILE):
            return value
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc) or parts.query:
            raise ValueError("use file, or s3://bucket/prefix")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _known_endpoint(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", value):
            raise ValueError("use the URL of the server, such as https://s3.example.org")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: str | None) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("use redis://user:password@host:6379/0, rediss://… for TLS, or unix:///path/to/socket")
        return value

    @field_validator("base_url")
    @classmethod
    def _known_base(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("use the URL of the server as browsers have it, such as https://uploads.example.org")
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

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value.lower() not in {"text", "json"}:
            raise ValueError("use text or json")
        return value.lower()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            _SecretFiles(settings_cls, {name: variable(name) for name in SECRETS}),
            env_settings,
        )

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
        """Folder of the uploaded files, if they are in the data folder."""
        return self.data / "files"

    @property
    def work(self) -> Path:
        """Folder in which workers work on uploaded files."""
        return self.files if self.store == FILE else self.data / "work"

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
    def idle_timeout(self) -> float:
        """Seconds after which PostgreSQL ends an import's transaction that does nothing: half a lease, so that a frozen
        worker does not block its successor, but longer than a busy machine lets a process wait for its turn."""
        return max(self.lease / 2, 5.0)

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
        values = self.model_dump(exclude_none=True)
        found = {variable(name): str(value) for name, value in values.items()}
        # What is in a file, a child reads from there too: the environment of a process is less of a secret.
        return {name: value for name, value in found.items() if not secret_files.is_named(name)}


def _sentence(error: ErrorDetails) -> str:
    """What is wrong with which setting. An error about several names it itself."""
    name = ".".join(str(part) for part in error["loc"]).upper()
    what = error["msg"].removeprefix("Value error, ")
    return f"{name}: {what}" if name else what


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
