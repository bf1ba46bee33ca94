"""Passwords: which are safe enough, and their hashes."""

import unicodedata
from functools import cache
from itertools import pairwise
from typing import NewType

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from jobs.errors import UnsafePasswordError

#: Characters of the shortest password, and of the longest, which bounds what one sign-in may cost.
SHORTEST, LONGEST = 10, 256

#: A hash of a password that is safe enough.
Hashed = NewType("Hashed", str)


def hashed(password: str, name: str) -> Hashed:
    """argon2id, with a salt. Takes tens of milliseconds and 19 MiB: not within a transaction.

    name: of its account. Raises UnsafePasswordError.
    """
    return Hashed(_hasher().hash(_bytes(_checked(password, name))))


def _checked(password: str, name: str) -> str:
    """The password as it is hashed. Raises UnsafePasswordError."""
    normal = _normal(password)
    if len(normal) < SHORTEST:
        raise UnsafePasswordError(f"A password has at least {SHORTEST} characters.")
    if len(normal) > LONGEST:
        raise UnsafePasswordError(f"A password has at most {LONGEST} characters.")
    folded = normal.casefold()
    if _is_common(folded) or _is_row_of_keys(folded) or len(set(folded)) < 4:
        raise UnsafePasswordError("This password is among the first that others would try. Choose another one.")
    name = _normal(name).casefold()
    if name in folded and len(folded) - len(name) < SHORTEST - 2:
        raise UnsafePasswordError("The password is little more than the account's name. Choose another one.")
    return normal


def _is_common(folded: str) -> bool:
    """Whether it is a common password, also with digits and marks around it, or written two or three times."""
    written = {folded, folded.strip("0123456789!.?")}
    written |= {folded[: len(folded) // times] for times in (2, 3) if folded == folded[: len(folded) // times] * times}
    return not written.isdisjoint(_common())


def _is_row_of_keys(folded: str) -> bool:
    """Whether it is letters or digits in their order, such as abcdefghij or 9876543210."""
    steps = {ord(after) - ord(before) for before, after in pairwise(folded)}
    return steps in ({1}, {-1}) or (folded.isdecimal() and {step % 10 for step in steps} in ({1}, {9}))


def verify(password: str, known: str | None) -> bool:
    """Whether a password is the one with this hash. For None, of an account that has none or does not exist, it takes
    as long and is False. Not within a transaction either."""
    of_nobody = _of_nobody()  # for known ones too: the first call takes twice as long
    normal = _normal(password)
    is_right = _hasher().verify(_bytes(normal[:LONGEST]), known or of_nobody)
    return is_right and known is not None and len(normal) <= LONGEST


def _normal(password: str) -> str:
    """The same password typed on another keyboard is the same text (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    """JSON can hold halves of characters, which are no text."""
    return password.encode("utf-8", "surrogatepass")


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
