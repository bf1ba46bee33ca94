"""Secrets that are handed out once."""

from jobs.people import secrets


def test_secrets_differ_and_are_too_long_to_guess() -> None:
    found = {secrets.make() for _ in range(100)}

    assert len(found) == 100
    assert min(map(len, found)) >= 43  # 256 bits in base64


def test_a_token_is_recognised_by_its_beginning() -> None:
    assert secrets.make(secrets.TOKEN_PREFIX).startswith("bu_")


def test_a_digest_tells_nothing_of_its_secret() -> None:
    secret = secrets.make()

    assert len(secrets.digest(secret)) == 64
    assert secrets.digest(secret) == secrets.digest(secret) != secrets.digest(secrets.make())
