"""Files that arrive in several requests: the protocol tus 1.0 (https://tus.io/protocols/resumable-upload)."""
