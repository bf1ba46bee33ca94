"""What roles and scopes there are."""

from enum import StrEnum


class Role(StrEnum):
    """What an account may do; each role may do what those before it may.

    viewer: see. uploader: upload, and cancel, retry and import what they uploaded themselves. admin: everything.
    """

    VIEWER = "viewer"
    UPLOADER = "uploader"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether it may do what the other may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = list(Role)


class Scope(StrEnum):
    """What an API token may be used for, if its owner's role allows it too. None includes another."""

    READ = "read"
    UPLOAD = "upload"
    NOTIFY = "notify"
    ADMIN = "admin"
