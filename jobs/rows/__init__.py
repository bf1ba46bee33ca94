"""Rows of a dataset: which ones, how they are read and spelled, and the SQL of their tables."""
