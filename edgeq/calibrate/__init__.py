"""What passes measure activations on, and how: data, samples of graphs, streaming block by block."""
