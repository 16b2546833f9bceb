"""What the embedded weights are worth, and whether a change has cost some of it.

python -m benchmarks.quality [MODEL] [--baseline benchmarks/quality.json] [--write FILE]

On held-out readable scenes, each score beside what costs nothing: the autoencoder; the motion of
one sample of stage 1; stage 2 under true motion, beside the key frame warped and passed through the
same autoencoder; the whole chain, beside the key frame standing still. Where `make film` has been
run, the autoencoder and the chain on held-out shots as well. With a baseline every score is
compared clip by clip, and what is lower by more than its noise ends the command with 1.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.film_motion import UNSEEN, clips
from benchmarks.picture_to_motion import compare
from benchmarks.stage_one import SEED
from movideo.diffusion import sample_generator
from movideo.metrics import masked_psnr
from movideo.metrics.bootstrap import percentile_interval, resample
from movideo.motion.space import Motion
from movideo.ops import resize_flow, warp
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.scenes.render import Scene

BASELINE = Path(__file__).parent / "quality.json"
STEPS = (8, 3)  # of stage 1 and of stage 2: a first look
TOLERANCE = 0.01  # of any score: the arithmetic of another machine moves it by less
Steps = tuple[int, int]
Scores = dict[str, list[float]]  # by name, a value a clip; more is better


def of_scene(pipeline: MoVideoPipeline, scene: Scene, name: str, steps: Steps) -> dict[str, float]:
    """Of one scene with exact labels."""
    video, key = scene.video[None], scene.key_index
    image, fps = video[:, key], float(scene.fps)
    true = Motion(2 * scene.depth[None] - 1, scene.flow_i2v[None], scene.flow_v2i[None])
    warped = _reconstructed(pipeline, warp(image[:, None], true.flow_i2v))
    latent_warped = _decoded_along(pipeline, image, true)
    options: dict[str, Any] = {"fps": fps, "num_frames": video.shape[1], "key_index": key}
    options["num_inference_steps"] = steps
    drawn = pipeline.generate(image, generator=sample_generator(0, name), **options)
    guided = pipeline.generate(image, generator=sample_generator(0, name), motion=true, **options)
    told = compare(scene, drawn.motion)
    return {
        "autoencoder, dB": _psnr(_reconstructed(pipeline, video), video),
        "autoencoder: warped latent decoded, dB": _psnr(latent_warped, video, key),
        "autoencoder: warped frame through it, dB": _psnr(warped, video, key),
        "stage 1: cosine on moving shapes": told["cosine"],
        "stage 1: error there, a still's less it, px": told["a still's, px"]
        - told["end-point error, px"],
        "stage 1: shapes' depth in order": told["shapes' depth in order"],
        "stage 2 over warping, true motion, dB": _psnr(guided.video, video, key)
        - _psnr(warped, video, key),
        "stage 2 over the still, true motion, dB": over_the_still(guided.video, video, key),
        "chain over the still, dB": over_the_still(drawn.video, video, key),
    }


def of_film(pipeline: MoVideoPipeline, folder: str, steps: Steps) -> Iterator[dict[str, float]]:
    """Of held-out shots, whose labels are not asked for."""
    for clip in tqdm(list(clips(folder, 1, labels=False)), desc="shots"):
        video, key = clip["video"], int(clip["key_index"])
        image = video[:, key]
        drawn = pipeline.generate(
            image,
            fps=float(clip["fps"]),
            num_frames=video.shape[1],
            key_index=key,
            num_inference_steps=steps,
            generator=sample_generator(0, clip["name"][0]),
        )
        yield {
            "film: autoencoder, dB": _psnr(_reconstructed(pipeline, video), video),
            "film: chain over the still, dB": over_the_still(drawn.video, video, key),
        }


def _reconstructed(pipeline: MoVideoPipeline, video: Tensor) -> Tensor:
    autoencoder = pipeline.autoencoder
    decoded: Tensor = autoencoder.decode(autoencoder.encode(video)).clamp(-1, 1)
    return decoded


def _decoded_along(pipeline: MoVideoPipeline, image: Tensor, motion: Motion) -> Tensor:
    """What the key frame's latent gives along the flow (Eq. 12), occluded or not."""
    latent = pipeline.autoencoder.encode(image[:, None])
    flow = resize_flow(motion.flow_i2v, (latent.shape[-2], latent.shape[-1]))
    decoded: Tensor = pipeline.autoencoder.decode(warp(latent, flow)).clamp(-1, 1)
    return decoded


