"""Roles in their order."""

import pytest

from jobs.people.roles import Role


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("other", list(Role))
def test_each_role_includes_itself_and_those_before_it(role: Role, other: Role) -> None:
    order = ["viewer", "uploader", "admin"]

    assert role.includes(other) == (order.index(role) >= order.index(other))
