"""Words: allowed values in other spellings, and their misspellings."""

import pytest

from jobs.pipeline.mending.words import MANY, Allowed, is_missing, truth


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("germny", "Germany"),
        ("Gremany", "Germany"),
        ("Germanny", "Germany"),
        ("Austia", "Austria"),
        ("Austrlia", None),  # or Austria
        ("German", None),
        ("Irelamd", "Ireland"),
        ("Irelanf", None),
        ("Nigera", None),
        ("Iceland", None),
        ("undelivered", None),
        ("Germany", None),
        ("Germny?", None),
        ("Lebel 2", "Level 2"),
        ("Level 3", None),
    ],
)
def test_a_misspelling_is_of_exactly_one_allowed_value(text: str, value: str | None) -> None:
    allowed = Allowed(
        ["Germany", "Austria", "Australia", "Niger", "Nigeria", "Ireland", "delivered", "Level 1", "Level 2"]
    )

    assert allowed.nearest(text) == value


def test_another_spelling_is_of_one_allowed_value_only() -> None:
    allowed = Allowed(["Zürich", "resume", "résumé", "+", "C"])

    assert [allowed.same(text) for text in ("ZURICH", "Zuerich", " zürich ", "Resume", "+", "", "C++")] == [
        "Zürich",
        "Zürich",
        "Zürich",
        None,
        None,
        None,
        None,
    ]


def test_words_for_no_value_and_for_yes_and_no() -> None:
    assert [is_missing(text) for text in (" N/A ", "keine  Angabe", "0", "no", "")] == [True, True, False, False, False]
    assert [truth(text) for text in ("Sí", "NÃO", "Hayir", "maybe", "")] == [True, False, False, None, None]
    assert [truth(text, ("s", "n")) for text in ("S", "n", "x")] == [True, False, None]


def test_a_long_list_of_allowed_values_is_searched_too() -> None:
    allowed = Allowed(["Germany", *(f"Region {number}" for number in range(MANY))])

    assert [allowed.nearest(text) for text in ("Germny", "Regoin 77", "Region 9999")] == ["Germany", "Region 77", None]
