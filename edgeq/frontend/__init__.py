"""Hugging Face model -> raised graph in the dialect."""
