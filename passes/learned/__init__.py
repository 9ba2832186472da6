"""Rounding, steps and clipping learned by gradients, a window of blocks at a time."""
