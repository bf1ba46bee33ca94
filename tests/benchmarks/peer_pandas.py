"""A peer: `peer_pandas.py FILE DATABASE`. What a tutorial does."""

import sqlite3
import sys

import pandas as pd


def main(file: str, database: str) -> None:
    with sqlite3.connect(database) as connection:
        pd.read_csv(file).to_sql("rows", connection, index=False)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
