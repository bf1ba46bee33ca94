"""Access: which bucket, where, and with which key."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from jobs.settings import Settings


@dataclass(frozen=True)
class Access:
    """prefix: of the names of all objects, without slashes around it. endpoint: a URL; None: that of AWS. key_id: None:
    the library finds credentials as AWS's own tools do."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str = "us-east-1"
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, settings: "Settings") -> Self:
        """url: s3://bucket/prefix."""
        parts = urlsplit(url)
        return cls(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=settings.s3_endpoint,
            region=settings.aws_region or "us-east-1",
            key_id=settings.aws_access_key_id,
            secret=settings.aws_secret_access_key,
            session_token=settings.aws_session_token,
        )

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")
