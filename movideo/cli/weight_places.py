"""Where the weights that a config names lie, without asking any network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache

from movideo.hub.pretrained import EMBEDDED, WEIGHTS_FOLDER
from movideo.hub.weight_files import torch_cache_file, torchvision_weights
from movideo.metrics.extractors.base import cache_folder
from movideo.metrics.extractors.inception import FILE as INCEPTION_FILE
from movideo.metrics.extractors.inception import PUBLISHED as INCEPTION_PUBLISHED
from movideo.metrics.extractors.video import C3D_FILE, I3D_FILE

SEE_PAGE = "see its page"
# Licence and bytes of what the shipped configs name.
KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("CreativeML OpenRAIL-M", 3_440_000_000),
    "stabilityai/sd-vae-ft-mse": ("MIT", 335_000_000),
    "depth-anything/Depth-Anything-V2-Small-hf": ("Apache-2.0", 99_000_000),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": ("MIT", 3_940_000_000),
}
DIFFUSERS_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
TRANSFORMERS_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
OPEN_CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors")
FILES = {
    "VideoAutoencoder": DIFFUSERS_FILES,
    "SpatioTemporalUNet": DIFFUSERS_FILES,
    "TransformersDepth": TRANSFORMERS_FILES,
    "ImageEncoder": OPEN_CLIP_FILES,
    "TextToImage": ("model_index.json",),
}
EMBEDDED_PARTS = {"VideoAutoencoder": "autoencoder", "ImageEncoder": "image_encoder"}
# Options that name a checkpoint or a model folder, and what makes one.
OWN_WEIGHTS = {
    "init_from": "movideo fit",
    "decoder_checkpoint": "movideo fit --config stage3.yaml",
    "baselines": "movideo fit --config stage3.yaml",
    "model": "movideo export",
}
# Metrics that look for a file where torch keeps weights, unless they are told another place.
METRIC_FILES = {
    "FVD": (I3D_FILE, "as StyleGAN-V's authors published it", 51_235_320),
    "I3D": (I3D_FILE, "as StyleGAN-V's authors published it", 51_235_320),
    "FID": (INCEPTION_FILE, f"from https://{INCEPTION_PUBLISHED}", 95_600_000),
    "InceptionV3": (INCEPTION_FILE, f"from https://{INCEPTION_PUBLISHED}", 95_600_000),
    "InceptionScore": (C3D_FILE, "as StyleGAN-V's authors published it (give its sha256)", None),
    "C3D": (C3D_FILE, "as StyleGAN-V's authors published it (give its sha256)", None),
}
CLIP_KINDS = ("ImageEncoder", "CLIPSIM", "FrameConsistency")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


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
        config: nested options; parts are `class_path` and `init_args`.
        option: the dotted name of `config` itself.
    """
    arguments = config.get("init_args", {}) if "class_path" in config else config
    if not isinstance(arguments, Mapping):
        return
    kind = str(config.get("class_path", "")).rpartition(".")[2]
    if kind and arguments.get("pretrained"):
        yield Need(option, arguments["pretrained"], pretrained_place(kind, arguments))
    if kind in METRIC_FILES and not arguments.get("classifier"):
        file, fetch, size = METRIC_FILES[kind]
        path = Path(arguments.get("path") or cache_folder() / file)
        yield Need(
            f"{option} {kind}",
            file,
            _file(path, f"put {file}, {fetch}, into {path.parent}", size=size),
        )
    for name, value in arguments.items():
        inner = f"{option}.{name}".removeprefix(".")
        if "class_path" in config and name in OWN_WEIGHTS and value:
            places = value if isinstance(value, Mapping) else {"": value}
            for row, place in places.items():
                yield Need(f"{inner} {row}".strip(), str(place), _own_place(name, str(place)))
        elif isinstance(value, Mapping):
            yield from needed_weights(value, inner)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, Mapping):
                    yield from needed_weights(part, inner)


def pretrained_place(kind: str, arguments: Mapping[str, Any]) -> Place:
    """Where a part finds its pretrained weights.

    Args:
        kind: the name of its class.
        arguments: its arguments, `pretrained` among them.
    """
    name = str(arguments["pretrained"])
    subfolder, revision = arguments.get("subfolder"), arguments.get("revision")
    if name == EMBEDDED:
        return _embedded(WEIGHTS_FOLDER / EMBEDDED_PARTS.get(kind, ""))
    weights = torchvision_weights(name)
    if weights is not None:
        code = f"from torchvision.models import get_weight as w; w('{name}').get_state_dict()"
        bytes_ = int(weights.meta["_file_size"] * 2**20)
        return _file(torch_cache_file(weights), f'python -c "{code}"', size=bytes_)
    local = Path(name.removeprefix("local-dir:"))
    if local.exists() or name.startswith("local-dir:"):
        return _local(local / subfolder if subfolder else local, kind)
    if kind in CLIP_KINDS:
        return _open_clip(name)
    if not _HUB_ID.fullmatch(name) or local.suffix in (".safetensors", ".pth", ".pt"):
        return Place(name, False, "put it there, or name another place")
    files = [f"{subfolder}/{file}" if subfolder else file for file in FILES.get(kind, ())]
    place = _hub(name, files, revision)
    if kind == "TextToImage":  # a pipeline: its index says what else belongs to it
        return replace(place, fetch=place.fetch.replace(" model_index.json", ""))
    return place


def _embedded(folder: Path) -> Place:
    size = _size(folder)
    return Place(str(folder), size > 0, "install movideo again", "Apache-2.0", size or None)


def _file(path: Path, fetch: str, licence: str = SEE_PAGE, size: int | None = None) -> Place:
    present = path.is_file()
    return Place(str(path), present, fetch, licence, path.stat().st_size if present else size)


def _local(path: Path, kind: str) -> Place:
    if path.is_file():
        return _file(path, "")
    expected = FILES.get(kind, ())
    if kind == "ImageEncoder" and not (path / OPEN_CLIP_FILES[0]).is_file():
        expected = ("config.json", "model.safetensors")  # as our own `save_pretrained` writes it
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


def _own_place(option: str, name: str) -> Place:
    if name == EMBEDDED:
        return _embedded(WEIGHTS_FOLDER)
    path = Path(name)
    size = _size(path)
    return Place(name, size > 0, f"make it: {OWN_WEIGHTS[option]}", "yours", size or None)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
