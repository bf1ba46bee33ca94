"""Repairing failed rows: edits, repairs and the rules that are made of them."""
