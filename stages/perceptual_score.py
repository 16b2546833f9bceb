"""What tests measure perceptual distance with."""

from __future__ import annotations

from movideo.losses import FramePerceptualLoss, VGG16Features

SCORE_SEED = 1  # not the features that a decoder may have been trained on


def score_or_default(given: FramePerceptualLoss | None) -> FramePerceptualLoss:
    """The distance that was given, or one of random features; its `curve` says which it is."""
    return given or FramePerceptualLoss(VGG16Features(width=16, seed=SCORE_SEED))
