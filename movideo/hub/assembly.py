"""What the stages trained, put together into one model folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

import movideo
from movideo.errors import UserError
from movideo.hub.card import Training, model_card, read_training
from movideo.hub.checkpoint import Checkpoint
from movideo.hub.model_folder import (
    OPTIONAL,
    PARTS,
    ModelFolder,
    is_checkpoint,
    save_part,
    write_model,
)

NEEDED = ("motion", "video")


def assemble(checkpoints: Sequence[str | Path]) -> tuple[dict[str, Any], list[Training]]:
    """Puts the stages together, with averaged weights.

    Args:
        checkpoints: of stages 1 and 2, and of stage 3 for another decoder than the autoencoder's
            own, in any order. Models may be among them: they give the stages that no checkpoint
            does.

    Returns:
        The parts of a pipeline by name, and what is known of the runs that trained them.

    Raises:
        UserError: a stage is missing or there twice, or the stages were trained over different
            frozen parts.
    """
    stages = _read_stages(checkpoints)
    for role in NEEDED:
        if role not in stages:
            raise UserError(
                f"checkpoints: none of a {role} stage among {', '.join(map(str, checkpoints))}; "
                "add its .ckpt file"
            )
    motion, video = (stages[role] for role in NEEDED)
    decoder = stages.get("decoder")
    _check_same(motion, video, "image_encoder")
    _check_grid(motion, video)
    _check_space(motion, video)
    if decoder is not None:
        _check_same(video, decoder, "autoencoder")
        _check_grid(motion, decoder)
    used = [stage for stage in (motion, video, decoder) if stage is not None]
    parts: dict[str, Any] = {}
    for stage in used[::-1]:  # stage 1 says what space its motion is in
        parts |= _share(stage)
    return parts, [read_training(stage) for stage in used]


def write_share(place: str | Path, folder: str | Path) -> None:
    """Writes what a model gets from one stage, for another run of that stage to start from.

    Of stage 0 it is the bare `autoencoder`.

    Raises:
        UserError: the checkpoint cannot be used.
    """
    checkpoint = Checkpoint.read(place)
    if checkpoint.role in PARTS:
        parts = _share(checkpoint)
        about = {"_class_name": checkpoint.stage, "_movideo_version": movideo.__version__}
        write_model(folder, about, parts, model_card(parts, [read_training(checkpoint)]))
        return
    for name, described in checkpoint.components.items():
        if "pretrained" not in described and any(
            key.startswith(f"{name}.") for key in checkpoint.state
        ):
            save_part(checkpoint.component(name), Path(folder) / name)


def _share(checkpoint: Checkpoint) -> dict[str, Any]:
    """The parts that a stage gives a model, by what they are called there."""
    return {
        name: checkpoint.component(own)
        for own, name in PARTS[checkpoint.role].items()
        if own in checkpoint.components or name not in OPTIONAL
    }


def _read_stages(places: Sequence[str | Path]) -> dict[str, Checkpoint]:
    stages: dict[str, Checkpoint] = {}
    for path in filter(is_checkpoint, places):
        checkpoint = Checkpoint.read(path)
        if checkpoint.role not in PARTS:
            raise UserError(
                f"{path}: of {checkpoint.stage}, which goes into no model; export it alone and "
                "train stages 2 and 3 with it: --model.autoencoder.pretrained"
            )
        if checkpoint.role in stages:
            raise UserError(
                f"{path}: a second checkpoint of a {checkpoint.role} stage; give one of each"
            )
        stages[checkpoint.role] = checkpoint
    for place in filterfalse(is_checkpoint, places):
        model = ModelFolder(place)
        for role in model.roles():
            if role not in stages:
                stages[role] = model.checkpoint(role)
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
    made, known = (stage.class_path("motion_space") for stage in (motion, video))
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
