"""The web process: one uvicorn, and its connections."""
