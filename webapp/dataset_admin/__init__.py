"""What administrators change of datasets: declare, settings, columns, delete."""
