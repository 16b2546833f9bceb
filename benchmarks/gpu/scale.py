"""At what size all cases run: the paper's, or one that a CPU does in a minute."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.unet import Size


@dataclass(frozen=True)
class Scale:
    """Sizes of everything that is measured.

    Attributes:
        configs: of the stages, by name; shipped ones.
        frames: F of a clip.
        side: of a clip in pixels.
        batches: clips a step, by stage; what fits without gradient checkpointing.
        shipped_batches: those of the configs.
        peers: of the networks that are compared alone.
        warm_up: steps before time counts.
        steps: steps that count.
        compiler: torch's name of it.
        loss_steps: of the loss curves in bf16 and float32.
        data: options of the clips that these are trained on, at the embedded size.
    """

    configs: Mapping[str, str]
    frames: int
    side: int
    batches: Mapping[str, int]
    shipped_batches: Mapping[str, int]
    peers: Size
    warm_up: int
    steps: int
    compiler: str
    loss_steps: int
    data: tuple[str, ...]


STAGES = ("stage1", "stage2", "stage3")
PAPER = Scale(
    configs={stage: f"paper/{stage}.yaml" for stage in STAGES},
    frames=17,
    side=256,
    batches={"stage1": 4, "stage2": 4, "stage3": 1},
    shipped_batches={"stage1": 32, "stage2": 16, "stage3": 4},
    peers=Size(widths=(320, 640, 1280, 1280), head_dim=64, tokens=257, token_dim=1024),
    warm_up=3,
    steps=8,
    compiler="inductor",
    loss_steps=200,
    data=(),
)
TINY = Scale(
    configs={stage: f"{stage}.yaml" for stage in STAGES},
    frames=3,
    side=32,
    batches=dict.fromkeys(STAGES, 1),
    shipped_batches=dict.fromkeys(STAGES, 2),
    peers=Size(
        frames=3, side=8, widths=(32, 32, 32, 32), head_dim=16, tokens=3, token_dim=16
    ),
    warm_up=1,
    steps=1,
    compiler="eager",
    loss_steps=2,
    data=(
        "--data.scenes.count=8", "--data.scenes.num_frames=3", "--data.scenes.size=[32, 32]",
        "--data.num_frames=3", "--data.size=[32, 32]",
    ),
)  # fmt: skip
