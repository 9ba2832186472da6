"""How much each part of a model is harmed by each weight format."""
