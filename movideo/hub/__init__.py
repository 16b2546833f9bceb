"""Weights and models as files: checkpoints, model folders, cards, pretrained parts."""

EMBEDDED = "embedded"
"""Names the small networks that movideo brings along, wherever weights or a model may be named."""
