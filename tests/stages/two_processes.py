"""Ten steps of some stages on as many processes as asked, the global batches always the same.

python tests/stages/two_processes.py PROCESSES STAGES OUT

`d` among the stages is stage 3 with all its terms in double precision, where nothing but a mistake
could make a difference. In float32 the perceptual terms have a million kinks each, and a value that
rounding moves over one changes a gradient: there they are left out.
"""

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lightning as L
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, DistributedSampler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from movideo.metrics import PSNR, SSIM, RandomFeatureDistance
from stages import DepthFlowDiffusion, FlowDecoderGAN, LatentAutoencoder, LatentVideoDiffusion
from stages.guards import NonFiniteGuard
from tests.stages.parts import (
    ClipData,
    Clips,
    TrainingLosses,
    autoencoder,
    decoder_parts,
    motion_parts,
    trainer,
    video_parts,
)

STEPS, CLIPS, BATCH = 10, 8, 4
GAN_START = 2
BAD_STEP = 5


class Spoiler(L.Callback):
    """Makes a NaN in one clip of one step, wherever that clip is."""

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        if trainer.global_step == BAD_STEP and "clip-0-5" in batch["name"]:
            batch["video"][batch["name"].index("clip-0-5")] = torch.nan


class DealtClips(ClipData):
    """Batches dealt out to the ranks as the project's own data module does."""

    def __init__(self, rank, processes):
        super().__init__(CLIPS, BATCH // processes)
        self.sampler = DistributedSampler(Clips(CLIPS), processes, rank, shuffle=False)

    def train_dataloader(self):
        return DataLoader(Clips(CLIPS), self.batch_size, sampler=self.sampler)


@contextmanager
def in_double():
    """Losses compute in float32 at least; within this, what is double stays double."""
    shorten = torch.Tensor.float
    torch.Tensor.float = lambda x: x if x.dtype == torch.float64 else shorten(x)
    try:
        yield
    finally:
        torch.Tensor.float = shorten


def stage_of(number, processes=1):
    """Without warm-up; SGD, for Adam turns rounding of small gradients into whole steps."""

    def sgd(parameters):
        # A GAN enlarges rounding from step to step, the more the larger they are.
        return torch.optim.SGD(parameters, lr=1e-3 if number in "3d" else 0.05)

    options = {"optimizer": sgd, "lr_scheduler": lambda optimizer: LambdaLR(optimizer, lambda _: 1)}
    if number == "0":
        metrics = [PSNR(), SSIM(), RandomFeatureDistance(width=8)]
        return LatentAutoencoder(autoencoder(), metrics=metrics, **options)
    if number == "1":
        return DepthFlowDiffusion(**motion_parts(**options))
    if number == "2":
        return LatentVideoDiffusion(**video_parts(**options))
    if number == "3":
        options |= {"perceptual_2d": None, "perceptual_3d": None}
    return FlowDecoderGAN(
        **decoder_parts(
            GAN_START,
            discriminator_optimizer=sgd,
            gradient_clip_val=None,
            micro_batch_size=None if processes == 1 else 1,
            **options,
        )
    )


def train(number, processes, folder):
    """Loss of each global batch, how every parameter changed, and the average after it."""
    stage, losses, guard = stage_of(number, processes), TrainingLosses(), NonFiniteGuard()
    before = {name: p.detach().clone() for name, p in trained(stage).items()}
    runner = trainer(
        folder,
        STEPS,
        devices=processes,
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        callbacks=[losses, guard, Spoiler()],
        precision="64-true" if number == "d" else "32-true",
    )
    with in_double() if number == "d" else nullcontext():
        runner.fit(stage, DealtClips(runner.global_rank, processes))
    return {
        "losses": runner.strategy.reduce(
            torch.tensor(losses.values, dtype=torch.float64), reduce_op="mean"
        ),
        "changes": {name: p.detach() - before[name] for name, p in trained(stage).items()},
        "average": dict(stage.average.tensors) if stage.average else {},
        "skipped": guard.skipped,
        "rank": runner.global_rank,
    }


def trained(stage):
    return {name: p for name, p in stage.named_parameters() if p.requires_grad}


def main(processes: int, stages: str, out: Path) -> None:
    torch.set_num_threads(1)
    found = {number: train(number, processes, out.parent) for number in stages}
    if next(iter(found.values()))["rank"] == 0:
        torch.save(found, out)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
