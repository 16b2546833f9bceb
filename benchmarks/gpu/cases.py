"""The cases, each of several variants; a variant gives figures by name."""

import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks import unet
from benchmarks.gpu.device import device, peak_gib, reset_peak, seconds
from benchmarks.gpu.scale import STAGES, Scale
from benchmarks.gpu.training import Clock, Counter, build_stage, random_batch, train
from movideo.diffusion import ClassifierFreeGuidance
from stages.compilation import Compile

Figures = dict[str, Any]
BF16 = "bf16-mixed"
CHECKPOINTING = "--model.unet.gradient_checkpointing"
# Both adversarial terms from the first step on.
GAN = ("--model.adversarial_2d.start_step=0", "--model.adversarial_3d.start_step=0")
TRAINED = {"stage1": "unet", "stage2": "unet", "stage3": "decoder"}
ROOT = Path(__file__).resolve().parents[2]


# --------------------------------------------------------------------------------------- training


def operations(scale: Scale, stage: str) -> Figures:
    """Floating point operations of a training step of one clip, nothing of it computed twice."""
    counter = Counter()
    built = build_stage(scale.configs[stage], _options(stage, checkpointing=False))
    train(built, random_batch(1, scale.frames, scale.side), 1, [counter], BF16)
    return {"TFLOP a clip": counter.mode.get_total_flops() / 1e12}


def training(
    scale: Scale,
    stage: str,
    batch: int,
    checkpointing: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
) -> Figures:
    """Time of a step, everything in it, and memory."""
    built = build_stage(scale.configs[stage], _options(stage, checkpointing))
    trained = TRAINED[stage]
    if channels_last:
        unet.channels_last(getattr(built, trained))
    clock = Clock()
    callbacks: list[L.Callback] = [clock]
    if compiled:
        callbacks.append(Compile([trained], backend=scale.compiler))
    clips = random_batch(batch, scale.frames, scale.side)
    peak = train(built, clips, scale.warm_up + scale.steps, callbacks, BF16)
    step = statistics.median(clock.seconds[scale.warm_up :])
    return {
        "clips a step": batch,
        "first step, s": clock.seconds[0],
        "step, s": step,
        "clips a second": batch / step,
        "peak, GiB": peak,
    }


def _options(stage: str, checkpointing: bool) -> tuple[str, ...]:
    return GAN if stage == "stage3" else (f"{CHECKPOINTING}={str(checkpointing).lower()}",)


def training_variants(scale: Scale, stage: str) -> dict[str, Callable[[], Figures]]:
    """What each switch does to a stage's step; compiling, which takes longest, comes last."""
    run = partial(training, scale, stage, scale.batches[stage])
    shipped = partial(training, scale, stage, scale.shipped_batches[stage])
    is_diffusion = stage != "stage3"
    recomputing = {"checkpointing": partial(run, checkpointing=True)} if is_diffusion else {}
    return {
        "operations": partial(operations, scale, stage),
        "plain": run,
        **recomputing,
        "channels last": partial(run, channels_last=True),
        "the config's batch": partial(shipped, checkpointing=is_diffusion),
        "compiled": partial(run, compiled=True),
    }


# ------------------------------------------------------------------------------------------ peers


def peer(scale: Scale, name: str) -> Figures:
    """One network alone: a forward pass, a training step with AdamW, memory."""
    reset_peak()
    with torch.device(device()):
        candidate = unet.build(scale.peers, [name])[name]
    optimizer = torch.optim.AdamW(candidate.network.parameters(), lr=1e-5)

    def step() -> None:
        with torch.autocast(device().type, torch.bfloat16):
            candidate.training()
        optimizer.step()

    def forward() -> None:
        with torch.autocast(device().type, torch.bfloat16):
            candidate.forward()

    rounds = scale.warm_up, scale.steps
    return {
        "parameters, M": candidate.parameters(),
        "forward, TFLOP": candidate.gigaflop() / 1000,
        "forward, s": seconds(forward, *rounds),
        "training step, s": seconds(step, *rounds),
        "peak, GiB": peak_gib(),
    }


# ------------------------------------------------------------------------- sampling and decoding


def sampling(scale: Scale, stage: str, guidance: float) -> Figures:
    """Motion, or video under given motion, of one clip in the default number of steps."""
    reset_peak()
    built: Any = build_stage(scale.configs[stage]).to(device()).eval()
    built.guidance = ClassifierFreeGuidance(guidance)
    return _inference(scale, built.generate)


def decoding(scale: Scale, decoder: str) -> Figures:
    """Latents to video along flow, one clip, all frames at once; encoding is in it."""
    reset_peak()
    built: Any = build_stage(scale.configs["stage3"], GAN).to(device()).eval()
    network = built.decoder if decoder == "flow-augmented" else built.baselines[decoder]
    return _inference(scale, lambda batch: built._decode_with(network, batch))


def _inference(scale: Scale, call: Callable[[Any], object]) -> Figures:
    batch = {
        name: value.to(device()) if isinstance(value, torch.Tensor) else value
        for name, value in random_batch(1, scale.frames, scale.side).items()
    }

    def run() -> None:
        with torch.no_grad(), torch.autocast(device().type, torch.bfloat16):
            call(batch)

    return {"a clip, s": seconds(run, 1, min(3, scale.steps)), "peak, GiB": peak_gib()}


# -------------------------------------------------------------------------------------- precision


def loss_curve(scale: Scale, precision: str, folder: Path) -> Figures:
    """Losses of stage 1 at the embedded size on scenes, one a step, from one seed."""
    name = f"loss-{precision}"
    command = [
        sys.executable, "-m", "movideo", "fit", "--config", "stage1.yaml", *scale.data,
        "--trainer.precision", precision, "--trainer.max_steps", str(scale.loss_steps),
        "--trainer.limit_val_batches", "0", "--trainer.log_every_n_steps", "1",
        "--trainer.enable_progress_bar", "false",
        "--trainer.logger", "lightning.pytorch.loggers.CSVLogger",
        "--trainer.logger.save_dir", "runs", "--trainer.logger.name", name,
        "--trainer.logger.version", "0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout.strip().splitlines()[-1])
    with next(folder.glob(f"runs/{name}/**/metrics.csv")).open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    last = losses[-20:]
    return {"steps": len(losses), "mean of the last 20": statistics.mean(last), "losses": losses}


def cases(scale: Scale, folder: Path) -> Mapping[str, Mapping[str, Callable[[], Figures]]]:
    """All variants of all cases, in the order in which they are most worth having."""
    folder = folder.resolve()
    return {
        **{stage: training_variants(scale, stage) for stage in STAGES},
        "peers": {
            name: partial(peer, scale, name)
            for name in (unet.OURS, unet.FLAT, unet.UNET3D, unet.SVD)
        },
        "sampling": {
            f"{stage}, guidance {guidance:g}": partial(sampling, scale, stage, guidance)
            for stage in ("stage1", "stage2")
            for guidance in (1.0, 2.0)
        },
        "decoding": {name: partial(decoding, scale, name) for name in ("flow-augmented", "2-D")},
        "precision": {
            precision: partial(loss_curve, scale, precision, folder)
            for precision in ("32-true", BF16)
        },
    }
