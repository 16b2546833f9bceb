"""Weights and models as files: checkpoints, model folders, cards, pretrained parts."""
