"""What the stages trained, put together into one model folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import filterfalse
from pathlib import Path

import movideo
from movideo.checkpoint import Checkpoint
from movideo.errors import UserError
from movideo.model_card import model_card, read_training
from movideo.model_folder import OPTIONAL, PARTS, ModelFolder, is_checkpoint, write_model
from movideo.pipeline import MoVideoPipeline

NEEDED = ("DepthFlowDiffusion", "LatentVideoDiffusion")
DECODER = "FlowDecoderGAN"


def build_pipeline(checkpoints: Sequence[str | Path]) -> MoVideoPipeline:
    """Puts the stages together, with averaged weights.

    Args:
        checkpoints: of stages 1 and 2, and of stage 3 for another decoder than the autoencoder's
            own, in any order. Models may be among them: they give the stages that no checkpoint
            does.

    Raises:
        UserError: a stage is missing or there twice, or the stages were trained over different
            frozen parts.
    """
    stages = _read_stages(checkpoints)
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
    _check_space(motion, video)
    if decoder is not None:
        _check_same(video, decoder, "autoencoder")
        _check_grid(motion, decoder)
    pipeline = MoVideoPipeline(
        autoencoder=video.component("autoencoder"),
        image_encoder=video.component("image_encoder"),
        motion_unet=motion.component("unet"),
        motion_scheduler=motion.component("noise_scheduler"),
        motion_space=motion.component("motion_space"),
        video_unet=video.component("unet"),
        video_scheduler=video.component("noise_scheduler"),
        decoder=None if decoder is None else decoder.component("decoder"),
        condition_transform=(
            video.component("condition_transform")
            if "condition_transform" in video.components
            else None
        ),
    )
    used = [stage for stage in (motion, video, decoder) if stage is not None]
    pipeline.card = model_card(pipeline.components, [read_training(stage) for stage in used])
    return pipeline


def export(checkpoints: Sequence[str | Path], folder: str | Path) -> None:
    """Writes a model folder; from one checkpoint alone, that stage's share of one.

    A run of the same stage can start from a share; of stage 0 it is the bare `autoencoder`.

    Raises:
        UserError: a checkpoint cannot be used.
    """
    if not checkpoints:
        raise UserError("--checkpoints []: give one or more")
    if len(checkpoints) > 1 or not is_checkpoint(checkpoints[0]):
        build_pipeline(checkpoints).save_pretrained(folder)
        return
    checkpoint = Checkpoint.read(checkpoints[0])
    if checkpoint.stage in PARTS:
        names = PARTS[checkpoint.stage]
        parts = {
            name: checkpoint.component(own)
            for own, name in names.items()
            if own in checkpoint.components or name not in OPTIONAL
        }
        about = {"_class_name": checkpoint.stage, "_movideo_version": movideo.__version__}
        write_model(folder, about, parts, model_card(parts, [read_training(checkpoint)]))
        return
    for name, described in checkpoint.components.items():
        if "pretrained" not in described and any(
            key.startswith(f"{name}.") for key in checkpoint.state
        ):
            checkpoint.component(name).save_pretrained(Path(folder) / name)


def _read_stages(places: Sequence[str | Path]) -> dict[str, Checkpoint]:
    stages: dict[str, Checkpoint] = {}
    for path in filter(is_checkpoint, places):
        checkpoint = Checkpoint.read(path)
        if checkpoint.stage not in PARTS:
            raise UserError(
                f"{path}: of {checkpoint.stage}, which goes into no model; export it alone and "
                "train stages 2 and 3 with it: --model.autoencoder.pretrained"
            )
        if checkpoint.stage in stages:
            raise UserError(
                f"{path}: a second checkpoint of {checkpoint.stage}; give one of each stage"
            )
        stages[checkpoint.stage] = checkpoint
    for place in filterfalse(is_checkpoint, places):
        model = ModelFolder(place)
        for stage in model.stages():
            if stage not in stages:
                stages[stage] = model.checkpoint(stage)
    return stages


def _check_grid(motion: Checkpoint, user: Checkpoint) -> None:
    made, known = (
        list(stage.components["motion_space"]["config"]["grid"]) for stage in (motion, user)
    )
    if made != known:
        raise UserError(
            f"{user.path}: trained for motion on a grid of {known}, but {motion.path} makes it on "
            f"{made}; train both with one --model.motion_grid"
        )


def _check_space(motion: Checkpoint, video: Checkpoint) -> None:
    made, known = (
        stage.components["motion_space"]["class_path"].rpartition(".")[2]
        for stage in (motion, video)
    )
    if made != known:
        raise UserError(
            f"{video.path}: trained for motion of a {known}, but {motion.path} makes that of a "
            f"{made}; train both with one --model.motion_space"
        )


def _check_same(first: Checkpoint, second: Checkpoint, part: str) -> None:
    if first.components[part]["fingerprint"] != second.components[part]["fingerprint"]:
        raise UserError(
            f"{second.path}: trained over another {part} than {first.path}; "
            "train both over the same one"
        )
