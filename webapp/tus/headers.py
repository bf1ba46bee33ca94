"""The headers of the protocol tus."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from webapp.errors import NotAPartError, TusError, TusVersionError

if TYPE_CHECKING:
    from hashlib import _Hash

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
#: Names in Upload-Checksum; the standard demands SHA-1.
ALGORITHMS = ("sha256", "sha1", "md5")
#: The type of a body that is a part of a file.
PART = "application/offset+octet-stream"
#: Digits of the largest number that a database stores.
_MOST_DIGITS = 18


def require_version(headers: Headers) -> None:
    """Raises TusVersionError."""
    if headers.get("tus-resumable") != VERSION:
        raise TusVersionError(f"This server follows version {VERSION} of tus: send Tus-Resumable: {VERSION}.")


def require_part(headers: Headers) -> None:
    """Raises NotAPartError."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != PART:
        raise NotAPartError(f"Send the bytes of the file as {PART}.")


def number(headers: Headers, name: str) -> int:
    """A number of bytes; of one that no file has, the largest that can be stored. Raises TusError."""
    text = headers.get(name)
    if text is None:
        raise TusError(f"The header {name} is missing.")
    if not re.fullmatch(r"[0-9]+", text, re.ASCII):
        raise TusError(f"{name} must be a number of bytes, in digits.")
    return int(text) if len(text.lstrip("0")) <= _MOST_DIGITS else 10**_MOST_DIGITS


def length(headers: Headers) -> int:
    """The bytes of a new file. Raises TusError."""
    if "upload-defer-length" in headers:
        raise TusError("Upload-Defer-Length is not supported: send Upload-Length.")
    return number(headers, "Upload-Length")


def metadata(text: str) -> dict[str, str]:
    """The fields in Upload-Metadata. Raises TusError."""
    fields: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        name, _, encoded = pair.strip(" ").partition(" ")
        if not name.isascii() or not name.isprintable() or not name or name in fields:
            raise TusError("Upload-Metadata must be pairs of a name and a value in base64, each name once.")
        fields[name] = _decoded(encoded, "Upload-Metadata").decode("utf-8", "replace")
    return fields


@dataclass(frozen=True)
class Checksum:
    """What a part must have. algorithm: one of ALGORITHMS."""

    algorithm: str
    digest: bytes

    @classmethod
    def of(cls, headers: Headers) -> "Checksum | None":
        """None: the part has no checksum. Raises TusError."""
        text = headers.get("upload-checksum")
        if text is None:
            return None
        algorithm, _, encoded = text.strip().partition(" ")
        if algorithm not in ALGORITHMS:
            raise TusError(f"Upload-Checksum must begin with one of {', '.join(ALGORITHMS)}.")
        return cls(algorithm, _decoded(encoded, "Upload-Checksum"))

    def begin(self) -> "_Hash":
        return hashlib.new(self.algorithm, usedforsecurity=False)


def _decoded(encoded: str, name: str) -> bytes:
    """Raises TusError."""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise TusError(f"A value in {name} is not base64.") from error


def moment(value: datetime) -> str:
    """As in `Date` (RFC 9110, section 5.6.7)."""
    return format_datetime(value.astimezone(UTC), usegmt=True)
