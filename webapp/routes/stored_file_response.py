"""Answers with an uploaded file, or with one range of it, wherever it is stored."""

import hashlib
import re
from email.utils import formatdate
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from jobs.store.store import Store, StoredState
from jobs.uploads import Upload
from webapp import threads
from webapp.state import AppRequest


def stored_file_response(request: AppRequest, store: Store, upload: Upload, found: StoredState) -> Response:
    """The whole file, or the range that the request names (RFC 9110, section 14), as it is read. A request for several
    ranges gets the whole file."""
    tag = f'"{hashlib.sha256(f"{upload.sha256}-{found.tag}".encode()).hexdigest()[:32]}"'
    modified = formatdate(found.modified, usegmt=True)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": _attachment(upload.filename),
        "ETag": tag,
        "Last-Modified": modified,
    }
    status, part = 200, range(found.size)
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", tag) in (tag, modified) and (named := _range_of(wanted, found.size)) is not None:
        if not named:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
        status, part = 206, named
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{found.size}"
    headers["Content-Length"] = str(len(part))
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    blocks = threads.downloads.iterate(store.blocks(upload.stored_as, part.start, part.stop))
    return StreamingResponse(blocks, status, headers, "application/octet-stream")


def _range_of(header: str, size: int) -> range | None:
    """Empty: the file has no such range. None: no single range of bytes is named."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _attachment(filename: str) -> str:
    """As RFC 6266 has it."""
    quoted = quote(filename, safe="")
    return f"attachment; filename*=utf-8''{quoted}" if quoted != filename else f'attachment; filename="{filename}"'
