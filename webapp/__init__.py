"""The pages, the API, the streams, and the command that runs them."""
