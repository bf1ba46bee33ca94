"""What a worker does with a file, from bytes to rows: with pandas and pyarrow, and so never in the web processes."""
