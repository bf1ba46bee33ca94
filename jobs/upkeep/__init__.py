"""Keeping order: backups, deletion, and what is kept no longer."""
