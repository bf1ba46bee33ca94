"""The beginning of a text that may be too long to be shown whole."""

from collections.abc import Sequence

#: Characters of a cell, or of another text from a file, that pages show. A longer one has a link to the whole.
EXCERPT_LENGTH = 200


def excerpt(text: str, length: int = EXCERPT_LENGTH) -> str:
    """The first `length` characters, with … if there are more."""
    return text if len(text) <= length else f"{text[:length]}…"


#: Notes on an upload that are kept, and characters of each: a file can rename a column in each of thousands of them.
MAX_NOTES, NOTE_LENGTH = 20, 500


def notes_excerpt(notes: Sequence[str]) -> list[str]:
    """The first notes and the last one, which is about the rows. Applied again it changes nothing."""
    kept = list(notes)
    if len(kept) > MAX_NOTES:
        left_out = len(kept) - (MAX_NOTES - 1)
        kept[MAX_NOTES - 2 : -1] = [f"{left_out:,} more notes are not shown."]
    return [note if len(note) <= NOTE_LENGTH else excerpt(note, NOTE_LENGTH - 1) for note in kept]
