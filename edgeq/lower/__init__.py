"""Graph -> plan -> C -> model.so."""
