"""A whole model on disk: one folder a part, and `model_index.json`, which names their classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusers import ModelMixin
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import nn

from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.checkpoint import Checkpoint, describe, find_class
from movideo.hub.pretrained import (
    WEIGHTS_FOLDER,
    PretrainedModule,
    check_weight_folder,
    from_pretrained_strictly,
    read_config,
)
from movideo.hub.weight_files import LOADING_ERRORS, first_line
from movideo.storage.atomic import cannot_write, whole_file
from movideo.storage.paths import check_links

INDEX = "model_index.json"
CARD = "README.md"
STEPS = "num_inference_steps"
OPEN_CLIP = "open_clip_config.json"
# What a stage of each role gives a model: its attributes, and what a model calls them.
PARTS = {
    "motion": {
        "unet": "motion_unet",
        "noise_scheduler": "motion_scheduler",
        "motion_space": "motion_space",
        "image_encoder": "image_encoder",
        "key_frame": "key_frame",
        "flow_scale": "flow_scale",
    },
    "video": {
        "unet": "video_unet",
        "noise_scheduler": "video_scheduler",
        "motion_space": "motion_space",
        "image_encoder": "image_encoder",
        "autoencoder": "autoencoder",
        "condition_transform": "condition_transform",
        "motion_noise": "motion_noise",
        "visibility": "visibility",
    },
    "decoder": {
        "decoder": "decoder",
        "motion_space": "motion_space",
        "autoencoder": "autoencoder",
    },
}
# What models and checkpoints of earlier versions lack, and do without.
OPTIONAL = ("condition_transform", "flow_scale", "key_frame", "motion_noise", "visibility")
TRAINED = ("unet", "decoder", "flow_scale", "key_frame")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ["*.json", "*.safetensors", "*.md"]  # all that is taken from a hub: nothing to execute


def write_model(
    folder: str | Path, about: Mapping[str, Any], parts: Mapping[str, Any], card: str
) -> None:
    """Writes a folder for each part and a card, and `model_index.json` last: where it is, all is.

    Args:
        folder: where to; parts that are there already are replaced.
        about: what the index says besides its parts, such as `_class_name`.
        parts: each with `save_pretrained`.
        card: a page about the model.
    """
    folder = Path(folder)
    check_links(folder)  # what is there may be another's, and parts are written into it
    (folder / INDEX).unlink(missing_ok=True)
    index: dict[str, Any] = dict(about)
    for name, part in parts.items():
        save_part(part, folder / name)
        index[name] = [type(part).__module__, type(part).__qualname__]
    with whole_file(folder / CARD) as temporary:
        temporary.write_text(card, "utf-8")
    with whole_file(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def steps_entry(steps: tuple[int, int] | None) -> dict[str, Any]:
    """What the index says of steps of motion and of video, if anything."""
    return {} if steps is None else {STEPS: {"motion": steps[0], "video": steps[1]}}


def save_part(part: Any, folder: Path) -> None:
    """Writes a part into a folder of its own.

    Raises:
        UserError: there is no room, or it cannot be written for another reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.save_pretrained(folder)
        _forget_origin(folder / "config.json")
    except (OSError, SafetensorError) as error:
        raise cannot_write(folder, error) from error


def _forget_origin(config: Path) -> None:
    """Takes out where diffusers loaded a part from: a path of this machine, of no use elsewhere."""
    written = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    if written.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", "utf-8")


