"""Live updates over server-sent events: routes, the four streams, and what they render.

delivery/ carries changes from Redis to the subscribers; streams/ turns them into each client's messages.
"""
