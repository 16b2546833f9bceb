"""Stage checkpoints into one model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from movideo.checkpoint import Checkpoint
from movideo.errors import UserError
from movideo.pipeline import MoVideoPipeline

NEEDED = ("DepthFlowDiffusion", "LatentVideoDiffusion")
DECODER = "FlowDecoderGAN"


def build_pipeline(checkpoints: Sequence[str | Path]) -> MoVideoPipeline:
    """Puts the stages together, with averaged weights.

    Args:
        checkpoints: of stages 1 and 2, and of stage 3 for another decoder than the autoencoder's
            own; in any order.

    Raises:
        UserError: a stage is missing or there twice, or the stages were trained over different
            frozen parts.
    """
    stages: dict[str, Checkpoint] = {}
    for path in checkpoints:
        checkpoint = Checkpoint.read(path)
        if checkpoint.stage in stages:
            raise UserError(
                f"{path}: a second checkpoint of {checkpoint.stage}; give one of each stage"
            )
        stages[checkpoint.stage] = checkpoint
    for name in NEEDED:
        if name not in stages:
            raise UserError(
                f"checkpoints: none of {name} among {', '.join(map(str, checkpoints))}; "
                "add its .ckpt file"
            )
    motion, video = (stages[name] for name in NEEDED)
    decoder = stages.get(DECODER)
    _check_same(motion, video, "image_encoder")
    _check_grid(motion, video)
    if decoder is not None:
        _check_same(video, decoder, "autoencoder")
        _check_grid(motion, decoder)
    return MoVideoPipeline(
        autoencoder=video.component("autoencoder"),
        image_encoder=video.component("image_encoder"),
        motion_unet=motion.component("unet"),
        motion_scheduler=motion.component("noise_scheduler"),
        motion_space=motion.component("motion_space"),
        video_unet=video.component("unet"),
        video_scheduler=video.component("noise_scheduler"),
        decoder=None if decoder is None else decoder.component("decoder"),
    )


def export(checkpoints: Sequence[str | Path], folder: str | Path) -> None:
    """Writes a model folder; from one checkpoint alone, a folder for each part that it trained.

    Raises:
        UserError: a checkpoint cannot be used.
    """
    if len(checkpoints) > 1:
        build_pipeline(checkpoints).save_pretrained(folder)
        return
    checkpoint = Checkpoint.read(checkpoints[0])
    for name, described in checkpoint.components.items():
        if "pretrained" not in described and any(
            key.startswith(f"{name}.") for key in checkpoint.state
        ):
            checkpoint.component(name).save_pretrained(Path(folder) / name)


def _check_grid(motion: Checkpoint, user: Checkpoint) -> None:
    made, known = (
        list(stage.components["motion_space"]["config"]["grid"]) for stage in (motion, user)
    )
    if made != known:
        raise UserError(
            f"{user.path}: trained for motion on a grid of {known}, but {motion.path} makes it on "
            f"{made}; train both with one --model.motion_grid"
        )


def _check_same(first: Checkpoint, second: Checkpoint, part: str) -> None:
    if first.components[part]["fingerprint"] != second.components[part]["fingerprint"]:
        raise UserError(
            f"{second.path}: trained over another {part} than {first.path}; "
            "train both over the same one"
        )
