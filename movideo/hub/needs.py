"""Which weights the parts of a config need, and where these lie, without asking any network.

A part says itself what it needs, as `weight_spec`; a part without one that has an argument
`pretrained` is taken at its word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache

from movideo.hub import EMBEDDED
from movideo.hub.pretrained import WEIGHTS_FOLDER
from movideo.hub.weight_files import cache_folder, torch_cache_file, torchvision_weights

SEE_PAGE = "see its page"
# Licence and bytes of what the shipped configs name, by repository.
KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("CreativeML OpenRAIL-M", 3_440_000_000),
    "stabilityai/sd-vae-ft-mse": ("MIT", 335_000_000),
    "depth-anything/Depth-Anything-V2-Small-hf": ("Apache-2.0", 99_000_000),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": ("MIT", 3_940_000_000),
}
DIFFUSERS_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
OPEN_CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors")
PIPELINE_FILES = ("model_index.json",)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class CachedFile:
    """A file that is looked for where torch keeps weights, unless an argument names another place.

    Attributes:
        name: of the file.
        fetch: where it comes from, in words.
        size: its bytes, where they are known.
        argument: that names another place.
        unless: an argument with which the file is not needed.
    """

    name: str
    fetch: str
    size: int | None = None
    argument: str = "path"
    unless: str | None = None


@dataclass(frozen=True)
class WeightSpec:
    """What a part needs on disk: its class attribute `weight_spec`.

    Attributes:
        files: of a folder or repository that its argument `pretrained` names.
        own_files: of a folder that its own `save_pretrained` wrote, where they differ.
        embedded: its folder among the weights that come along, where `embedded` is a name.
        is_open_clip: whether `pretrained` is a name as open_clip has them.
        cached: a file that it looks for by itself.
        checkpoints: arguments that name checkpoints or models, and the command that makes one.
    """

    files: tuple[str, ...] = ()
    own_files: tuple[str, ...] = ()
    embedded: str | None = None
    is_open_clip: bool = False
    cached: CachedFile | None = None
    checkpoints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where weights were looked for.

    Attributes:
        where: the file or folder.
        present: whether all of it is there.
        fetch: the command that brings it, or what to do.
        licence: as far as known here.
        size: bytes on disk, or where it is missing those that it is known to have; else None.
    """

    where: str
    present: bool
    fetch: str
    licence: str = SEE_PAGE
    size: int | None = None


@dataclass(frozen=True)
class Need:
    """Weights that a config names.

    Attributes:
        option: where in the config, such as `model.unet`.
        name: the value that stands there.
        place: where they lie.
    """

    option: str
    name: str
    place: Place


def needed_weights(config: Mapping[str, Any], option: str = "") -> Iterator[Need]:
    """All weights that a parsed config names, in its order.

    Args:
        config: nested options; parts are `class_path` and `init_args`. The classes are imported,
            as they would be for a run.
        option: the dotted name of `config` itself.
    """
    arguments = config.get("init_args", {}) if "class_path" in config else config
    if not isinstance(arguments, Mapping):
        return
    spec = WeightSpec()
    if "class_path" in config:
        kind = _class(str(config["class_path"]))
        spec = getattr(kind, "weight_spec", spec)
        if arguments.get("pretrained"):
            yield Need(option, arguments["pretrained"], pretrained_place(spec, arguments))
        if spec.cached and not arguments.get(spec.cached.unless or ""):
            file = spec.cached
            path = Path(arguments.get(file.argument) or cache_folder() / file.name)
            fetch = f"put {file.name}, {file.fetch}, into {path.parent}"
            yield Need(f"{option} {kind.__name__}", file.name, _file(path, fetch, size=file.size))
    for name, value in arguments.items():
        inner = f"{option}.{name}".removeprefix(".")
        if value and name in spec.checkpoints:
            places = value if isinstance(value, Mapping) else {"": value}
            for row, place in places.items():
                found = _own_place(spec.checkpoints[name], str(place))
                yield Need(f"{inner} {row}".strip(), str(place), found)
        elif isinstance(value, Mapping):
            yield from needed_weights(value, inner)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, Mapping):
                    yield from needed_weights(part, inner)


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def pretrained_place(spec: WeightSpec, arguments: Mapping[str, Any]) -> Place:
    """Where a part finds its pretrained weights.

    Args:
        spec: what its class says.
        arguments: its arguments, `pretrained` among them.
    """
    name = str(arguments["pretrained"])
    subfolder, revision = arguments.get("subfolder"), arguments.get("revision")
    if name == EMBEDDED:
        return _embedded(WEIGHTS_FOLDER / (spec.embedded or ""))
    weights = torchvision_weights(name)
    if weights is not None:
        code = f"from torchvision.models import get_weight as w; w('{name}').get_state_dict()"
        bytes_ = int(weights.meta["_file_size"] * 2**20)
        return _file(torch_cache_file(weights), f'python -c "{code}"', size=bytes_)
    local = Path(name.removeprefix("local-dir:"))
    if local.exists() or name.startswith("local-dir:"):
        return _local(local / subfolder if subfolder else local, spec)
    if spec.is_open_clip:
        return _open_clip(name)
    if not _HUB_ID.fullmatch(name) or local.suffix in (".safetensors", ".pth", ".pt"):
        return Place(name, False, "put it there, or name another place")
    files = [f"{subfolder}/{file}" if subfolder else file for file in spec.files]
    place = _hub(name, files, revision)
    if spec.files == PIPELINE_FILES:  # a pipeline: its index says what else belongs to it
        return replace(place, fetch=place.fetch.replace(f" {PIPELINE_FILES[0]}", ""))
    return place


