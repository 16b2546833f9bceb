"""A whole model on disk: one folder a part, and `model_index.json`, which names their classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from movideo.checkpoint import Checkpoint, describe, find_class
from movideo.errors import UserError
from movideo.models.pretrained import (
    EMBEDDED,
    LOADING_ERRORS,
    WEIGHTS_FOLDER,
    PretrainedModule,
    first_line,
    read_config,
)
from movideo.video.write import whole_file

INDEX = "model_index.json"
# Where a stage finds its parts in a model: those that it trains, and those that stay as they are.
TRAINED = {
    "DepthFlowDiffusion": {"unet": "motion_unet"},
    "LatentVideoDiffusion": {"unet": "video_unet"},
    "FlowDecoderGAN": {"decoder": "decoder"},
}
KEPT = {
    "DepthFlowDiffusion": ("image_encoder", "motion_space"),
    "LatentVideoDiffusion": ("image_encoder", "autoencoder"),
    "FlowDecoderGAN": ("autoencoder",),
}


def write_model(folder: str | Path, about: Mapping[str, str], parts: Mapping[str, Any]) -> None:
    """Writes a folder for each part, and `model_index.json` last: where it is, all is.

    Args:
        folder: where to; parts that are there already are replaced.
        about: what the index says besides its parts, such as `_class_name`.
        parts: each with `save_pretrained`.
    """
    folder = Path(folder)
    (folder / INDEX).unlink(missing_ok=True)
    index: dict[str, Any] = dict(about)
    for name, part in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        part.save_pretrained(folder / name)
        index[name] = [type(part).__module__, type(part).__qualname__]
    with whole_file(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=2) + "\n", "utf-8")


class ModelFolder:
    """What `write_model` wrote.

    Args:
        folder: its place, or `embedded` for the small model that movideo brings along.

    Raises:
        UserError: there is no model.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = WEIGHTS_FOLDER if str(folder) == EMBEDDED else Path(folder)
        if not (self.folder / INDEX).is_file():
            raise UserError(
                f"{folder}: no model here ({INDEX} is missing); "
                f"make one with: movideo export --out {folder}"
            )
        self.index = read_config(self.folder, INDEX)

    def load(self, name: str) -> Any:
        """Builds one part with its weights.

        Raises:
            UserError: the model has no such part, or it cannot be loaded.
        """
        if name not in self.index:
            raise UserError(f"{self.folder / INDEX}: names no {name}; export the model again")
        folder, kind = self.folder / name, find_class(".".join(self.index[name]))
        if issubclass(kind, PretrainedModule):
            return kind(str(folder))
        try:
            is_model = issubclass(kind, ModelMixin)
            return _load_model(kind, folder) if is_model else kind.from_pretrained(folder)
        except LOADING_ERRORS as error:
            raise UserError(
                f"{folder}: no {kind.__name__} could be loaded ({first_line(error)}); "
                "export the model again"
            ) from error

    def checkpoint(self, stage: str) -> Checkpoint:
        """A stage's share of the model, as if it came from a checkpoint of that stage.

        Raises:
            UserError: the stage has no share in a model, or a part cannot be loaded.
        """
        if stage not in TRAINED:
            raise UserError(f"{self.folder}: a model has no weights of {stage}; give a .ckpt file")
        trained = {own: self.load(name) for own, name in TRAINED[stage].items()}
        parts = {**trained, **{name: self.load(name) for name in KEPT[stage]}}
        return Checkpoint(
            path=self.folder,
            stage=stage,
            components={n: describe(part, frozen=n not in trained) for n, part in parts.items()},
            state={
                f"{own}.{key}": value
                for own, part in trained.items()
                for key, value in part.state_dict().items()
            },
            ema={},
            step=0,
        )


def starting_point(place: str | Path, stage: str) -> Checkpoint:
    """The weights that a run of a stage starts from.

    Args:
        place: a checkpoint of that stage, a model folder, or `embedded`.
        stage: the LightningModule's class name.

    Raises:
        UserError: it is none of these, or of another stage.
    """
    if str(place) == EMBEDDED or Path(place).is_dir():
        return ModelFolder(place).checkpoint(stage)
    return Checkpoint.read(place, stage)


def _load_model(kind: Any, folder: Path) -> Any:
    # The other way of loading needs accelerate.
    model, info = kind.from_pretrained(folder, low_cpu_mem_usage=False, output_loading_info=True)
    if info["missing_keys"]:  # diffusers would leave these random with a warning
        raise ValueError(f"{info['missing_keys'][0]} is missing")
    return model
