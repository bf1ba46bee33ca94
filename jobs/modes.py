"""Modes: what the rows of an upload do with those that the dataset has."""

from collections.abc import Sequence
from enum import StrEnum


class Mode(StrEnum):
    """What happens to a row whose key is already in the dataset, or to the rows that are."""

    INSERT = "insert"  # the row fails
    UPSERT = "upsert"  # the row replaces the stored one
    ONLY_NEW = "only_new"  # the stored row stays as it is, and the row counts as imported
    REPLACE = "replace"  # the rows of the file take the place of all rows at once, when the last one is read


#: What a dataset can do by itself with the uploads that do not say otherwise.
OF_DATASETS = (Mode.INSERT, Mode.UPSERT)
#: What an upload that makes a new dataset can ask for: there is nothing to replace.
OF_NEW_DATASETS = (Mode.INSERT, Mode.REPLACE)
_WITH_KEY = frozenset({Mode.UPSERT, Mode.ONLY_NEW})


def possible(key: Sequence[str]) -> list[Mode]:
    """The modes that make sense with a primary key, which may have no columns."""
    return [mode for mode in Mode if key or mode not in _WITH_KEY]


def allowed(key: Sequence[str], chosen: Sequence[str] | None) -> list[Mode]:
    """The modes that an upload may ask for. chosen: by somebody; None: nobody chose."""
    return [mode for mode in possible(key) if chosen is None or mode in chosen]


def listed(modes: Sequence[Mode]) -> str:
    """In words: insert, upsert or replace."""
    *others, last = modes
    return f"{', '.join(others)} or {last}" if others else str(last)
