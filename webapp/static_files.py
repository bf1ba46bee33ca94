"""Static files: compressed once, and cached by browsers for as long as their URL stands for their content."""

import gzip
import os
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import Scope

#: Bytes below which a file is not worth compressing.
SMALLEST_COMPRESSED = 500
#: For a URL with a version, which changes with the content; and for any other: browsers ask each time.
PERMANENT, REVALIDATED = "public, max-age=31536000, immutable", "public, no-cache"


class VersionedFiles(StaticFiles):
    """The files of a folder. Browsers may cache one permanently if its URL has a version."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        #: By path: when the file was modified, in ns, and its content, compressed.
        self._compressed: dict[str, tuple[int, bytes]] = {}
        for path in directory.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            packed = gzip.compress(content, mtime=0)
            if len(content) >= SMALLEST_COMPRESSED and len(packed) < len(content):
                self._compressed[os.path.realpath(path)] = (path.stat().st_mtime_ns, packed)

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Overrides Starlette's, to add the compressed content and its headers."""
        request_headers = Headers(scope=scope)
        response: Response = FileResponse(full_path, status_code, stat_result=stat_result)
        modified, content = self._compressed.get(str(full_path), (0, b""))
        if modified == stat_result.st_mtime_ns:
            if "gzip" in request_headers.get("accept-encoding", ""):
                response = _compressed(response, content)
            response.headers["vary"] = "Accept-Encoding"
        response.headers["cache-control"] = PERMANENT if b"v=" in scope.get("query_string", b"") else REVALIDATED
        if self.is_not_modified(response.headers, request_headers):
            return NotModifiedResponse(response.headers)
        return response


def _compressed(plain: Response, content: bytes) -> Response:
    headers = {
        "Content-Encoding": "gzip",
        "ETag": f'{plain.headers["etag"][:-1]}-gzip"',  # one for each form of the file (RFC 9110, section 8.8.3)
        "Last-Modified": plain.headers["last-modified"],
    }
    return Response(content, plain.status_code, headers, plain.media_type)
