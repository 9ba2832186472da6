"""Text that passes measure activations on."""
