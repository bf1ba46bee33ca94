"""Views: the same answer in Python and in SQL."""

import pytest
import sqlalchemy as sa

from jobs.view import EVERYTHING, View


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (EVERYTHING, ["sales", "stock", None]),
        (View(frozenset({"sales"})), ["stock", None]),
        (View(only="sales"), ["sales"]),
        (View(frozenset({"sales"}), "sales"), []),
        (View(frozenset({"stock"}), "sales"), ["sales"]),
    ],
    ids=repr,
)
def test_a_view_shows_the_same_in_python_and_in_sql(
    connection: sa.Connection, view: View, shown: list[str | None]
) -> None:
    table = sa.Table("seen", sa.MetaData(), sa.Column("dataset", sa.Text), prefixes=["TEMPORARY"])
    table.create(connection)
    names = ["sales", "stock", None]
    connection.execute(sa.insert(table), [{"dataset": name} for name in names])
    found = set(connection.execute(sa.select(table.c.dataset).where(view.condition(table.c.dataset))).scalars())
    table.drop(connection)

    assert [name for name in names if view.shows(name)] == shown
    assert found == set(shown)
    assert view.is_whole == (shown == names)