class ModelFolder:
    """What `write_model` wrote: a whole model, or one stage's share of it.

    Args:
        place: its folder, its id on the Hugging Face hub, or `embedded` for the small model that
            movideo brings along.
        revision: of the hub.

    Raises:
        UserError: there is no model.
    """

    def __init__(self, place: str | Path, revision: str | None = None) -> None:
        self.folder = _find(place, revision)
        if not (self.folder / INDEX).is_file():
            raise UserError(
                f"{place}: no model here ({INDEX} is missing); "
                f"make one with: movideo export --out {place}"
            )
        check_weight_folder(self.folder)
        self.index = read_config(self.folder, INDEX)

    def load(self, name: str) -> Any:
        """Builds one part with its weights.

        Raises:
            UserError: the model has no such part, or it cannot be loaded.
        """
        if name not in self.index:
            raise UserError(f"{self.folder / INDEX}: names no {name}; export the model again")
        folder, kind = self.folder / name, find_class(_class_path(self.index[name]))
        if not folder.is_dir():  # or a library might look for it on a hub
            raise UserError(f"{folder}: missing; export the model again")
        if issubclass(kind, PretrainedModule):
            if (folder / OPEN_CLIP).exists():  # may name weights anywhere, and the hub
                raise UserError(f"{folder / OPEN_CLIP}: not of a model; export the model again")
            return kind(str(folder))
        try:
            is_model = issubclass(kind, ModelMixin)
            return _load_model(kind, folder) if is_model else kind.from_pretrained(folder)
        except LOADING_ERRORS as error:
            raise UserError(
                f"{folder}: no {kind.__name__} could be loaded ({first_line(error)}); "
                "export the model again"
            ) from error

    def load_all(self, names: Iterable[str]) -> dict[str, Any]:
        """Builds parts, by name; leaves out those that models of earlier versions lack.

        Raises:
            UserError: the model has no such part, or it cannot be loaded.
        """
        there = (name for name in names if name in self.index or name not in OPTIONAL)
        return {name: self.load(name) for name in there}

    def card(self) -> str | None:
        """The page about it, if it has one."""
        path = self.folder / CARD
        return path.read_text("utf-8") if path.is_file() else None

    def default_steps(self) -> tuple[int, int] | None:
        """Denoising steps of motion and of video where none are asked for, if it says so.

        Raises:
            UserError: what it says are no two numbers of steps.
        """
        match self.index.get(STEPS):
            case None:
                return None
            case {"motion": int(motion), "video": int(video)} if min(motion, video) > 0:
                return motion, video
            case entry:
                raise UserError(
                    f"{self.folder / INDEX}: {STEPS} {entry}; give "
                    '{"motion": 16, "video": 4}, or others of 1 or more'
                )

    def roles(self) -> list[str]:
        """The roles whose share is here."""
        there = {*self.index, *OPTIONAL}
        return [role for role, parts in PARTS.items() if set(parts.values()) <= there]

    def checkpoint(self, role: str) -> Checkpoint:
        """A stage's share of the model, as if it came from a checkpoint of that stage.

        Raises:
            UserError: such a stage has no share in a model, or a part cannot be loaded.
        """
        if role not in PARTS:
            raise UserError(
                f"{self.folder}: a model has no weights of stages of role {role}; give a .ckpt file"
            )
        names = PARTS[role]
        loaded = self.load_all(names.values())
        parts = {own: loaded[name] for own, name in names.items() if name in loaded}
        trained = {
            own: part
            for own, part in parts.items()
            if own in TRAINED and isinstance(part, nn.Module)
        }
        return Checkpoint(
            path=self.folder,
            stage=role,
            role=role,
            components={n: describe(part, frozen=n not in trained) for n, part in parts.items()},
            state={
                f"{own}.{key}": value
                for own, part in trained.items()
                for key, value in part.state_dict().items()
            },
            ema={},
            step=0,
        )


def is_checkpoint(place: str | Path) -> bool:
    """Whether it is a file of a stage, or meant to be one, and not a model."""
    return Path(place).is_file() or Path(place).suffix == ".ckpt"


def starting_point(place: str | Path, role: str) -> Checkpoint:
    """The weights of a stage, for another run to start from or to use.

    Args:
        place: a checkpoint of a stage of that role, or a model: see `ModelFolder`.
        role: `motion`, `video`, `decoder`, or what a stage of somebody else's says.

    Raises:
        UserError: it is none of these, or of another role.
    """
    if is_checkpoint(place):
        return Checkpoint.read(place, role)
    return ModelFolder(place).checkpoint(role)


def _find(place: str | Path, revision: str | None) -> Path:
    if str(place) == EMBEDDED:
        return WEIGHTS_FOLDER
    if Path(place).exists() or not _HUB_ID.fullmatch(str(place)):
        return Path(place)
    try:
        found = snapshot_download(str(place), revision=revision, allow_patterns=_FILES)
    except LOADING_ERRORS as error:
        raise UserError(
            f"{place}: no model here ({INDEX} is missing), and none could be had from the hub "
            f"({first_line(error)}); name a folder or a hub id"
        ) from error
    return Path(found)


def _class_path(entry: Any) -> str:
    """`["module", "Class"]` of the index as one name."""
    return ".".join(entry) if isinstance(entry, list) and len(entry) == 2 else str(entry)


def _load_model(kind: Any, folder: Path) -> Any:
    if not any(folder.glob("*.safetensors")):  # diffusers would fall back to a pickle
        raise ValueError("no .safetensors file in it, and nothing else is read")
    return from_pretrained_strictly(kind, str(folder))
