"""Files of weights, whoever made them: how they are read, told apart and refused.

Nothing in such a file is executed: safetensors, or torch's own format with `weights_only`.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_weight

LOADING_ERRORS = (OSError, RuntimeError, ValueError, KeyError, SafetensorError)
"""What the libraries raise for weights that are missing, broken or of another kind."""


def first_line(error: Exception) -> str:
    """Cuts an error of another library down to what fits in one line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def read_state_dict(pretrained: str, family: str) -> Mapping[str, Tensor]:
    """Reads weights in torchvision's format.

    Args:
        pretrained: a local `.pth`, `.pt` or `.safetensors` file, or the name of torchvision's own
            weights (`S3D_Weights.KINETICS400_V1`), which come from its hub or torch's cache of it.
        family: the names that fit (`S3D_Weights`).

    Raises:
        ValueError: it is none of these, its file is damaged or holds something else, or it is a
            name whose file is not here and `HF_HUB_OFFLINE` is set.
        OSError: the file is missing, or the hub cannot be reached.
    """
    suffix = Path(pretrained).suffix
    weights = torchvision_weights(pretrained) if pretrained.startswith(f"{family}.") else None
    state: object
    if weights is not None:
        state = _from_torchvision(weights)
    elif suffix == ".safetensors":
        state = load_safetensors(pretrained)
    elif suffix in (".pth", ".pt"):
        state = _load_torch(pretrained)
    else:
        raise ValueError("neither such a file nor such a name")
    if not isinstance(state, Mapping):
        raise ValueError("holds no state dict")
    return state


def load_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        ValueError: it is damaged, or another kind of file under that name.
        OSError: it is missing.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"no safetensors file, or not all of one: {first_line(error)}") from error
    return tensors


def torchvision_weights(name: str) -> WeightsEnum | None:
    """Torchvision's own weights of that name, such as `Raft_Large_Weights.C_T_SKHT_V2`, or None."""
    try:
        return get_weight(name) if "_Weights." in name else None
    except (ValueError, KeyError):  # no such network, no such weights of it
        return None


def cache_folder() -> Path:
    """Where torch keeps weights that it fetched; `TORCH_HOME` moves it."""
    return Path(torch.hub.get_dir(), "checkpoints")


def torch_cache_file(weights: WeightsEnum) -> Path:
    """Where torch keeps the file of torchvision's weights, there or not."""
    return cache_folder() / str(weights.url).rpartition("/")[2]


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


def _from_torchvision(weights: WeightsEnum) -> object:
    place = torch_cache_file(weights)
    # torch's hub does not know this switch; the other hubs' libraries obey it by themselves.
    if constants.HF_HUB_OFFLINE and not place.is_file():
        raise ValueError(f"{place} is missing, and HF_HUB_OFFLINE is set")
    return weights.get_state_dict(check_hash=True)


def _load_torch(path: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except (pickle.UnpicklingError, EOFError) as error:  # holds code, is garbage or empty
        raise ValueError("not a plain pickle of tensors") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(first_line(error).partition(". ")[0]) from error
