"""How far things move: the scale of generated motion, predicted and refined, beside what it is.

python -m benchmarks.motion_scale STAGE_1 [--model MODEL]

On readable scenes that move by more than 4 cells of the motion grid: relative error of the scale
that the chain ends at, of the draw that stage 1 was told, of the law of time alone, and of Eq. 10
alone on the same samples; and what becomes of all that where generated depth stands still. With a
model also the motion in its decoded videos, found by a flow estimator, over the frame rate.
"""

import argparse
from datetime import date
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.stage_one import SEED, sampled_motion, with_stage_one
from movideo.clips.batch import reach
from movideo.estimators import DISFlow
from movideo.metrics.bootstrap import percentile_interval, resample
from movideo.motion.scale import PredictedFlowScale
from movideo.motion.space import Motion, MotionSpace
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene

LEAST = 4.0  # cells: below, Eq. 10 says nothing
RATES = (3, 5, 8, 15, 30)


class Recorder:
    """A motion space that keeps what it was last asked to decode."""

    def __init__(self, space: MotionSpace) -> None:
        self.space = space
        self.asked: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.space, name)

    def decode(self, *arguments: Any) -> Motion:
        """As the space does."""
        self.asked = arguments
        return self.space.decode(*arguments)


def scales(pipeline: MoVideoPipeline, scenes: int, steps: int) -> dict[str, Tensor]:
    """Logarithms of what each way says of each scene's scale, and of the truth."""
    space, predictor = pipeline.motion_space, pipeline.flow_scale
    assert isinstance(predictor, PredictedFlowScale)
    recorder = Recorder(space)
    pipeline.register_modules(motion_space=recorder)
    found: dict[str, list[float]] = {}
    settings = SceneSettings(scenes, SEED, readable=1.0)
    for index in tqdm(range(scenes), desc="readable scenes"):
        scene = settings.render(index)
        true = space.log_scale(scene.flow_i2v[None], scene.flow_v2i[None])
        if float(true.exp()) * max(space.grid) <= LEAST:
            continue
        sampled_motion(pipeline, scene, 1, index, steps)
        sample, key, _, bounds = recorder.asked
        intercept, slope, _ = predictor.law.tolist()
        seconds = reach(key, len(scene.video), torch.tensor([float(scene.fps)]))
        still = sample.clone()
        still[:, :, :1] = sample[:, key[0], :1][:, None]
        values = {
            "the truth": float(true),
            "the chain: drawn, then refined": _refined(space, sample, key, bounds),
            "the middle of the component drawn": float(sum(bounds)) / 2,
            "the law of time alone": intercept + slope * float(seconds.log()),
            "Eq. 10 alone": _refined(space, sample, key, None),
            "static depth, the chain": _refined(space, still, key, bounds),
            "static depth, Eq. 10 alone": _refined(space, still, key, None),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    pipeline.register_modules(motion_space=space)
    return {name: torch.tensor(values) for name, values in found.items()}


def _refined(
    space: MotionSpace, sample: Tensor, key: Tensor, bounds: tuple[Tensor, Tensor] | None
) -> float:
    scale = space.flow_scale(space.split(sample, key), key, bounds)
    return float((scale / max(sample.shape[-2:])).log())


def print_scales(found: dict[str, Tensor]) -> None:
    """Errors of each way, and of the chain beside each, paired."""
    true = found.pop("the truth")
    chain = next(iter(found.values()))
    law = found["the law of time alone"]
    print(
        "| scale | median found over true | median error | chain's less this, of mean log error |"
    )
    print("| --- | ---: | ---: | ---: |")
    for name, values in found.items():
        ratio = (values - true).exp()
        less = (chain - true).abs() - (values - true).abs()
        low, high = percentile_interval(
            lambda g, less=less: less[resample(len(less), g)].mean(), 0.95, 2000, seed=0
        )
        print(
            f"| {name} | {ratio.median():.2f} | {(ratio - 1).abs().median():.1%} "
            f"| {less.mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    residuals = torch.stack([chain - law, true - law])
    print(
        f"\nResiduals from the law of time, the chain's against the truth's: correlation "
        f"{torch.corrcoef(residuals)[0, 1]:.2f}, {len(true)} scenes."
    )


def motion_in_videos(
    motion_of: MoVideoPipeline, video_of: MoVideoPipeline, scenes: int, steps: int
) -> None:
    """Length of the flow between neighbouring frames of decoded videos, over the frame rate."""
    estimator, settings = DISFlow(), SceneSettings(scenes, SEED, readable=1.0)
    lengths = torch.zeros(scenes, len(RATES))
    for index in tqdm(range(scenes), desc="videos"):
        scene = settings.render(index)
        for column, fps in enumerate(RATES):
            motion = sampled_motion(motion_of, scene, 1, index, steps, fps=fps)
            lengths[index, column] = _length(video_of, scene, motion, fps, estimator)
    logs, rates = lengths.log().mean(0), torch.tensor(RATES).float().log()
    centred = rates - rates.mean()
    slope = float((centred * (logs - logs.mean())).sum() / centred.square().sum())
    row = ", ".join(f"{fps} fps {value:.2f}" for fps, value in zip(RATES, logs.exp(), strict=True))
    print(f"\nPixels a frame in decoded videos, geometric means over {scenes} scenes: {row}.")
    print(f"Slope of their logarithm over that of the rate: {slope:.2f}.")


def _length(
    pipeline: MoVideoPipeline, scene: Scene, motion: Motion, fps: int, estimator: DISFlow
) -> Tensor:
    """A high quantile of the flow beside the key frame: that of what moves."""
    made = pipeline.generate(
        scene.video[scene.key_index][None],
        fps=float(fps),
        num_frames=len(scene.video),
        key_index=scene.key_index,
        motion=motion,
        generator=torch.Generator().manual_seed(0),
    ).video[0]
    near = made[scene.key_index - 2 : scene.key_index + 3]
    flow = estimator(near[:-1], near[1:])
    return torch.quantile(flow.norm(dim=1), 0.95).clamp(min=1e-3)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage_1", help="a checkpoint, or a model folder")
    parser.add_argument("--model", help="whose stages 2 and 3 make videos of its motion")
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--videos", type=int, default=12, help="scenes that videos are made of")
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    pipeline = with_stage_one(options.stage_1)
    print_scales(scales(pipeline, options.scenes, options.steps))
    if options.model:
        video = MoVideoPipeline.from_pretrained(options.model)
        motion_in_videos(pipeline, video, options.videos, options.steps)
    print(f"\n{options.scenes} readable scenes, frame rates 3 to 30; {date.today()}")


if __name__ == "__main__":
    main()
