"""The page of an upload that waits for a person: how its file was read, which column fills which field, what will
happen."""
