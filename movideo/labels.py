"""Clips in, pseudo-labels out: depth and flow from pretrained or weight-free estimators."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from movideo.errors import UserError
from movideo.estimators import DepthEstimator, FlowEstimator
from movideo.ops import normalize_depth, normalize_flow, resize, resize_flow
from movideo.video.clips import Clip, read_clip
from movideo.video.labels.depth_alignment import align_depth
from movideo.video.labels.folder import SHARD_SIZE, deal_clips, labelled_clips, labelled_otherwise
from movideo.video.labels.shards import SUFFIX, ClipLabels, write_shard
from movideo.video.labels.store import LabelStore
from movideo.video.read import VideoError
from movideo.video.write import remove_leftovers

PAIRS_PER_BATCH = 16  # the memory of a learned flow estimator grows with it

_logger = logging.getLogger(__name__)


def label_clip(
    video: Tensor,
    key_index: int,
    depth_estimator: DepthEstimator,
    flow_estimator: FlowEstimator,
    grid: tuple[int, int] | None = None,
) -> ClipLabels:
    """Estimates depth, both flows and the alignment of depth, at the video's own resolution.

    Args:
        video: `(F, 3, H, W)`, RGB in [-1, 1].
        key_index: index of the key frame, where both flows are exactly 0.
        depth_estimator: gives the depth.
        flow_estimator: gives the flows.
        grid: `(h, w)` that the labels are brought to at the end; the video's by default.
    """
    key = video[key_index].expand_as(video)
    with torch.no_grad():
        depth = depth_estimator(video)
        flow_i2v = _estimate_flow(video, key, key_index, flow_estimator)
        flow_v2i = _estimate_flow(key, video, key_index, flow_estimator)
    alignment = align_depth(depth, flow_i2v, flow_v2i, key_index)
    if grid is not None:
        depth = resize(depth, grid)
        flow_i2v, flow_v2i = resize_flow(flow_i2v, grid), resize_flow(flow_v2i, grid)
    return ClipLabels(depth, flow_i2v, flow_v2i, alignment)


def _estimate_flow(
    source: Tensor, target: Tensor, key_index: int, estimator: FlowEstimator
) -> Tensor:
    pairs = zip(source.split(PAIRS_PER_BATCH), target.split(PAIRS_PER_BATCH), strict=True)
    flow = torch.cat([estimator(*pair) for pair in pairs])
    flow[key_index] = 0
    return flow


def label_settings(
    depth_estimator: DepthEstimator,
    flow_estimator: FlowEstimator,
    grid: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """What labels depend on besides their clip: stored in each shard, and part of its name."""
    return {
        "depth": depth_estimator.settings(),
        "flow": flow_estimator.settings(),
        "grid": None if grid is None else list(grid),
    }


def missing_clips(clips: Iterable[Clip], *stores: LabelStore) -> list[Clip]:
    """Those that no store has labels of or knows to be unreadable, each once."""

    def settled(clip: Clip) -> bool:
        return any(clip in store or clip.key in store.failed for store in stores)

    return [clip for clip in dict.fromkeys(clips) if not settled(clip)]


def precompute_labels(
    clips: Iterable[Clip],
    directory: str | Path,
    depth_estimator: DepthEstimator,
    flow_estimator: FlowEstimator,
    rank: int = 0,
    world_size: int = 1,
    shard_size: int = SHARD_SIZE,
    grid: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
    known: LabelStore | None = None,
) -> dict[str, str]:
    """Labels the clips that `directory` has no labels of yet, shard by shard, with a progress bar.

    Which clip goes to which shard and rank follows from the set of clips alone, so ranks need not
    talk. What is finished when a run is killed is kept; the next run removes what else it left. A
    clip that cannot be read is recorded in its shard and not tried again; one warning at the end
    lists all of them. A shard that is damaged is made again. One line says so if these clips have
    labels that other settings made.

    Args:
        clips: what to label.
        directory: folder of shards, made if missing; its neighbours are those of other settings.
        depth_estimator: gives the depth.
        flow_estimator: gives the flows.
        rank: which share of the shards to make.
        world_size: number of shares.
        shard_size: most clips in a shard.
        grid: `(h, w)` to store labels at; each clip's own size by default.
        device: where the estimators run.
        known: labels that stand elsewhere, such as exact ones: their clips are passed over.

    Returns:
        Reason by clip key for those of this rank's clips that could not be labelled.

    Raises:
        UserError: a shard cannot be written, or is of another format version.
    """
    directory = Path(directory)
    maker = _LabelMaker(depth_estimator.to(device), flow_estimator.to(device), grid, device)
    remove_leftovers(directory)
    done = labelled_clips(directory, maker.settings)
    shards = deal_clips(clips, shard_size)[rank::world_size]
    own = {clip.key for shard in shards for clip in shard}
    failed = {key: reason for key, reason in done.failed.items() if key in own}
    stores = [] if known is None else [known]
    missing = [
        [clip for clip in missing_clips(shard, *stores) if clip not in done] for shard in shards
    ]
    if not done.keys:
        _warn_of_other_labels(directory, maker.settings, missing)
    with tqdm(total=sum(map(len, missing)), desc="labelling clips", unit="clip", delay=2) as bar:
        for shard in filter(None, missing):
            failed |= maker.make_shard(shard, directory, bar)
    if failed:
        reasons = "\n".join(sorted(failed.values()))
        _logger.warning("%d clips could not be labelled:\n%s", len(failed), reasons)
    return failed


def _warn_of_other_labels(
    directory: Path, settings: dict[str, Any], shards: Iterable[Sequence[Clip]]
) -> None:
    others = labelled_otherwise(directory, settings, (clip for shard in shards for clip in shard))
    if others is not None:
        _logger.warning("%s: %s; making new labels", directory, others)


@dataclass(frozen=True)
class _LabelMaker:
    """Reads clips, labels them and writes shards."""

    depth_estimator: DepthEstimator
    flow_estimator: FlowEstimator
    grid: tuple[int, int] | None
    device: torch.device | str

    @property
    def settings(self) -> dict[str, Any]:
        return label_settings(self.depth_estimator, self.flow_estimator, self.grid)

    def make_shard(self, rows: Sequence[Clip], directory: Path, bar: tqdm[Any]) -> dict[str, str]:
        """Writes one shard and gives back the clips that failed."""
        labels: dict[Clip, ClipLabels] = {}
        failed: dict[str, str] = {}
        for clip in rows:
            try:
                labels[clip] = self._label(clip)
            except VideoError as error:
                failed[clip.key] = str(error)
            bar.update()
        path = directory / self._name(rows)
        write_shard(path, list(labels), list(labels.values()), self.settings, failed)
        return failed

    def _label(self, clip: Clip) -> ClipLabels:
        video = read_clip(clip).to(self.device)
        teachers = self.depth_estimator, self.flow_estimator
        labels = label_clip(video, clip.key_index, *teachers, self.grid)
        stored = labels.stored()
        tensors = [getattr(stored, each.name).cpu() for each in fields(ClipLabels)]
        if not all(tensor.isfinite().all() for tensor in tensors):
            raise VideoError(f"{clip.video}: its labels are not finite in float16; remove it")
        return ClipLabels(*tensors)

    def _name(self, rows: Sequence[Clip]) -> str:
        content = json.dumps([self.settings, [clip.key for clip in rows]], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16] + SUFFIX


@dataclass(frozen=True)
class LabelStatistics:
    """Standard deviations of normalised labels on a motion grid.

    Their inverses are the fixed factors that bring each channel group near unit variance.

    Attributes:
        depth_std: of depth in [-1, 1] (MoVideo Eq. 7); 1 if all depth is flat.
        flow_std: of both flows, longest vector 1 (MoVideo Eq. 8, 9); 1 if nothing moves.
    """

    depth_std: float
    flow_std: float


def label_statistics(labels: Iterable[ClipLabels], grid: tuple[int, int]) -> LabelStatistics:
    """Measures labels as stage 1 sees them: brought to the motion grid, then normalised.

    Args:
        labels: of the training clips; read one at a time.
        grid: `(h, w)` of the motion grid.

    Raises:
        UserError: there are no labels.
    """
    depth_moments = torch.zeros(3, dtype=torch.float64)
    flow_moments = torch.zeros(3, dtype=torch.float64)
    for clip in labels:
        flows = resize_flow(clip.flow_i2v, grid), resize_flow(clip.flow_v2i, grid)
        flow_i2v, flow_v2i, _ = normalize_flow(*flows)
        depth_moments += _moments(normalize_depth(resize(clip.aligned_depth, grid)))
        flow_moments += _moments(torch.stack([flow_i2v, flow_v2i]))
    if not depth_moments[0]:
        raise UserError("no labels to take statistics from; run `movideo precompute`")
    return LabelStatistics(_std(depth_moments), _std(flow_moments))


def _moments(values: Tensor) -> Tensor:
    """Count, sum and sum of squares."""
    values = values.double()
    return torch.stack([torch.tensor(float(values.numel())), values.sum(), values.square().sum()])


def _std(moments: Tensor) -> float:
    count, total, squares = moments.tolist()
    return math.sqrt(max(squares / count - (total / count) ** 2, 0.0)) or 1.0
