"""The motion that labels say a clip has."""

from __future__ import annotations

from movideo.clips.batch import ClipBatch
from movideo.motion.space import Motion
from movideo.ops import normalize_depth, resize, resize_flow


def label_motion(batch: ClipBatch) -> Motion:
    """The label's motion at the clips' resolution."""
    size = (batch["video"].shape[-2], batch["video"].shape[-1])
    return Motion(
        depth=resize(normalize_depth(batch["depth"]), size),
        flow_i2v=resize_flow(batch["flow_i2v"], size),
        flow_v2i=resize_flow(batch["flow_v2i"], size),
    )
