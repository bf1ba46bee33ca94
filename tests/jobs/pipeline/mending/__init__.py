"""Repairs of values."""
