"""Replays a plan region by region on the memory it really saw, and checks every call against its numpy reference."""
