"""Accuracy of artifacts."""
