"""Errors name what is wrong, and keep it for programs."""

import pytest

from jobs.errors import MissingColumnsError, SchemaError, SettingsError


@pytest.mark.parametrize("kind", [SettingsError, SchemaError])
def test_all_problems_are_in_the_message(kind: type[SettingsError | SchemaError]) -> None:
    error = kind(["PORT: too large", "HOST: unknown"])

    assert error.problems == ("PORT: too large", "HOST: unknown")
    assert str(error) == "PORT: too large; HOST: unknown"


def test_missing_columns_are_named_beside_the_columns_of_the_file() -> None:
    error = MissingColumnsError(["id", "name"], ["ID number"])

    assert error.missing == ("id", "name")
    assert all(f"“{name}”" in str(error) for name in ("id", "name", "ID number"))


def test_a_message_names_at_most_twenty_columns_of_each_kind() -> None:
    message = str(MissingColumnsError([f"a{n}" for n in range(30)], [f"b{n}" for n in range(30)]))

    assert "“a19” …" in message
    assert "“b19” …" in message
    assert "“a20”" not in message
    assert "“b20”" not in message
