"""What is cut off: ranges of activations and weights, found on samples."""
