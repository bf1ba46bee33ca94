"""Cells as pages show them, and the bytes that they take."""

import pytest
from markupsafe import escape

from jobs.excerpt import EXCERPT_LENGTH
from webapp.cells import Cell, fitting


def test_a_short_cell_is_shown_whole() -> None:
    assert Cell.of("x" * EXCERPT_LENGTH, "a", "/row") == Cell("x" * EXCERPT_LENGTH, "a", "")


@pytest.mark.parametrize(
    ("column", "url"), [("a", "/row?column=a"), ("a&b =/ü", "/row?column=a%26b%20%3D%2F%C3%BC"), ("", "/row")]
)
def test_a_long_cell_links_to_the_whole(column: str, url: str) -> None:
    assert Cell.of("x" * 1_000_000, column, "/row") == Cell("x" * EXCERPT_LENGTH + "…", column, url)


@pytest.mark.parametrize("text", ["", "x", '"' * 500, "😀" * 500, "<&>'" * 99])
def test_the_bytes_of_a_cell_are_those_of_its_text_twice_and_more(text: str) -> None:
    cell = Cell.of(text, "a", "/row")

    assert cell.html_bytes >= 2 * len(escape(cell.text).encode()) + len(cell.url)


def test_cells_fit_until_their_bytes_are_used() -> None:
    cells = [Cell.of("x" * n, "a", "/row") for n in (10, 20, 30)]

    assert fitting(cells, sum(cell.html_bytes for cell in cells)) == cells
    assert fitting(cells, sum(cell.html_bytes for cell in cells) - 1) == cells[:2]
    assert fitting(cells, 0) == []
