"""From a file's bytes to rows in a database. Only workers import this package: it loads pandas and pyarrow."""
