"""Bodies of responses in pieces of about the same size, whatever their parts have."""

from collections.abc import Iterable, Iterator

#: Bytes of a piece: a client that reads slowly holds one or two of them in memory.
PIECE_BYTES = 1 << 18


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; a part that is larger than a piece is divided, and smaller ones are joined."""
    waiting = bytearray()
    for part in parts:
        if len(waiting) + len(part) < PIECE_BYTES:
            waiting += part
            continue
        whole = memoryview(bytes(waiting) + part)
        waiting.clear()
        for start in range(0, len(whole), PIECE_BYTES):
            piece = bytes(whole[start : start + PIECE_BYTES])
            if len(piece) < PIECE_BYTES:
                waiting += piece
            else:
                yield piece
    if waiting:
        yield bytes(waiting)
