"""Tests of webapp/metrics."""
