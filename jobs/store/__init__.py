"""Where the uploaded files are: in a folder, or in a bucket of an S3-compatible store."""
