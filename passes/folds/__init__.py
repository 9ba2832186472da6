"""Where channels of an activation can be shifted and scaled, how that is folded, and what it is judged by."""
