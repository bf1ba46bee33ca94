"""A file uploaded through the API, in each way that the API has."""

import httpx

from tests.support.serving import Served

CONTENT = b"a,b\n1,2\n"


def by_form(served: Served, content: bytes = CONTENT, filename: str = "june.csv", **fields: str) -> httpx.Response:
    """A multipart form with the file."""
    return served.client.post("/api/v1/uploads", files={"file": (filename, content)}, data=fields)


def by_body(served: Served, content: bytes = CONTENT, filename: str = "june.csv", **fields: str) -> httpx.Response:
    """The file as the body of the request."""
    return served.post(content, filename, **fields)
