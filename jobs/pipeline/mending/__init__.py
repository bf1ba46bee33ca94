"""Repairs of values: what each does, which may help a column, and how many rows they rescue."""
