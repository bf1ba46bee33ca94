"""The settings, from the environment and the command line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.errors import SettingsError
from jobs.settings import SOCKET_PATH_LIMIT, Settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without settings, in a temporary folder."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"BULK_UPLOAD_{field.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_everything_is_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings.load()

    assert tmp_path / "data" == settings.data
    assert tmp_path / "data" / "files" == settings.files
    assert f"sqlite:///{tmp_path / 'data' / 'bulk_upload.db'}" == settings.database
    assert (settings.host, settings.port, settings.open) == ("127.0.0.1", 8000, False)


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BULK_UPLOAD_DATA", "/srv/bulk", "data", Path("/srv/bulk")),
        ("BULK_UPLOAD_PORT", "9000", "port", 9000),
        ("BULK_UPLOAD_LEASE", "2.5", "lease", 2.5),
        ("BULK_UPLOAD_OPEN", "true", "open", True),
        ("BULK_UPLOAD_FAILED_ROWS_KEPT", "0", "failed_rows_kept", 0),
        ("BULK_UPLOAD_MAX_EXPANSION_RATIO", "1000", "max_expansion_ratio", 1000),
        ("BULK_UPLOAD_MAX_EXPANDED_BYTES", "1000000", "max_expanded_bytes", 1_000_000),
        ("BULK_UPLOAD_STREAMS", "20000", "streams", 20_000),
        ("BULK_UPLOAD_STREAMS_PER_ADDRESS", "6", "streams_per_address", 6),
        ("BULK_UPLOAD_STREAM_BATCH_INTERVAL", "0.2", "stream_batch_interval", 0.2),
        ("BULK_UPLOAD_STREAM_MAX_AGE", "60", "stream_max_age", 60.0),
        ("BULK_UPLOAD_STREAM_WRITE_TIMEOUT", "5", "stream_write_timeout", 5.0),
        ("BULK_UPLOAD_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8", "trusted_proxies", "127.0.0.1,10.0.0.0/8"),
        ("BULK_UPLOAD_TRUSTED_PROXIES", " 10.0.0.7/8, ::1 ", "trusted_proxies", "10.0.0.0/8,::1"),
        ("BULK_UPLOAD_ALLOWED_HOSTS", "A.example, [::1],a.example", "host_names", ["a.example", "::1"]),
        ("BULK_UPLOAD_OIDC_ISSUER", "", "oidc_issuer", None),
        ("BULK_UPLOAD_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("BULK_UPLOAD_NOTIFY_TOKEN", "s3cret/+=~-of-many", "notify_token", "s3cret/+=~-of-many"),
        ("BULK_UPLOAD_EXTERNAL_TIMEOUT", "90", "external_timeout", 90.0),
        ("REDIS_URL", "redis://cache/3", "redis_url", "redis://cache/3"),
        ("DATABASE_URL", "postgresql://db/bulk", "database_url", "postgresql://db/bulk"),
    ],
)
def test_an_environment_variable_sets_its_field(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)

    assert value == getattr(Settings.load(), field)


def test_the_command_line_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UPLOAD_PORT", "9000")
    monkeypatch.setenv("BULK_UPLOAD_HOST", "10.0.0.1")
    settings = Settings.load(port=9001, host=None)

    assert (settings.port, settings.host) == (9001, "10.0.0.1")


def test_settings_are_immutable() -> None:
    settings = Settings.load()

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        (
            "DATABASE_URL",
            "mysql://db/bulk",
            "DATABASE_URL: use postgresql://user:password@host/name, or sqlite:////absolute/path.db",
        ),
        ("BULK_UPLOAD_LOG_LEVEL", "LOUD", "LOG_LEVEL: use DEBUG, INFO, WARNING or ERROR"),
        ("BULK_UPLOAD_PORT", "70000", "PORT: Input should be less than or equal to 65535"),
        ("BULK_UPLOAD_EXTERNAL_TIMEOUT", "0", "EXTERNAL_TIMEOUT: Input should be greater than or equal to 1"),
        *(
            (
                "BULK_UPLOAD_NOTIFY_TOKEN",
                token,
                "NOTIFY_TOKEN: use printable ASCII characters without spaces",
            )
            for token in ("two words", "schlüssel", "a\tb", " ")
        ),
        (
            "BULK_UPLOAD_NOTIFY_TOKEN",
            "fifteen-letters",
            "NOTIFY_TOKEN: use at least 16 characters, so that nobody can guess them",
        ),
        ("BULK_UPLOAD_LEASE", "0.5", "LEASE: Input should be greater than or equal to 1"),
        ("BULK_UPLOAD_CHUNK_BYTES", "255", "CHUNK_BYTES: Input should be greater than or equal to 256"),
        ("BULK_UPLOAD_FAILED_ROWS_KEPT", "-1", "FAILED_ROWS_KEPT: Input should be greater than or equal to 0"),
        ("BULK_UPLOAD_STREAMS", "0", "STREAMS: Input should be greater than or equal to 1"),
        (
            "BULK_UPLOAD_STREAM_BATCH_INTERVAL",
            "0",
            "STREAM_BATCH_INTERVAL: Input should be greater than or equal to 0.001",
        ),
        (
            "BULK_UPLOAD_TRUSTED_PROXIES",
            "127.0.0.1, proxy",
            "TRUSTED_PROXIES: “proxy” is not an address or network: use 127.0.0.1,10.0.0.0/8",
        ),
        *(
            (
                "BULK_UPLOAD_TRUSTED_PROXIES",
                everybody,
                "TRUSTED_PROXIES: these are all addresses there are: name those of your proxies only",
            )
            for everybody in ("0.0.0.0/0", "10.0.0.1/0", "::/0", "127.0.0.1,::1,::/0", "0.0.0.0/1,128.0.0.0/1")
        ),
        *(
            (
                "BULK_UPLOAD_ALLOWED_HOSTS",
                f"localhost, {name}",
                f"ALLOWED_HOSTS: “{name}” is not a host name: use uploads.example.org, without a port or a wildcard",
            )
            for name in ("*", "*.example.org", "example.org:8000", "https://example.org", ".example.org", "bücher.de")
        ),
        (
            "BULK_UPLOAD_AUTH_HEADER",
            "X-User",
            "AUTH_HEADER: name the proxy that sets this header in BULK_UPLOAD_TRUSTED_PROXIES",
        ),
        (
            "BULK_UPLOAD_AUTH_HEADER",
            "X-User: x",
            "AUTH_HEADER: use the name of a header, such as X-Forwarded-User",
        ),
        *(
            (
                "BULK_UPLOAD_OIDC_ISSUER",
                url,
                "OIDC_ISSUER: use the URL of the issuer, which begins with https://",
            )
            for url in (
                "http://issuer.example",
                "issuer.example",
                "https://",
                "https://issuer.example?x=1",
                "https://[",
            )
        ),
        (
            "BULK_UPLOAD_OIDC_ISSUER",
            "https://issuer.example",
            "OIDC_ISSUER: set BULK_UPLOAD_OIDC_CLIENT_ID and BULK_UPLOAD_OIDC_CLIENT_SECRET too",
        ),
        ("BULK_UPLOAD_MAX_EXPANSION_RATIO", "0", "MAX_EXPANSION_RATIO: Input should be greater than or equal to 1"),
        ("BULK_UPLOAD_MAX_EXPANDED_BYTES", "0", "MAX_EXPANDED_BYTES: Input should be greater than or equal to 1"),
    ],
)
def test_an_invalid_value_is_rejected_with_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, problem: str
) -> None:
    monkeypatch.setenv(variable, text)

    with pytest.raises(SettingsError) as refused:
        Settings.load()

    assert (problem,) == refused.value.problems


def test_all_invalid_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_UPLOAD_WORKERS", "-1")
    monkeypatch.setenv("BULK_UPLOAD_SWEEP", "never")

    with pytest.raises(SettingsError) as refused:
        Settings.load()

    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["WORKERS", "SWEEP"]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://me@db/bulk", "postgresql+psycopg://me@db/bulk"),
        ("postgres://me@db/bulk", "postgresql+psycopg://me@db/bulk"),
        ("postgresql+psycopg://me@db/bulk", "postgresql+psycopg://me@db/bulk"),
        ("sqlite:////srv/bulk.db", "sqlite:////srv/bulk.db"),
    ],
)
def test_every_postgresql_url_uses_the_same_driver(given: str, used: str) -> None:
    assert used == Settings.load(database_url=given).database


def test_a_secret_is_not_printed() -> None:
    assert "s3cret" not in repr(Settings.load(notify_token="s3cret-of-many-letters", oidc_client_secret="s3cret"))


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL", "BULK_UPLOAD_NOTIFY_TOKEN"])
def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    unset = Settings.load()
    monkeypatch.setenv(variable, "")

    assert unset == Settings.load()


def test_a_redis_url_replaces_the_private_redis() -> None:
    assert Settings.load(redis_url="redis://cache:6379/0").redis == "redis://cache:6379/0"


def test_the_private_redis_listens_in_the_data_folder() -> None:
    settings = Settings.load(data="/srv/bulk")

    assert Path("/srv/bulk/redis/redis.sock") == settings.redis_socket
    assert settings.redis == "unix:///srv/bulk/redis/redis.sock"


def test_the_socket_is_never_at_a_path_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", f"/srv/{'deep/' * 30}tmp")
    socket = Settings.load(data=f"/srv/{'deep/' * 30}data").redis_socket

    assert socket.is_relative_to("/tmp")
    assert len(str(socket)) <= SOCKET_PATH_LIMIT


def test_the_socket_of_a_long_data_path_is_in_a_temporary_folder() -> None:
    here, there = (Settings.load(data=f"/srv/{'deep/' * 30}{name}").redis_socket for name in ("here", "there"))

    assert len(str(here)) <= SOCKET_PATH_LIMIT
    assert here != there


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"data": "/srv/bulk", "port": 0, "workers": 3, "open": True, "lease": 2.5, "log_level": "DEBUG"},
        {"redis_url": "unix:///run/redis.sock", "database_url": "postgresql://me:secret@db/bulk"},
        {"notify_token": "s3cret/+=~-of-many", "external_timeout": 90},
    ],
)
def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, given: dict[str, object]) -> None:
    settings = Settings.load(**given)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert settings == Settings.load()
