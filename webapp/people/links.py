"""Addresses that are handed to people, and those that a form asks to go to next."""

import re

from webapp.state import AppRequest

#: Where people go who asked for nothing else.
HOME = "/uploads"
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


def invitation(request: AppRequest, secret: str) -> str:
    """With the host by which the server was asked: the guard knows all that it has."""
    return f"{request.url.scheme}://{request.url.netloc}/invitation/{secret}"


def next_path(wanted: str) -> str:
    """A path of this site, and no other site's address however a browser reads it; else HOME."""
    if not wanted.startswith("/") or wanted.startswith("//") or _UNSAFE.search(wanted) or not wanted.isprintable():
        return HOME
    return wanted
