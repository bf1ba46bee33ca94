"""The rows of a dataset as a file: CSV, JSON lines, Parquet or an Excel workbook."""

import asyncio
import os
from functools import partial
from typing import BinaryIO, get_args

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from jobs.datasets import Dataset
from jobs.export.blocks import Blocks
from jobs.export.csv_rows import csv_format
from jobs.export.file_order import Extension, FileOrder
from jobs.export.json_rows import json_format
from jobs.rows import filters as row_filters
from jobs.rows.filters import RowFilters
from webapp import parameters, threads
from webapp.access.needs import READ, GuardedRoute
from webapp.export_process import FileMaker
from webapp.operation import Operation, file
from webapp.routes import downloaded, filter_parameters, visible
from webapp.routes.block_stream import BlockStream
from webapp.routes.pieces import PIECE_BYTES
from webapp.state import AppRequest

EXTENSIONS: tuple[Extension, ...] = get_args(Extension)
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PROVENANCE = parameters.flag("provenance", "1: also from which row of which upload each row came.")
#: Parameters that choose no rows.
OWN_PARAMETERS = ("raw", PROVENANCE.name)


async def rows(request: AppRequest, extension: Extension, *, is_raw: bool) -> Response:
    """All rows, or those that the filters choose, in the order of the key or in that of `sort`.

    `?provenance=1` adds the origin of each row. is_raw: formulas are not escaped.
    """
    name, query = request.path_params["name"], request.query_params
    found = await visible.dataset(request, name)
    filters = row_filters.parse(query.multi_items(), found.schema, others=OWN_PARAMETERS)
    is_raw, provenance = is_raw or query.get("raw") == "1", PROVENANCE.read(query)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{extension}"'}
    downloaded.note(request, f"dataset {name}")
    if extension in ("csv", "jsonl") and filters.selection.sort is None:
        blocks = _blocks(request, found, filters, extension, is_raw=is_raw, provenance=provenance)
        return BlockStream(blocks, MEDIA_TYPES[extension], headers)
    order = FileOrder(
        database=request.state["settings"].database,
        dataset=name,
        query=filters.query,
        extension=extension,
        is_raw=is_raw,
        provenance=provenance,
    )
    return await _made(request, order, MEDIA_TYPES[extension], headers)


def _blocks(
    request: AppRequest, found: Dataset, filters: RowFilters, extension: Extension, *, is_raw: bool, provenance: bool
) -> Blocks:
    database = request.state["database"]
    dialect = database.engine.dialect
    text = (
        csv_format(dialect, found, is_raw=is_raw, provenance=provenance)
        if extension == "csv"
        else json_format(dialect, found, provenance=provenance)
    )
    return Blocks(database, found.table(dialect), filters.selection, text)


class _Made(StreamingResponse):
    """A file that is complete. It is closed, and so gone, when the response ends."""

    def __init__(self, file: BinaryIO, media_type: str, headers: dict[str, str]) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        pieces = threads.downloads.iterate(iter(partial(file.read, PIECE_BYTES), b""))
        super().__init__(pieces, media_type=media_type, headers={**headers, "Content-Length": str(size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _made(request: AppRequest, order: FileOrder, media_type: str, headers: dict[str, str]) -> Response:
    """A file that a process makes, whole. A client that leaves meanwhile ends the process."""
    maker = FileMaker(request.state["settings"].exports, order)
    making = asyncio.create_task(threads.exports.run(maker.make))
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return _Made(making.result(), media_type, headers)
        return Response(status_code=499)  # nobody reads it
    finally:
        leaving.cancel()
        if not making.done():
            making.add_done_callback(_closed)
            maker.stop()


async def _disconnected(request: AppRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _closed(making: "asyncio.Task[BinaryIO]") -> None:
    """Nobody wants the file."""
    if not making.cancelled() and making.exception() is None:
        making.result().close()


def _routes(extension: Extension) -> list[GuardedRoute]:
    async def for_people(request: AppRequest) -> Response:
        return await rows(request, extension, is_raw=False)

    async def for_programs(request: AppRequest) -> Response:
        return await rows(request, extension, is_raw=True)

    path = f"/datasets/{{name}}/rows.{extension}"
    operation = Operation(
        f"Download rows as {extension}, all or those that filters choose.",
        file(MEDIA_TYPES[extension], "The rows."),
        query=(PROVENANCE, *filter_parameters.ALL),
        reads_filters=True,
    )
    return [
        GuardedRoute(path, for_people, READ),
        GuardedRoute(f"/api/v1{path}", for_programs, READ, operation=operation),
    ]


routes = [route for extension in EXTENSIONS for route in _routes(extension)]
