"""Dirty columns with what is right, and how much of them the product can repair."""
