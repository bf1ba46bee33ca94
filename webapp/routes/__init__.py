"""What HTTP requests find: pages for people, the JSON API, uploads on their way in, files on their way out."""
