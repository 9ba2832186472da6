"""Compiling to a promise: a size, a perplexity, a latency, each kept by choosing a format for every layer."""
