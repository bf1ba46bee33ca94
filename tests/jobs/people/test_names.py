"""Names of accounts and groups: which can be, and which are the same."""

import pytest

from jobs.errors import InvalidNameError
from jobs.people import names


@pytest.mark.parametrize("name", ["", " ", "\t", "x" * 65, "a\nb", "a\x00", "a\u200bb", "\ud800", "a/b", ".", ".."])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        names.checked(name)


@pytest.mark.parametrize("name", ["a", "x" * 64, "Zoë Ng", "ana@example.com", "DOMAIN\\ana", "売上"])
def test_a_name_is_shown_as_it_was_given(name: str) -> None:
    assert names.checked(f" {name} ") == name


def test_a_decomposed_character_is_shown_composed() -> None:
    assert names.checked("Zoe\u0308") == "Zoë"


@pytest.mark.parametrize(
    ("name", "other"), [("Ana", "aNA"), ("Straße", "STRASSE"), ("Zoe\u0308", "zoë"), ("ﬁn", "FIN"), ("\uff41na", "ana")]
)
def test_names_in_another_case_or_of_compatible_characters_are_the_same(name: str, other: str) -> None:
    assert names.key(name) == names.key(other)


def test_names_with_other_letters_differ() -> None:
    assert names.key("ana") != names.key("anna")
