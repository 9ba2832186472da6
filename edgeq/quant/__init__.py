"""Bits grammar, weight formats and quantizers."""