def _embedded(folder: Path) -> Place:
    size = _size(folder)
    return Place(str(folder), size > 0, "install movideo again", "Apache-2.0", size or None)


def _file(path: Path, fetch: str, licence: str = SEE_PAGE, size: int | None = None) -> Place:
    present = path.is_file()
    return Place(str(path), present, fetch, licence, path.stat().st_size if present else size)


def _local(path: Path, spec: WeightSpec) -> Place:
    if path.is_file():
        return _file(path, "")
    expected = spec.files
    if spec.own_files and not (path / expected[0]).is_file():
        expected = spec.own_files
    missing = [file for file in expected if not (path / file).is_file()]
    if not path.is_dir() or missing:
        lacking = f"put {', '.join(missing)} into it" if missing else "put it there"
        return Place(str(path), False, f"{lacking}, or name another place")
    return Place(str(path), True, "", size=_size(path))


def _open_clip(name: str) -> Place:
    import open_clip  # seconds to import

    if name.startswith("hf-hub:"):
        return _hub(name.removeprefix("hf-hub:"), list(OPEN_CLIP_FILES), None)
    model, _, tag = name.partition(":")
    settings = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    repository, _, file = str(settings.get("hf_hub", "")).rpartition("/")
    if repository:
        return _hub(repository, [file or OPEN_CLIP_FILES[1]], None)
    url = str(settings.get("url", ""))
    if not url:
        return Place(name, False, "no such open_clip MODEL:TAG, nor a file; name another")
    code = f"import open_clip as o; o.download_pretrained(o.get_pretrained_cfg('{model}', '{tag}'))"
    cache = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]
    return _file(cache, f'python -c "{code}"')


def _hub(repository: str, files: list[str], revision: str | None) -> Place:
    """Looks into the cache of huggingface_hub, nowhere else."""
    licence, size = KNOWN.get(repository, (SEE_PAGE, None))
    found = [try_to_load_from_cache(repository, file, revision=revision) for file in files]
    paths = [Path(path) for path in found if isinstance(path, str)]
    pin = f" --revision {revision}" if revision else ""
    fetch = " ".join(["hf download", repository, *files]) + pin
    folder = f"models--{repository.replace('/', '--')}"
    if files and len(paths) == len(files):
        total = sum(path.stat().st_size for path in paths)
        return Place(str(paths[-1].parent), True, fetch, licence, total)
    return Place(str(Path(constants.HF_HUB_CACHE) / folder), False, fetch, licence, size)


def _own_place(command: str, name: str) -> Place:
    if name == EMBEDDED:
        return _embedded(WEIGHTS_FOLDER)
    path = Path(name)
    size = _size(path)
    return Place(name, size > 0, f"make it: {command}", "yours", size or None)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
