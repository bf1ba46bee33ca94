"""What runs in workers and work horses. Of `jobs`, only this package and processes of their own use the pipeline."""
