"""What the data module hands to the stages."""

from typing import NotRequired, TypedDict

from torch import Tensor


class ClipBatch(TypedDict):
    """One batch; a sample is the same without the leading B.

    `video (B, F, 3, H, W)` in [-1, 1], `fps (B,)`, `key_index (B,)`, and `name`, one string a clip,
    no two alike. With labels also `depth (B, F, 1, h, w)`, raw, aligned over frames, and `flow_i2v`
    and `flow_v2i (B, F, 2, h, w)`, pixels of the grid `(h, w)` that they are stored on.
    """

    video: Tensor
    fps: Tensor
    key_index: Tensor
    name: list[str]
    depth: NotRequired[Tensor]
    flow_i2v: NotRequired[Tensor]
    flow_v2i: NotRequired[Tensor]
