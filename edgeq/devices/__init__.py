"""Machines that artifacts are measured on: this one, an emulated one, and those behind ssh, adb or a pool."""
