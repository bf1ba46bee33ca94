"""Everything between Redis and a socket: what changes is heard once, rendered once, and sent to all who look."""
