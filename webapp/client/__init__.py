"""What runs in somebody's terminal: `bulk-upload load` and `watch`, which talk to a server over HTTP."""
