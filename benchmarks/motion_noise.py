"""When motion drowns in noise: signal-to-noise ratios over the timesteps, for several shifts.

python -m benchmarks.motion_noise [--videos FOLDER]

Of the labels that stage 1 is trained on: of their lowest frequencies, which say where things go,
and of a single pixel.
"""

import argparse
from datetime import date

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from datamodules import VideoClipDataModule
from datamodules.video_clips import TRAIN
from movideo.diffusion.shifted_solver import shifted
from movideo.motion.space import MotionSpace, QuantileMotionSpace

SHIFTS = (1.0, 2.0, 4.0)
TIMESTEPS = (0, 50, 100, 200, 400, 600, 700, 800, 900, 950, 990)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", help="a folder; scenes by default")
    parser.add_argument("--data_dir", default="data", help="where their labels are")
    parser.add_argument("--clips", type=int, default=256, help="at most")
    options = parser.parse_args()
    data = VideoClipDataModule(options.videos, data_dir=options.data_dir)
    data.prepare_data()
    data.setup("fit")
    dataset = data._datasets[TRAIN]
    assert dataset.labels is not None
    space = QuantileMotionSpace()
    energies, frame_rates = [], []
    for clip in dataset.clips[: options.clips]:
        target = encoded(dataset.labels.get(clip), space)
        energies.append(float(band_energy(target)))
        frame_rates.append(clip.fps)
    energy = sum(energies) / len(energies)
    print(report(energy, shipped_levels()))
    rates = sorted(frame_rates)
    spread = f"{rates[0]:g} to {rates[-1]:g} (median {rates[len(rates) // 2]:g})"
    print(f"\n{len(energies)} clips, E = {energy:.0f}, frame rates {spread}; {date.today()}")


def encoded(labels: object, space: MotionSpace) -> Tensor:
    """A clip's labels as stage 1 is trained on them, `(1, F, 5, h, w)`."""
    fields = (getattr(labels, name)[None] for name in ("aligned_depth", "flow_i2v", "flow_v2i"))
    depth, flow_i2v, flow_v2i = (field.float() for field in fields)
    return space.encode(depth, flow_i2v, flow_v2i)


def shipped_levels() -> Tensor:
    """Noise levels of the shipped configs, before any shift."""
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        rescale_betas_zero_snr=True,
    )  # fmt: skip
    levels: Tensor = scheduler.alphas_cumprod
    return levels


def report(energy: float, levels: Tensor) -> str:
    """Both ratios at some timesteps, as Markdown.

    Args:
        energy: E, of `band_energy`.
        levels: share of the signal's variance at each timestep.
    """
    head = " | ".join(f"s = {s:g}: band | pixel" for s in SHIFTS)
    lines = [f"| t | {head} |", "| ---: |" + " ---: |" * 2 * len(SHIFTS)]
    for t in TIMESTEPS:
        cells = []
        for shift in SHIFTS:
            a = float(shifted(levels[t].double(), shift))
            cells += [f"{energy * a / (1 - a):.3g}", f"{a / (1 - a):.3g}"]
        lines.append(f"| {t} | {' | '.join(cells)} |")
    return "\n".join(lines)


def band_energy(target: Tensor) -> Tensor:
    """Mean square of the lowest band of standardised motion, one value a clip `(B,)`.

    The mean is taken off and the variance brought to one for each group of channels (depth, both
    flows together); then come the 2x2x2 lowest coefficients of the flow's orthonormal DCT-II over
    frames, rows and columns, the constant one included.

    Args:
        target: `(B, F, 5, h, w)`, of stage 1.
    """
    flow = target[:, :, 1:].double()
    flow = flow / flow.flatten(1).std(dim=1, correction=0).clamp(min=1e-12).reshape(-1, 1, 1, 1, 1)
    flow = flow - flow.mean(dim=(1, 2, 3, 4), keepdim=True)
    for dim in (1, 3, 4):
        basis = _lowest_cosines(flow.shape[dim]).to(flow)
        flow = torch.tensordot(flow.movedim(dim, -1), basis, dims=([-1], [1])).movedim(-1, dim)
    energy: Tensor = flow.square().mean(dim=(1, 2, 3, 4))
    return energy


def _lowest_cosines(length: int, count: int = 2) -> Tensor:
    """The first rows of the orthonormal DCT-II, `(count, length)`."""
    place = (torch.arange(length, dtype=torch.float64) + 0.5) * torch.pi / length
    rows = torch.stack([torch.cos(k * place) for k in range(min(count, length))])
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


if __name__ == "__main__":
    main()
