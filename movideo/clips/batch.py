"""What the data module hands to the stages, and what it is made of."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict, cast

import torch
from torch import Tensor

from movideo.video.decoding.pixels import to_float


class StoredBatch(TypedDict):
    """One batch in the types that clips and labels are stored in: a quarter to a half of the bytes.

    A sample is the same without the leading B. `video (B, F, 3, H, W)` RGB bytes, `fps (B,)`,
    `key_index (B,)`, and `name`, one string a clip, no two clips alike. With labels also raw
    `depth (B, F, 1, h, w)`, `flow_i2v` and `flow_v2i (B, F, 2, h, w)`, pixels of the grid `(h, w)`,
    all float16, and `depth_alignment (B, F, 2)`, float32. With encodings `latents (B, F, c, ·, ·)`
    or `tokens (B, N, D)` of the key frame or both, float16; `video` is left out where nothing else
    is made of it.
    """

    video: NotRequired[Tensor]
    fps: Tensor
    key_index: Tensor
    name: list[str]
    depth: NotRequired[Tensor]
    depth_alignment: NotRequired[Tensor]
    flow_i2v: NotRequired[Tensor]
    flow_v2i: NotRequired[Tensor]
    latents: NotRequired[Tensor]
    tokens: NotRequired[Tensor]


class ClipBatch(TypedDict):
    """One batch in float32.

    `video (B, F, 3, H, W)` in [-1, 1], `fps (B,)`, `key_index (B,)`, and `name`, one string a clip,
    no two clips alike. With labels also `depth (B, F, 1, h, w)`, raw, aligned over frames, and
    `flow_i2v` and `flow_v2i (B, F, 2, h, w)`, pixels of the grid `(h, w)` that they are stored on.
    With encodings `latents`, `tokens` and often no `video`, as in `StoredBatch`. Stage 1 adds
    `log_scale (B,)`, how far things move (see `movideo.motion.scale`).
    """

    video: NotRequired[Tensor]
    fps: Tensor
    key_index: Tensor
    name: list[str]
    depth: NotRequired[Tensor]
    flow_i2v: NotRequired[Tensor]
    flow_v2i: NotRequired[Tensor]
    latents: NotRequired[Tensor]
    tokens: NotRequired[Tensor]
    log_scale: NotRequired[Tensor]


class EvaluationBatch(TypedDict):
    """What one batch of videos is made of, and the true clips that they are measured against.

    `name`, one string a sample, no two alike; `fps (B,)`, `key_index (B,)`, and `num_frames` and
    `size` `(H, W)` of them all. Of a data set of clips `video (B, F, 3, H, W)` in [-1, 1] and
    `reference`, the name of each true clip: samples of several prompts may share one. Of prompts
    `prompt`, one string a sample. Where labels are kept also those of `ClipBatch`.
    """

    name: list[str]
    fps: Tensor
    key_index: Tensor
    num_frames: int
    size: tuple[int, int]
    video: NotRequired[Tensor]
    reference: NotRequired[list[str]]
    prompt: NotRequired[list[str]]
    depth: NotRequired[Tensor]
    flow_i2v: NotRequired[Tensor]
    flow_v2i: NotRequired[Tensor]


def to_clip_batch(stored: StoredBatch) -> ClipBatch:
    """Converts a batch to float32 on the device that it lies on, and aligns its depth."""
    batch = ClipBatch(fps=stored["fps"], key_index=stored["key_index"], name=stored["name"])
    if "video" in stored:
        batch["video"] = to_float(stored["video"])
    if "depth" in stored:
        scale, shift = stored["depth_alignment"][..., None, None, None].unbind(dim=2)
        batch["depth"] = stored["depth"].float() * scale + shift
        batch["flow_i2v"] = stored["flow_i2v"].float()
        batch["flow_v2i"] = stored["flow_v2i"].float()
    if "latents" in stored:
        batch["latents"] = stored["latents"].float()
    if "tokens" in stored:
        batch["tokens"] = stored["tokens"].float()
    return batch


def key_frames(video: Tensor, key_index: Tensor) -> Tensor:
    """The key frame `(B, C, H, W)` of each clip `(B, F, C, H, W)`, given its index `(B,)`."""
    return video[torch.arange(len(video), device=video.device), key_index]


def reach(key_index: Tensor, num_frames: int, fps: Tensor) -> Tensor:
    """Seconds `(B,)` from each clip's key frame to the frame that is farthest from it."""
    return torch.maximum(key_index, num_frames - 1 - key_index) / fps


def without_key_frames(mask: Tensor, key_index: Tensor) -> Tensor:
    """A mask `(B, F, 1, H, W)`, 0 in the key frame of each clip, given its index `(B,)`."""
    counts = mask.clone()
    counts[torch.arange(len(mask), device=mask.device), key_index] = 0
    return counts


def split_batch(batch: ClipBatch, size: int) -> list[ClipBatch]:
    """A batch in parts of that many clips; the last may be smaller."""
    whole = cast(dict[str, Any], batch)
    return [
        cast(ClipBatch, {key: value[first : first + size] for key, value in whole.items()})
        for first in range(0, len(batch["name"]), size)
    ]