def _psnr(found: Tensor, true: Tensor, key: int | None = None) -> float:
    """Of all frames, or of all but the key frame, which is given."""
    kept = [frame for frame in range(true.shape[1]) if frame != key]
    return float(masked_psnr(found[:, kept], true[:, kept]))


def over_the_still(video: Tensor, truth: Tensor, key: int) -> float:
    """PSNR of a video `(1, F, 3, H, W)` less that of the true key frame standing still, in dB."""
    still = truth[:, [key]].expand_as(truth)
    return _psnr(video, truth, key) - _psnr(still, truth, key)


@torch.no_grad()
def measure(
    pipeline: MoVideoPipeline, scenes: int, film: str | None, steps: Steps = STEPS
) -> Scores:
    """Every score of every clip."""
    found: Scores = {}
    settings = SceneSettings(scenes, SEED, readable=1.0)
    for index in tqdm(range(scenes), desc="scenes"):
        for name, value in of_scene(pipeline, settings.render(index), str(index), steps).items():
            found.setdefault(name, []).append(round(value, 4))
    for scores in of_film(pipeline, film, steps) if film is not None else ():
        for name, value in scores.items():
            found.setdefault(name, []).append(round(value, 4))
    return found


def drop(found: list[float], before: list[float]) -> tuple[float, float]:
    """How much lower clips score than they did, and the upper end of its middle 95%.

    Both are of the clips that there are twice and that had a score: without one now, it is minus
    infinity. A score counts as lower where the end is below minus `TOLERANCE`.
    """
    pairs = [pair for pair in zip(found, before, strict=False) if not math.isnan(pair[1])]
    change = torch.tensor([now - then for now, then in pairs], dtype=torch.float64)
    if not change.isfinite().all():
        return -math.inf, -math.inf
    high = percentile_interval(
        lambda g: change[resample(len(change), g)].mean(), 0.95, 2000, seed=0
    )[1]
    return float(change.mean()), high


def main() -> None:
    """Prints the table; ends with 1 where a score has dropped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--film", default=UNSEEN, help="left out where it is not there")
    parser.add_argument(
        "--steps", type=int, nargs=2, default=STEPS, help="of stage 1 and of stage 2"
    )
    parser.add_argument("--baseline", type=Path, help="what an earlier run wrote")
    parser.add_argument("--write", type=Path, help="where to write every score of every clip")
    options = parser.parse_args()
    pipeline = MoVideoPipeline.from_pretrained(options.model)
    film = options.film if any(Path(options.film).glob("*.mp4")) else None
    found = measure(pipeline, options.scenes, film, tuple(options.steps))
    before: Scores = json.loads(options.baseline.read_text("utf-8")) if options.baseline else {}
    print(f"| {options.model} | mean | clips | change |\n| --- | ---: | ---: | ---: |")
    worse = []
    for name, values in found.items():
        table, change = torch.tensor(values), ""
        if name in before:
            mean, high = drop(values, before[name])
            change = f"{mean:+.3f}"
            worse += [name] if high < -TOLERANCE else []
        print(f"| {name} | {table.nanmean():.3f} | {len(values)} | {change} |")
    for name in before.keys() - found.keys():
        print(f"| {name} | not measured | 0 | |")
    print(f"\n{date.today()}")
    if options.write:
        options.write.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if worse:
        sys.exit(f"lower than in {options.baseline}: {'; '.join(worse)}")


if __name__ == "__main__":
    main()
