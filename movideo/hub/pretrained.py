"""What every wrapper of pretrained weights shares: where the embedded ones lie, how others load.

Each names its weights by one value, `pretrained`, and may name their architecture beside it: what
stands there can be built without the weights, so those that are found must agree with it.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn

from movideo.errors import UserError
from movideo.hub.weight_files import LOADING_ERRORS, first_line, load_safetensors
from movideo.storage.paths import check_links

"""The name that stands for the small weights in `movideo/weights/`."""

NOISE = "scheduler_config.json"
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


def check_weight_folder(folder: Path) -> None:
    """Refuses a folder of weights whose files lead out of it.

    Raises:
        UserError: names the link, or the index of shards, that does.
    """
    check_links(folder)
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        shards = read_config(index.parent, index.name).get("weight_map")
        for name in shards.values() if isinstance(shards, dict) else ():
            if Path(str(name)).name != name:
                raise UserError(f"{index}: names {name}, which is no file beside it; mend it")


def load_diffusers(
    kind: Any,
    pretrained: str,
    config: Mapping[str, Any] | None = None,
    subfolder: str | None = None,
    revision: str | None = None,
) -> Any:
    """Loads a network of diffusers, strictly and from safetensors alone.

    Args:
        kind: its class, such as `AutoencoderKL`.
        pretrained: a folder in diffusers' layout, a hub id, or one .safetensors file: the network
            alone or a whole Stable Diffusion, in diffusers' names or in the original ones.
        config: what its architecture is meant to be; a file says nothing of it, so there it must
            be given.
        subfolder: where it lies inside the folder or repository.
        revision: the hub revision.

    Raises:
        UserError: it is missing, incomplete, of another kind or another architecture.
    """
    where = f"{pretrained}/{subfolder}" if subfolder else pretrained
    try:
        if Path(pretrained).is_file():
            return _from_file(kind, Path(pretrained), config)
        if Path(pretrained).is_dir():
            check_weight_folder(Path(pretrained, subfolder or ""))
        model = from_pretrained_strictly(kind, pretrained, subfolder=subfolder, revision=revision)
    except (*LOADING_ERRORS, TypeError) as error:
        raise UserError(
            f"{where}: no {kind.__name__} could be loaded ({first_line(error)}); name a folder or "
            "hub id with its weights in safetensors (and `subfolder` if they lie in one), or one "
            ".safetensors file"
        ) from error
    if config is not None:
        with torch.device("meta"):
            wanted = kind.from_config(dict(config)).config
        check_architecture(where, dict(model.config), dict(wanted))
    return model


def published_noise(pretrained: str, revision: str | None = None) -> dict[str, Any]:
    """Settings of the scheduler that lies beside a pretrained network, in diffusers' layout.

    Args:
        pretrained: as for `load_diffusers`.
        revision: the hub revision; of a hub only what its cache holds is read.

    Returns:
        What `scheduler/scheduler_config.json` says; nothing where there is none.

    Raises:
        UserError: it is there and cannot be read.
    """
    folder = Path(pretrained)
    if not folder.exists():
        cached = try_to_load_from_cache(pretrained, f"scheduler/{NOISE}", revision=revision)
        folder = Path(cached).parents[1] if isinstance(cached, str) else folder
    if not (folder / "scheduler" / NOISE).is_file():
        return {}
    return read_config(folder / "scheduler", NOISE)


def from_pretrained_strictly(kind: Any, place: str, **options: Any) -> Any:
    """A network of diffusers with all of its weights and no other, from safetensors alone.

    Args:
        kind: its class.
        place: a folder or hub id.
        options: of `from_pretrained`.

    Raises:
        ValueError: a weight is missing, or is not the network's.
    """
    with quiet_diffusers():
        model, info = kind.from_pretrained(
            place,
            use_safetensors=True,
            low_cpu_mem_usage=False,  # the other way needs accelerate
            output_loading_info=True,
            **options,
        )
    # Diffusers would leave what is missing random, and the rest out, with a warning.
    for trouble in ("missing", "unexpected"):
        if keys := sorted(info[f"{trouble}_keys"]):
            raise ValueError(f"{keys[0]} is {trouble}")
    for tensor in (*model.parameters(), *model.buffers()):
        # Out of the file's mapping, where it lies on any byte: the last digits of a matrix product
        # depend on that, and a model shall give what the checkpoint gave it was exported from.
        tensor.data = tensor.data.clone()
    return model


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Within it diffusers logs nothing: what is wrong with weights is raised, in one line."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_architecture(where: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses weights of another architecture than the one that the config names.

    Args:
        where: the weights; named in the error.
        found: their architecture.
        wanted: the config's, every setting of it.

    Raises:
        UserError: they differ; names the first setting that does.
    """
    for name, value in wanted.items():
        # `sample_size` is what the weights were trained at: it builds nothing.
        if name.startswith("_") or name == "sample_size":
            continue
        if _plain(found.get(name)) != _plain(value):
            raise UserError(
                f"{where}: has {name} {found.get(name)}, but the config says {value}; "
                "mend the config, or name other weights"
            )


def _from_file(kind: Any, path: Path, config: Mapping[str, Any] | None) -> Any:
    if path.suffix != ".safetensors":
        raise ValueError("not a .safetensors file; nothing else is read")
    if config is None:
        raise ValueError("a single file does not say its architecture; give it in the config")

    class Strict(kind):
        """Diffusers would leave what is missing random without a word."""

        def load_state_dict(self, state: Mapping[str, Tensor], **_: Any) -> Any:
            return super().load_state_dict(state)

    model = kind.from_config(dict(config))
    with TemporaryDirectory() as folder:  # without a config at hand it would ask the hub
        model.save_config(folder)
        tensors = load_safetensors(path)
        try:
            loaded = Strict.from_single_file(tensors, config=folder, low_cpu_mem_usage=False)
        except Exception as error:  # of kinds of its own, and whatever renaming runs into
            raise ValueError(f"not all of its weights are there: {first_line(error)}") from error
    model.load_state_dict(loaded.state_dict())
    return model.eval()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


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
