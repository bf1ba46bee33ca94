"""Files as they arrive: what kind they are, how a text is laid out, where its header is."""
