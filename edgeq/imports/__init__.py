"""Checkpoints that others quantized: their codes read as they are, on grids that our formats hold."""
