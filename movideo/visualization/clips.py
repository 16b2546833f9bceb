"""Pictures for people: what goes in, what comes out, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from movideo.clips.batch import ClipBatch
from movideo.motion.labels import label_motion
from movideo.motion.space import Motion
from movideo.ops import (
    depth_to_color,
    flow_to_color,
    normalize_flow,
    warp,
)
from movideo.video.write import write_mp4
from movideo.visualization.contact_sheet import contact_sheet

TRUTH = "true clip"
CELL_HEIGHT = 128
MOST_CELL_HEIGHT = 256
ERROR_GAIN = 5  # a difference of a fifth of the range is drawn white


def motion_rows(motion: Motion, index: int, prefix: str = "") -> dict[str, Tensor]:
    """Depth, both flows and the visible mask of one clip in colour, each `(F, 3, H, W)`.

    The flows share one scale.
    """
    flow_i2v, flow_v2i = motion.flow_i2v[index], motion.flow_v2i[index]
    *_, largest = normalize_flow(flow_i2v[None], flow_v2i[None])
    mask = motion.visible[index]
    return {
        f"{prefix}depth": depth_to_color(motion.depth[index]),
        f"{prefix}flow_i2v": flow_to_color(flow_i2v, float(largest)),
        f"{prefix}flow_v2i": flow_to_color(flow_v2i, float(largest)),
        f"{prefix}mask": (mask * 2 - 1).expand(-1, 3, -1, -1),
    }


def write_motion_videos(path: str | Path, motion: Motion, fps: float) -> None:
    """Writes the motion of one video, B = 1, in colour, to look at.

    Beside `name.safetensors` go `name_depth.mp4`, `name_flow_i2v.mp4`, `name_flow_v2i.mp4` and
    `name_mask.mp4`.

    Raises:
        UserError: a file cannot be written.
    """
    path = Path(path)
    for name, colours in motion_rows(motion, 0).items():
        write_mp4(path.with_name(f"{path.stem}_{name}.mp4"), colours.cpu(), fps)


def warped_key_frame(batch: ClipBatch, motion: Motion, index: int) -> Tensor:
    """The key frame along the flow, `(F, 3, H, W)`, black where occluded."""
    return warped_picture(batch["video"][index, batch["key_index"][index]], motion, index)


def warped_picture(key: Tensor, motion: Motion, index: int) -> Tensor:
    """A picture `(3, H, W)` along the flow of one clip, `(F, 3, H, W)`, black where occluded."""
    mask = motion.visible[index]
    return (warp(key, motion.flow_i2v[index]) + 1) * mask - 1


def motion_visualization(batch: ClipBatch, generated: Motion, index: int) -> Tensor:
    """The clip, the label's motion and the generated one."""
    rows: Mapping[str, Tensor] = {
        "clip": batch["video"][index],
        **motion_rows(label_motion(batch), index, "label "),
        **motion_rows(generated, index, "generated "),
        "generated warp": warped_key_frame(batch, generated, index),
    }
    return contact_sheet(rows)


def video_visualization(batch: ClipBatch, generated: Tensor, index: int) -> Tensor:
    """The clip, its motion, the warped key frame and the generated video `(B, F, 3, H, W)`."""
    motion = label_motion(batch)
    rows: Mapping[str, Tensor] = {
        "clip": batch["video"][index],
        **motion_rows(motion, index),
        "warped key": warped_key_frame(batch, motion, index),
        "result": generated[index],
    }
    return contact_sheet(rows)


def result_visualization(key_frame: Tensor, video: Tensor, motion: Motion) -> Tensor:
    """A key frame `(3, H, W)`, its motion, the key frame warped along it, and its video.

    Of batches, video `(B, F, 3, H, W)` and motion, the first is shown.
    """
    rows: Mapping[str, Tensor] = {
        **motion_rows(motion, 0),
        "warped key": warped_picture(key_frame.to(video), motion, 0),
        "result": video[0],
    }
    return contact_sheet(rows)


def decoder_visualization(truth: Tensor, decoded: Mapping[str, Tensor]) -> Tensor:
    """A clip `(F, 3, H, W)`, and by name what decoders made of it with the map of their error."""
    rows = {"truth": truth}
    for name, video in decoded.items():
        error = (video.clamp(-1, 1) - truth).abs().mean(dim=1, keepdim=True) / 2
        rows[name] = video
        rows[f"{name} error x{ERROR_GAIN}"] = (error * ERROR_GAIN * 2 - 1).expand_as(truth)
    return contact_sheet(rows)


def clip_visualization(
    truth: Tensor | None, videos: Mapping[str, Tensor], columns: int = 6
) -> Tensor:
    """The true clip, and below it what each method made of it; pixels stay pixels up to 256 a side.

    Args:
        truth: `(F, 3, H, W)` in [-1, 1], if there is one.
        videos: likewise, by the title of the method.
        columns: frames shown, evenly spread from the first to the last.

    Returns:
        `(3, height, width)` in [-1, 1].
    """
    rows = {} if truth is None else {TRUTH: truth}
    rows |= videos
    height = next(iter(rows.values())).shape[-2]
    height *= math.ceil(CELL_HEIGHT / height)
    return contact_sheet(rows, columns, min(height, MOST_CELL_HEIGHT))
