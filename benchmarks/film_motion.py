"""Whether stage 1 knows how a film moves: the energy score of its samples on held-out shots.

python -m benchmarks.film_motion CHECKPOINT

Of several samples: their distance to what the labels say, less half of the distance among them. It
rewards those who spread as the truth does; the still's is its distance, and beside both stand as
many flows of training clips, which know how films move and nothing of the picture. Pairs of clips
are resampled by shot.
"""

import argparse
from collections.abc import Iterator
from datetime import date

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.stage_one import with_stage_one
from datamodules import VideoClipDataModule
from datamodules.settings import LabelSettings, SplitSettings
from movideo.clips.batch import ClipBatch, key_frames, to_clip_batch
from movideo.diffusion import sample_generator
from movideo.metrics.bootstrap import numbered, percentile_interval, resample_groups
from movideo.pipeline import MoVideoPipeline

TRAINED, UNSEEN = "weights/film", "weights/film_unseen"


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """Of several flows `(S, F, 2, H, W)` beside the true one `(F, 2, H, W)`, in pixels.

    The distance of two flows is the mean length of their difference. Lower is better.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        lengths: Tensor = (a - b).norm(dim=-3)
        return lengths.mean(dim=(-3, -2, -1))

    count = len(samples)
    among = distance(samples[:, None], samples[None]).sum() / max(count * (count - 1), 1)
    return distance(samples, truth).mean() - among / 2


def film(folder: str, per_shot: int, labels: bool = True) -> VideoClipDataModule:
    """The shots in a folder, all to test on, with labels or without."""
    data = VideoClipDataModule(
        videos=folder,
        clips_per_video=per_shot,
        batch_size=1,
        split=SplitSettings(val=0.0, test=1.0),
        labels=LabelSettings(enabled=labels),
        num_workers=0,
    )
    data.prepare_data()
    data.setup("test")
    return data


def clips(folder: str, per_shot: int, labels: bool = True) -> Iterator[ClipBatch]:
    """Every clip of them, one at a time."""
    yield from map(to_clip_batch, film(folder, per_shot, labels).test_dataloader())


def scores(
    pipeline: MoVideoPipeline, clip: ClipBatch, drawn: Tensor, steps: int
) -> tuple[float, float, float, float]:
    """Energy scores of stage 1, of the still, of drawn flows; and how far the truth moves."""
    truth, count = clip["flow_v2i"][0], len(drawn)
    motion = pipeline.generate_motion(
        key_frames(clip["video"], clip["key_index"]).expand(count, -1, -1, -1),
        fps=float(clip["fps"]),
        num_frames=len(truth),
        key_index=int(clip["key_index"]),
        num_inference_steps=steps,
        generator=[sample_generator(i, clip["name"][0]) for i in range(count)],
    )
    found = [motion.flow_v2i, torch.zeros_like(truth)[None], drawn]
    own, still, others = (float(energy_score(flows, truth)) for flows in found)
    return own, still, others, float(truth.norm(dim=1).mean())


def by_shot(differences: Tensor, shots: list[str]) -> tuple[float, float]:
    """The middle 95% of the mean of what clips of resampled shots have."""
    groups = numbered(shots)
    return percentile_interval(
        lambda generator: differences[resample_groups(groups, generator)].mean(), 0.95, 2000, seed=0
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="of stage 1, or a model folder")
    parser.add_argument("--trained", default=TRAINED, help="shots to draw flows from")
    parser.add_argument("--unseen", default=UNSEEN, help="shots to judge on")
    parser.add_argument("--clips_per_shot", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    pipeline = with_stage_one(options.checkpoint)
    known = torch.cat([clip["flow_v2i"] for clip in clips(options.trained, 1)])
    generator, values, shots = torch.Generator().manual_seed(0), [], []
    unseen = film(options.unseen, options.clips_per_shot)
    shot_of = unseen.sources_of_clips()
    for clip in tqdm(map(to_clip_batch, unseen.test_dataloader()), "clips", len(shot_of)):
        chosen = torch.randperm(len(known), generator=generator)[: options.samples]
        values.append(scores(pipeline, clip, known[chosen], options.steps))
        shots.append(shot_of[clip["name"][0]])
    own, still, others, moved = torch.tensor(values).T
    print("| energy score, px | mean | stage 1 less this, 95% by shot |\n| --- | ---: | ---: |")
    print(f"| {options.samples} samples of stage 1 | {own.mean():.3f} | |")
    for name, column in (("the still", still), ("flows of training clips", others)):
        low, high = by_shot(own - column, shots)
        difference = (own - column).mean()
        print(f"| {name} | {column.mean():.3f} | {difference:+.3f} ({low:+.3f} to {high:+.3f}) |")
    print(
        f"\n{len(own)} clips of {len(set(shots))} shots that move {moved.mean():.2f} pixels in the "
        f"mean; {date.today()}"
    )


if __name__ == "__main__":
    main()
