"""Changes of datasets, and their list."""
