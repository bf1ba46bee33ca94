"""Passwords: which are refused, and what is compared."""

import pytest

from jobs.errors import UnsafePasswordError
from jobs.people import passwords
from tests.support.team import PASSWORD


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "at least 10"),
        ("short pw", "at least 10"),
        ("x" * 257, "at most 256"),
        ("password123", "among the first"),
        ("Password2024!", "among the first"),
        ("1234567890", "among the first"),
        ("aaaaaaaaaaaa", "among the first"),
        ("0123456789", "among the first"),
        ("9876543210", "among the first"),
        ("3456789012", "among the first"),
        ("ABCDEFGHIJ", "among the first"),
        ("adminadmin", "among the first"),
        ("monkeymonkeymonkey", "among the first"),
        ("ana-maria-1", "little more than"),
        ("1ANA-MARIA!", "little more than"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(password: str, reason: str) -> None:
    with pytest.raises(UnsafePasswordError, match=reason):
        passwords.hashed(password, "Ana-Maria")


@pytest.mark.parametrize(
    "password", [PASSWORD, "tea for two and more", "ünïcödé wörds", "x" * 100 + "yz1 ", " " * 9 + "abcd"]
)
def test_a_password_of_any_characters_is_taken_as_a_whole(password: str) -> None:
    known = passwords.hashed(password, "ana")

    assert known.startswith("$argon2id$")
    assert passwords.verify(password, known)
    assert not passwords.verify(password + " ", known)
    assert not passwords.verify(password[:-1], known)


def test_the_longest_password_is_not_the_beginning_of_a_longer_one() -> None:
    password = "abcdefgh" * 32
    known = passwords.hashed(password, "ana")

    assert passwords.verify(password, known)
    assert not passwords.verify(password + "x", known)


def test_the_same_password_from_another_keyboard_is_the_same() -> None:
    assert passwords.verify("Zoe\u0308 likes tea", passwords.hashed("Zoë likes tea", "ana"))


def test_two_hashes_of_a_password_differ() -> None:
    assert passwords.hashed(PASSWORD, "ana") != passwords.hashed(PASSWORD, "ana")


def test_halves_of_characters_are_compared_like_others() -> None:
    known = passwords.hashed("half a character \ud800", "ana")

    assert passwords.verify("half a character \ud800", known)
    assert not passwords.verify("half a character ?", known)


def test_where_there_is_no_hash_as_much_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = passwords.hashed(PASSWORD, "ana")
    compared: list[str] = []
    hasher = passwords._hasher()
    verify = hasher.verify

    def counting(password: bytes, hash_: str) -> bool:
        compared.append(hash_)
        return verify(password, hash_)

    monkeypatch.setattr(hasher, "verify", counting)

    assert not passwords.verify(PASSWORD, None)
    assert not passwords.verify("the password of no account", None)
    assert not passwords.verify("wrong password", known)
    costs = [hash_.split("$")[1:4] for hash_ in compared]
    assert len(compared) == 3
    assert costs[0] == costs[1] == costs[2]
