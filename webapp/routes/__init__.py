"""The HTTP routes: pages, JSON API, uploads and downloads."""
