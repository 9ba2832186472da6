"""Kernel families: one file a family, each a TIR factory, a numpy reference and its cost."""
