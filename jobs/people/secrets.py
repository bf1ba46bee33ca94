"""Secrets that are handed out once: of sessions, API tokens, invitations. The database keeps a digest only."""

import hashlib
import secrets

#: Bytes of randomness: too many to guess, so a plain digest protects them.
SECRET_BYTES = 32
#: How the text of an API token begins, by which people and scanners of repositories recognise it.
TOKEN_PREFIX = "bu_"


def make(prefix: str = "") -> str:
    """A new secret, as text for headers and addresses."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What the database keeps of it: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
