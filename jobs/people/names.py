"""Names of accounts and groups."""

import unicodedata

from jobs.errors import InvalidNameError

#: Characters of the longest name.
LONGEST = 64


def checked(name: str) -> str:
    """The name as it is shown: NFC, without spaces around it. Raises InvalidNameError."""
    shown = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(shown) <= LONGEST or not shown.isprintable():
        raise InvalidNameError(f"A name has 1 to {LONGEST} printable characters.")
    if "/" in shown or shown in (".", ".."):  # it is a part of addresses
        raise InvalidNameError("A name has no slash, and is not a dot or two.")
    return shown


def key(name: str) -> str:
    """What two names have in common that count as the same: compatible characters, in any case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def can_exist(name: str) -> bool:
    """Whether somebody could have a name like this. Databases do not even take a question about some others."""
    return name.isprintable()
