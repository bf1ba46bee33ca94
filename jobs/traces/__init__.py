"""What uploads leave behind in a dataset, so that they can be told apart and undone."""
