"""Many videos: which clips are drawn from them, listed, indexed, augmented and batched."""
