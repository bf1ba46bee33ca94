"""Multipart uploads that nobody completes: a process that is killed while it stores a large object leaves its parts,
which no list of objects shows.

The library neither lists nor ends them, so this module signs the three requests that it takes (AWS Signature, version
4, https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
"""

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from jobs.errors import StoreUnavailableError
from jobs.store.access import Access

log = logging.getLogger(__name__)

#: Seconds that a request may take.
SECONDS = 20
#: Seconds after its last part after which a multipart upload is given up: whoever writes it sends parts more often.
ABANDONED_AFTER = 3600.0
_NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class _Answer:
    """now: by the clock of the store, seconds since 1970."""

    xml: ElementTree.Element | None
    now: float

    def every(self, name: str) -> list[ElementTree.Element]:
        return [] if self.xml is None else [each for each in self.xml.iter() if _local(each) == name]


def end_abandoned(access: Access, *, after: float = ABANDONED_AFTER) -> float | None:
    """End multipart uploads below the prefix to which nothing was added for so many seconds. Returns the time by the
    clock of the store; None: without a key of its own this process cannot ask. Raises StoreUnavailableError."""
    if access.key_id is None or access.secret is None:
        return None
    prefix = f"{access.prefix}/" if access.prefix else ""
    markers: dict[str, str] = {}
    while True:
        found = _asked(access, "GET", "", {"uploads": "", "prefix": prefix, **markers})
        for each in found.every("Upload"):
            key, id_ = _text(each, "Key"), _text(each, "UploadId")
            if found.now - _last_change(access, key, id_, _text(each, "Initiated"), found.now, after) > after:
                _asked(access, "DELETE", key, {"uploadId": id_})
                log.info("Ended a multipart upload that a killed process had left: %s.", key)
        if found.xml is None or _text(found.xml, "IsTruncated") != "true":
            return found.now
        markers = {
            "key-marker": _text(found.xml, "NextKeyMarker"),
            "upload-id-marker": _text(found.xml, "NextUploadIdMarker"),
        }


def end_of(access: Access, path: str) -> None:
    """End the multipart uploads of one object, which nobody else writes. Raises StoreUnavailableError."""
    if access.key_id is not None and access.secret is not None:
        key = f"{access.prefix}/{path}".lstrip("/")
        for each in _asked(access, "GET", "", {"uploads": "", "prefix": key}).every("Upload"):
            _asked(access, "DELETE", key, {"uploadId": _text(each, "UploadId")})


def _last_change(access: Access, key: str, id_: str, initiated: str, now: float, after: float) -> float:
    """When a part was added, or when the upload began."""
    last, marker = _time(initiated), "0"
    while now - last > after:
        found = _asked(access, "GET", key, {"uploadId": id_, "part-number-marker": marker})
        last = max([last, *(_time(_text(part, "LastModified")) for part in found.every("Part"))])
        marker = "" if found.xml is None else _text(found.xml, "NextPartNumberMarker")
        if found.xml is None or _text(found.xml, "IsTruncated") != "true":
            break
    return last


def _time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str:
    return next((each.text or "" for each in element.iter() if _local(each) == name), "")


def _asked(access: Access, method: str, key: str, query: Mapping[str, str]) -> _Answer:
    request = _signed(access, method, key, query, datetime.now(UTC))
    try:
        with urlopen(request, timeout=SECONDS) as response:
            body = response.read()
            now = parsedate_to_datetime(response.headers["date"]).timestamp()
    except HTTPError as error:
        if error.code == 404 and method == "DELETE":  # another process was faster
            return _Answer(None, 0.0)
        raise StoreUnavailableError(f"{method} answers {error.code}") from error
    except (OSError, HTTPException) as error:
        raise StoreUnavailableError(str(error)) from error
    return _Answer(ElementTree.fromstring(body) if body else None, now)


def _signed(access: Access, method: str, key: str, query: Mapping[str, str], at: datetime) -> Request:
    assert access.secret is not None
    if access.endpoint is None:
        base, path = f"https://{access.bucket}.s3.{access.region}.amazonaws.com", f"/{quote(key)}"
    else:
        base, path = access.endpoint.rstrip("/"), f"/{access.bucket}/{quote(key)}".rstrip("/")
    moment, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    headers = {"host": urlsplit(base).netloc, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    if access.session_token:
        headers["x-amz-security-token"] = access.session_token
    parameters = "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    base_path = urlsplit(base).path
    canonical = "\n".join([method, base_path + path, parameters, lines, names, _NO_BODY])
    scope = f"{day}/{access.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{access.secret}".encode()
    for each in (day, access.region, "s3", "aws4_request"):
        signing = hmac.digest(signing, each.encode(), "sha256")
    signature = hmac.digest(signing, to_sign.encode(), "sha256").hex()
    credential = f"{access.key_id}/{scope}"
    sent = {name: value for name, value in headers.items() if name != "host"}
    sent["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return Request(f"{base}{path}?{parameters}", method=method, headers=sent)
