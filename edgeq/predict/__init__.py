"""What a compile would give, before it reads a weight: bytes, seconds, memory, tokens a second."""
