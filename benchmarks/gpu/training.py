"""Stages of shipped configs with random weights, trained by Lightning on clips of noise."""

import time
from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from typing_extensions import override

from benchmarks.gpu.device import device, peak_gib, reset_peak, synchronize
from movideo.cli.configs import with_config_paths
from movideo.cli.doctor import doctor_parser
from movideo.cli.parser import UserArgumentParser
from movideo.clips.batch import ClipBatch
from movideo.hub import EMBEDDED
from movideo.models import Backbone, ImageEncoder, VideoAutoencoder
from movideo.motion.space import MotionSpace
from movideo.shards.labels import LabelStatistics, ScaleLaw
from stages.base import Stage

LARGE = (Backbone, ImageEncoder, VideoAutoencoder)
CLIP_VAL = 1.0  # as the configs have it


def build_stage(config: str, options: Iterable[str] = ()) -> Stage:
    """The stage of a config; weights that would have to be fetched are random.

    Args:
        config: a shipped one.
        options: as `movideo fit` takes them.
    """
    arguments = with_config_paths(["--config", config, *options])
    parsed = doctor_parser().parse_args(list(arguments))
    model = _random(parsed.as_dict()["model"])
    model["init_args"]["allow_random"] = True
    parser = UserArgumentParser()
    parser.add_subclass_arguments(L.LightningModule, "model")
    parser.add_instantiator(_on_device, nn.Module, subclasses=True)
    stage: Stage = parser.instantiate(parser.parse_object({"model": model})).model
    return stage


def _random(described: Any) -> Any:
    """The same description of parts without the names of weights, the embedded ones apart."""
    if isinstance(described, dict):
        return {
            name: None if name == "pretrained" and value != EMBEDDED else _random(value)
            for name, value in described.items()
        }
    return [_random(value) for value in described] if isinstance(described, list) else described


def _on_device(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Makes large networks where drawing their weights does not take minutes."""
    if not issubclass(kind, LARGE):
        return kind(*args, **kwargs)
    with torch.device(device()):
        return kind(*args, **kwargs)


def random_batch(count: int, frames: int, side: int) -> ClipBatch:
    """Clips of noise with labels on a quarter of their side."""
    random = torch.Generator().manual_seed(0)
    grid = side // 4
    flows = 2 * torch.randn(2, count, frames, 2, grid, grid, generator=random)
    key_index = torch.full((count,), frames // 2)
    flows[:, :, frames // 2] = 0
    return ClipBatch(
        video=torch.rand(count, frames, 3, side, side, generator=random) * 2 - 1,
        depth=torch.rand(count, frames, 1, grid, grid, generator=random),
        flow_i2v=flows[0],
        flow_v2i=flows[1],
        fps=torch.full((count,), 8.0),
        key_index=key_index,
        name=[f"clip {i}" for i in range(count)],
    )


class RandomClips(L.LightningDataModule):
    """One batch, again and again."""

    def __init__(self, batch: ClipBatch, steps: int) -> None:
        super().__init__()
        self.batches = [batch] * steps

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """As many batches as there are steps."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def label_statistics(self, space: MotionSpace) -> LabelStatistics:
        """Stage 1 asks for them."""
        return LabelStatistics(0.0, depth_std=1.0, flow_std=1.0, scale_law=ScaleLaw(-2.0, 1.0, 0.5))


class Clock(L.Callback):
    """Seconds of each step, its gradients and the optimiser's work included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.start = 0.0

    @override
    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        """Starts when the device has nothing left to do."""
        synchronize()
        self.start = time.perf_counter()

    @override
    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Stops when it has done the step."""
        synchronize()
        self.seconds.append(time.perf_counter() - self.start)


class Counter(L.Callback):
    """Floating point operations of all steps, as torch counts them: convolutions and products."""

    def __init__(self) -> None:
        self.mode = FlopCounterMode(display=False)

    @override
    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        """Counts from here."""
        self.mode.__enter__()

    @override
    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """To here."""
        self.mode.__exit__(None, None, None)


def train(
    stage: Stage, batch: ClipBatch, steps: int, callbacks: list[L.Callback], precision: str
) -> float:
    """Trains as `movideo fit` does, without a log; gives the peak of the device's memory in GiB."""
    reset_peak()
    trainer = L.Trainer(
        accelerator="gpu" if device().type == "cuda" else "cpu",
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,
        gradient_clip_val=CLIP_VAL if stage.automatic_optimization else None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(stage, datamodule=RandomClips(batch, steps))
    return peak_gib()
