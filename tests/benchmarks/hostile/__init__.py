"""Hostile files and requests against a running instance: `python -m tests.benchmarks.hostile`."""
