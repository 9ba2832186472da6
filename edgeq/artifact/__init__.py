"""The folder that edgeq leaves: weights file, manifest, and writing it whole or not at all."""
