"""The process that serves HTTP: one uvicorn, and what it holds for each connection."""
