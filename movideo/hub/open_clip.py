"""Any pretrained open_clip image tower that is a plain vision transformer."""

from pathlib import Path
from typing import Any

import open_clip
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from movideo.errors import UserError
from movideo.hub.weight_files import LOADING_ERRORS, first_line

SCHEMES = ("hf-hub:", "local-dir:")


def load_open_clip(name: str) -> VisionTransformer:
    """Loads the image tower of a CLIP model.

    Args:
        name: `MODEL:TAG`, `MODEL:FILE`, `hf-hub:owner/name`, `local-dir:folder`, or a folder.

    Returns:
        The tower without its projection and without patch dropout, `image_mean` and `image_std`
        set where its origin names them.

    Raises:
        UserError: There is no such model, it cannot be loaded, or its tower is not a vision
            transformer with one class token and no attention pooling.
    """
    clip, _ = create_clip(name)
    return _checked(name, clip.visual)


def create_clip(name: str) -> tuple[Any, str]:
    """Loads a CLIP model, both towers.

    Args:
        name: as for `load_open_clip`.

    Returns:
        The model, and open_clip's own name of it, by which its tokenizer is found.

    Raises:
        UserError: There is no such model, or it cannot be loaded.
    """
    if Path(name).is_dir():
        name = f"local-dir:{name}"
    model, tag = (name, None) if name.startswith(SCHEMES) else _split_name(name)
    try:
        clip = open_clip.create_model(
            model,
            pretrained=tag,
            force_quick_gelu=_needs_quick_gelu(model, tag),
            pretrained_text=False,
            require_pretrained=True,
        )
    except LOADING_ERRORS as error:
        raise UserError(
            f"{name}: no image encoder could be loaded ({first_line(error)}); "
            "name a folder, an open_clip MODEL:TAG or hf-hub:owner/name"
        ) from error
    return clip, model


def on_hub(name: str) -> bool:
    """Whether a name, as for `load_open_clip`, is of weights that a hub has, and not of a file."""
    model, _, tag = name.partition(":")
    if name.startswith(SCHEMES):
        return model == "hf-hub"
    return bool(open_clip.get_pretrained_cfg(model, tag))


def _split_name(name: str) -> tuple[str, str]:
    model, _, tag = name.partition(":")
    if not tag:
        raise UserError(
            f"{name}: neither a folder here nor an open_clip MODEL:TAG; "
            "add a tag such as ViT-H-14:laion2b_s32b_b79k"
        )
    return model, tag


def _needs_quick_gelu(model: str, tag: str | None) -> bool:
    """Some tags were trained with another activation than the model says; open_clip only warns."""
    settings = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    return bool(settings.get("quick_gelu", False))


def _checked(name: str, visual: Any) -> VisionTransformer:
    if not _is_plain(visual):
        raise UserError(
            f"{name}: its image tower gives no class and patch tokens ({type(visual).__name__}); "
            "choose a plain open_clip ViT"
        )
    visual.proj = None
    visual.patch_dropout = nn.Identity()
    return visual


def _is_plain(visual: Any) -> bool:
    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        and all(isinstance(block.ls_1, nn.Identity) for block in visual.transformer.resblocks)
    )
