"""Carries changes of uploads from Redis and from the database to the subscribers of each channel."""
