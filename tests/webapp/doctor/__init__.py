"""Tests of webapp/doctor."""
