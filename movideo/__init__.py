"""Image to video through generated motion: depth and optical flow first, pixels after.

An implementation of MoVideo (Liang et al., ECCV 2024, arXiv 2311.11325).

Conventions, the same in every module:

| letter | meaning |
| --- | --- |
| B, F, C, H, W | batch, frames, channels, height, width; public tensors are `(B, F, C, H, W)` |
| h, w, c | height, width and channels of the latent |
| k | index of the key frame, `F // 2` unless given |
| video x | RGB, float32, in [-1, 1] |
| depth d | `(B, F, 1, H, W)`, relative inverse depth: near is large |
| flow | `(B, F, 2, H, W)`, channel 0 = dx (right), 1 = dy (down), in pixels of its own grid |
| mask | `(B, F, 1, H, W)`, 1 = visible, 0 = occluded |
| fps | frames per second of the clip, not of its source file |

`warp(x, flow)(p) = x(p + flow(p))`, that is backward warping, and so

- `flow_i2v[f]` lies on frame f's grid and points into the key frame:
  `warp(x[k], flow_i2v[f])` resembles `x[f]`. It carries the image into the video.
- `flow_v2i[f]` lies on the key frame's grid and points into frame f:
  `warp(x[f], flow_v2i[f])` resembles `x[k]`.

At the key frame both flows are 0 and the mask is 1. Resizing a flow rescales its vectors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from movideo.pipeline import MoVideoPipeline

__all__ = ["MoVideoPipeline", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the pipeline on first use; it brings diffusers and open_clip along."""
    if name == "MoVideoPipeline":
        return getattr(import_module("movideo.pipeline"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
