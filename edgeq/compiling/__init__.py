"""The road from a model to an artifact: options, recipe, passes, lowering, files."""
