"""Passwords: which are safe enough, and their hashes."""

import unicodedata
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from jobs.errors import UnsafePasswordError

#: Characters of the shortest password, and of the longest, which bounds what one sign-in may cost.
SHORTEST, LONGEST = 10, 256


def checked(password: str, name: str) -> str:
    """The password as it is hashed. name: of its account. Raises UnsafePasswordError."""
    normal = _normal(password)
    if len(normal) < SHORTEST:
        raise UnsafePasswordError(f"A password has at least {SHORTEST} characters.")
    if len(normal) > LONGEST:
        raise UnsafePasswordError(f"A password has at most {LONGEST} characters.")
    folded = normal.casefold()
    if folded in _common() or folded.strip("0123456789!.?") in _common() or len(set(folded)) < 4:
        raise UnsafePasswordError("This password is among the first that others would try. Choose another one.")
    if name.casefold() in folded and len(folded) - len(name) < SHORTEST - 2:
        raise UnsafePasswordError("The password is little more than the account's name. Choose another one.")
    return normal


def hash_of(password: str) -> str:
    """argon2id, with a salt. password: as `checked` returns it."""
    return _hasher().hash(password)


def verify(password: str, known: str | None) -> bool:
    """Whether a password is the one with this hash. For None, of an account that has none or does not exist, it takes
    as long and is False."""
    normal = _normal(password)[:LONGEST]
    is_right = _hasher().verify(normal, known or _of_nobody())
    return is_right and known is not None


def _normal(password: str) -> str:
    """The same password typed on another keyboard is the same text (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


@cache
def _hasher() -> PasswordHash:
    # The second configuration that OWASP recommends: 19 MiB, two passes (Password Storage Cheat Sheet).
    return PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1),))


@cache
def _of_nobody() -> str:
    return _hasher().hash("the password of no account")


@cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # takes a moment, and is needed only when a password is set

    return frozenset(FREQUENCY_LISTS["passwords"])
