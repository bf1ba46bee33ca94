"""Tests run on real Redis, SQLite, PostgreSQL, uvicorn and Chromium, one file a room."""
