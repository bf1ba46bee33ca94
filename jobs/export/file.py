"""`python -m jobs.export.file`: writes an export to stdout, which is a file, in a process of its own.

For what cannot be made block by block: Parquet files, workbooks, and rows in another order than that of the key. One
transaction reads all rows as fast as they can be written, however slowly a client reads the file afterwards.

The order is a line of JSON on stdin (`FileOrder`); the process ends when stdin does, because whoever gave the order is
gone. Exit status REFUSED: the rows do not fit the format, and stderr says why.
"""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from jobs import datasets
from jobs.database import Database
from jobs.errors import NotExportableError
from jobs.export.csv_rows import csv_format
from jobs.export.file_order import REFUSED, FileOrder
from jobs.export.json_rows import json_format
from jobs.rows import filters as row_filters

#: How much this process gives way to others, of which most answer requests.
_NICENESS = 5


def write(order: FileOrder, file: BinaryIO) -> None:
    """Raises NotExportableError."""
    database = Database(order.database)
    try:
        with database.reading() as connection:
            dataset = datasets.get(connection, order.dataset)
            selection = row_filters.parse(order.query, dataset.schema).selection
            if order.extension == "parquet":
                from jobs.export import parquet

                parquet.write(connection, dataset, selection, file, provenance=order.provenance)
            elif order.extension == "xlsx":
                from jobs.export import workbook

                path = Path(order.folder, "rows.xlsx")
                workbook.write(connection, dataset, selection, path, provenance=order.provenance)
                with path.open("rb") as made:
                    shutil.copyfileobj(made, file)
            else:
                dialect = connection.dialect
                text = (
                    csv_format(dialect, dataset, is_raw=order.is_raw, provenance=order.provenance)
                    if order.extension == "csv"
                    else json_format(dialect, dataset, provenance=order.provenance)
                )
                file.write(text.head())
                file.writelines(text.every(connection, selection))
        file.flush()
    finally:
        database.close()


def main() -> None:
    os.nice(_NICENESS)
    order = FileOrder.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        write(order, sys.stdout.buffer)
    except NotExportableError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
