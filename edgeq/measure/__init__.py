"""Timing and bandwidth of artifacts on devices."""
