"""Rounding that makes up for its own errors: second moments of activations, columns one after the other, stages."""
