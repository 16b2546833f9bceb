"""Labels for people to look at: coloured videos beside the clip that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from movideo.clips.batch import ClipBatch
from movideo.clips.clip import Clip, read_clip
from movideo.motion.labels import label_motion
from movideo.shards.shard import ClipLabels
from movideo.shards.store import RowStore
from movideo.video.write import write_mp4
from movideo.visualization.clips import motion_rows


def write_previews(
    folder: str | Path, clips: Sequence[Clip], labels: RowStore[ClipLabels], count: int
) -> list[Path]:
    """Writes mp4 files that show clips beside their labels (see `preview`).

    Args:
        folder: where to; made if missing.
        clips: to choose from, evenly; those without labels are passed over.
        labels: their labels.
        count: number of files.

    Returns:
        The files.

    Raises:
        VideoError: a clip cannot be read.
        UserError: a file cannot be written.
    """
    labelled = [clip for clip in clips if clip in labels]
    chosen = labelled[:: max(1, len(labelled) // max(1, count))][:count]
    paths = []
    for clip in chosen:
        path = Path(folder) / f"{Path(clip.video).stem}_{clip.start:.3f}_{clip.key[:6]}.mp4"
        write_mp4(path, preview(read_clip(clip), clip.key_index, labels.get(clip)), clip.fps)
        paths.append(path)
    return paths


def preview(video: Tensor, key_index: int, labels: ClipLabels) -> Tensor:
    """A clip, its depth, both flows and the visible mask, side by side at the clip's size.

    Args:
        video: `(F, 3, H, W)`, RGB in [-1, 1].
        key_index: index of the key frame.
        labels: of that clip, on any grid.

    Returns:
        `(F, 3, H, 5 W)` in [-1, 1]. Both flows share one scale; the mask is white where visible.
    """
    batch = ClipBatch(
        video=video[None],
        fps=torch.ones(1),
        key_index=torch.tensor([key_index]),
        name=[""],
        depth=labels.aligned_depth[None],
        flow_i2v=labels.flow_i2v.float()[None],
        flow_v2i=labels.flow_v2i.float()[None],
    )
    return torch.cat([video, *motion_rows(label_motion(batch), 0).values()], dim=-1)
