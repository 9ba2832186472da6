"""Heads that give boxes: found, given logarithmic weights, their scales learned."""
