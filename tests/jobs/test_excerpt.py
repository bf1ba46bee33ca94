"""Long texts and many notes are cut."""

import pytest

from jobs.excerpt import EXCERPT_LENGTH, MAX_NOTES, NOTE_LENGTH, excerpt, notes_excerpt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("x" * EXCERPT_LENGTH, "x" * EXCERPT_LENGTH),
        ("x" * (EXCERPT_LENGTH + 1), "x" * EXCERPT_LENGTH + "…"),
    ],
)
def test_only_a_long_text_is_cut(text: str, expected: str) -> None:
    assert excerpt(text) == expected


def test_few_notes_stay_as_they_are() -> None:
    notes = [f"Note {n}." for n in range(MAX_NOTES)]

    assert notes_excerpt(notes) == notes


def test_of_many_notes_the_first_ones_and_the_last_one_are_kept() -> None:
    notes = [f"Note {n}." for n in range(1500)]
    kept = notes_excerpt(notes)

    assert len(kept) == MAX_NOTES
    assert kept[0] == "Note 0."
    assert kept[-2:] == ["1,481 more notes are not shown.", "Note 1499."]
    assert kept[:-2] == notes[: MAX_NOTES - 2]


def test_long_notes_are_cut_once() -> None:
    kept = notes_excerpt(["x" * 1_000_000] * 1500)

    assert {len(note) for note in kept} <= {NOTE_LENGTH, len("1,481 more notes are not shown.")}
    assert notes_excerpt(kept) == kept
