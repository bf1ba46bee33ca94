"""Undoing uploads, and the history of a row."""
