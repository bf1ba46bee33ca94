"""BlockStream: an export as a response."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from jobs.export.blocks import Blocks
from webapp import threads
from webapp.routes.pieces import PIECE_BYTES


class BlockStream(StreamingResponse):
    """Blocks as they are made, one ahead of the client. A client that leaves ends the statement that runs."""

    def __init__(self, blocks: Blocks, media_type: str, headers: dict[str, str]) -> None:
        self._ahead = threads.downloads.iterate_ahead(iter(blocks), blocks.stop)
        super().__init__(_in_pieces(self._ahead), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._ahead):
            await super().__call__(scope, receive, send)


async def _in_pieces(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Blocks of any size in pieces, without a thread for each."""
    async for block in blocks:
        for start in range(0, len(block), PIECE_BYTES):
            yield block[start : start + PIECE_BYTES]
