"""What every wrapper of pretrained weights shares: where the embedded ones lie, and their hash."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from movideo.errors import UserError

LOADING_ERRORS = (OSError, RuntimeError, ValueError, KeyError, SafetensorError)
"""What the libraries raise for weights that are missing, broken or of another kind."""

EMBEDDED = "embedded"
"""The name that stands for the small weights in `movideo/weights/`."""

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"


def embedded_folder(name: str) -> Path:
    """Finds one part of the embedded weights.

    Args:
        name: The part's folder, such as `autoencoder`.

    Returns:
        The folder, which holds at least a `config.json`.

    Raises:
        UserError: The part has not been made on this machine.
    """
    folder = WEIGHTS_FOLDER / name
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: the embedded {name} is missing; make it with `make weights`, "
            "or name other weights with `pretrained`"
        )
    return folder


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Reads a JSON file of a weight folder, `config.json` by default.

    Raises:
        UserError: The file is missing or is not a JSON object.
    """
    path = folder / name
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"{path}: cannot be read ({reason}); name another folder") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: holds no JSON object; name another folder")
    return config


def fingerprint(module: nn.Module, settings: Mapping[str, Any] | None = None) -> str:
    """Hashes a module's weights, so that what was computed with them can name them.

    Args:
        module: Its state dict is hashed: names, types, shapes and bytes, in sorted order.
        settings: Numbers outside the state dict that change the output too; JSON values.

    Returns:
        A SHA-256 hex digest, the same on every device.
    """
    digest = hashlib.sha256(json.dumps(dict(settings or {}), sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # NumPy has no bfloat16: hash the raw bytes instead.
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    return digest.hexdigest()


class PretrainedModule(nn.Module):
    """A module that knows whether its weights came from anywhere.

    Attributes:
        source: The constructor's arguments that name the weights, `pretrained` among them.
        is_random: Whether the weights are a random initialisation. Loading a whole state dict, as
            a checkpoint does, ends it; training does not, for the module cannot see that.
    """

    source: dict[str, str | None]
    is_random: bool

    def __init__(self, **source: str | None) -> None:
        super().__init__()
        self.source = source
        self.is_random = source["pretrained"] is None
        self.register_load_state_dict_post_hook(_loaded)  # type: ignore[no-untyped-call]

    @property
    def config(self) -> dict[str, Any]:
        """What `type(self)(None, config)` needs to be built alike."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Hashes all that decides the output."""
        raise NotImplementedError


def _loaded(module: nn.Module, incompatible: Any) -> None:
    """Load-state-dict hook: nothing missing means nothing random is left."""
    if isinstance(module, PretrainedModule) and not incompatible.missing_keys:
        module.is_random = False


def first_line(error: Exception) -> str:
    """Cuts an error of another library down to what fits in one line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
