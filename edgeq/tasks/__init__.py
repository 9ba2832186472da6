"""Tasks: what stands between a user's text, photo or sound and the tensors of an artifact's entries."""
