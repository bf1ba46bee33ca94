"""Bodies of responses in pieces of about the same size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.routes import pieces
from webapp.routes.pieces import PIECE_BYTES, in_pieces


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ([], []),
        ([10] * 3, [30]),
        ([PIECE_BYTES], [PIECE_BYTES]),
        ([1, PIECE_BYTES], [PIECE_BYTES, 1]),
        ([4 * PIECE_BYTES + 5], [PIECE_BYTES] * 4 + [5]),
        ([PIECE_BYTES // 2] * 5, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES // 2]),
    ],
)
def test_large_parts_are_divided_and_small_ones_joined(parts: list[int], sizes: list[int]) -> None:
    assert [len(piece) for piece in in_pieces(b"x" * size for size in parts)] == sizes


@given(st.lists(st.binary(max_size=20)))
def test_the_bytes_stay_the_same(parts: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", 7)

        assert b"".join(in_pieces(parts)) == b"".join(parts)
