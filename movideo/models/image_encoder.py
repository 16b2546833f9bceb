"""The key frame as tokens: an open_clip vision transformer before its pooling."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.needs import OPEN_CLIP_FILES, WeightSpec
from movideo.hub.pretrained import (
    PretrainedModule,
    check_architecture,
    check_weight_folder,
    embedded_folder,
    read_config,
)
from movideo.hub.weight_files import LOADING_ERRORS, fingerprint, first_line

if TYPE_CHECKING:  # it takes a fifth of a second to import: done where a tower is built
    from open_clip.transformer import VisionTransformer

WEIGHTS_FILE = "model.safetensors"


class ImageEncoder(PretrainedModule):
    """Unpooled tokens of an image: pooling would lose layout and detail (MoVideo's first remark).

    Attributes:
        visual: The open_clip tower; its projection is cut off, for nothing here uses it.
        is_random: Whether its weights are a random initialisation.
    """

    weight_spec = WeightSpec(
        files=OPEN_CLIP_FILES,
        own_files=("config.json", WEIGHTS_FILE),
        embedded="image_encoder",
        is_open_clip=True,
    )

    mean: Tensor
    std: Tensor
    positions: Tensor

    def __init__(
        self, pretrained: str | None = EMBEDDED, config: dict[str, Any] | None = None
    ) -> None:
        """Loads or initialises the encoder.

        Args:
            pretrained: `embedded`; a folder that `save_pretrained` or open_clip wrote; an
                open_clip name with its tag or weight file (`ViT-H-14:laion2b_s32b_b79k`),
                `hf-hub:owner/name` or `local-dir:folder`; or null for random weights.
            config: `image_size`, `patch_size`, `width`, `layers`, `head_width`, `mlp_ratio`, and
                optionally `quick_gelu`, `no_ln_pre`, `image_mean`, `image_std`; needed where
                `pretrained` is null, elsewhere the weights must agree with it.

        Raises:
            UserError: The weights are missing, incomplete, of another kind or architecture.
        """
        super().__init__(pretrained=pretrained)
        self.visual, mean, std = _build(pretrained, config)
        if pretrained is not None and config is not None:
            with torch.device("meta"):
                wanted, *_ = _build(None, config)
            check_architecture(
                pretrained, _read_architecture(self.visual), _read_architecture(wanted)
            )
        if self.token_dim % 4:
            raise UserError(f"image encoder width {self.token_dim}: choose a multiple of 4")
        rows, columns = self.visual.grid_size
        positions = sinusoidal_positions(rows, columns, self.token_dim)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.register_buffer("positions", positions, persistent=False)

    @property
    def token_dim(self) -> int:
        """Channels of a token, D."""
        return int(self.visual.conv1.out_channels)

    @property
    def num_tokens(self) -> int:
        """Tokens of an image, N: the class token and one a patch."""
        return 1 + self.positions.shape[0]

    @property
    def config(self) -> dict[str, Any]:
        """What `ImageEncoder(None, config)` needs to be built alike."""
        return _read_architecture(self.visual) | {
            "image_mean": self.mean.flatten().tolist(),
            "image_std": self.std.flatten().tolist(),
        }

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images.

        Args:
            images: `(B, 3, H, W)` in [-1, 1], any size; squeezed to the encoder's own.

        Returns:
            Tokens `(B, N, D)` after the last layer norm: the class token, then the patches row by
            row, each with the encoding of its place added.
        """
        output = self.visual.forward_intermediates(
            self._normalise(images),
            indices=1,  # the last block alone
            normalize_intermediates=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        (class_token,), (patches,) = (
            output["image_intermediates_prefix"],
            output["image_intermediates"],
        )
        return torch.cat([class_token, patches + self.positions.to(patches)], dim=1)

    def _normalise(self, images: Tensor) -> Tensor:
        """Resizes as CLIP was trained to see, and applies its mean and deviation."""
        resized = functional.interpolate(
            images, self.visual.image_size, mode="bicubic", antialias=True, align_corners=False
        )
        # Bicubic overshoots at edges; an 8-bit image, which CLIP was trained on, cannot.
        return (resized.clamp(-1, 1) * 0.5 + 0.5 - self.mean) / self.std

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `config.json` and the weights as safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous() for name, tensor in self.visual.state_dict().items()}
        save_file(state, folder / WEIGHTS_FILE)
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n", "utf-8")

    def fingerprint(self) -> str:
        """Hashes all that decides the tokens: weights and architecture."""
        return fingerprint(self.visual, self.config)


class PooledImageEncoder(ImageEncoder):
    """The class token alone: the baseline of MoVideo's first remark.

    It is what CLIP pools an image to, after the last layer norm and before the projection into the
    space of texts: `SpatioTemporalUNet` brings a projection of its own.
    """

    @property
    def num_tokens(self) -> int:
        """Tokens of an image: one."""
        return 1

    def forward(self, images: Tensor) -> Tensor:
        """The class token `(B, 1, D)` of images as for `ImageEncoder`."""
        return super().forward(images)[:, :1]

    def fingerprint(self) -> str:
        """Tells it from an `ImageEncoder` of the same weights."""
        return fingerprint(self.visual, self.config | {"pooled": True})


def sinusoidal_positions(rows: int, columns: int, dim: int) -> Tensor:
    """Encodes the places of a grid, half of the channels for the row and half for the column.

    Args:
        rows: Height of the grid.
        columns: Width of the grid.
        dim: Channels, a multiple of 4.

    Returns:
        `(rows * columns, dim)`, row by row: sines and cosines of the row, then of the column.
    """
    count = dim // 4
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(count) / count)
    row = torch.arange(rows)[:, None] * frequencies
    column = torch.arange(columns)[:, None] * frequencies
    row_code = torch.cat([row.sin(), row.cos()], dim=-1)[:, None].expand(rows, columns, -1)
    column_code = torch.cat([column.sin(), column.cos()], dim=-1).expand(rows, columns, -1)
    return torch.cat([row_code, column_code], dim=-1).flatten(0, 1)


def _build(
    pretrained: str | None, config: dict[str, Any] | None
) -> tuple["VisionTransformer", tuple[float, ...], tuple[float, ...]]:
    """Gives the tower and the pixel mean and deviation it expects."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    from movideo.hub.open_clip import load_open_clip

    if pretrained is not None and pretrained != EMBEDDED and not _is_own_folder(Path(pretrained)):
        visual = load_open_clip(pretrained)
        mean = getattr(visual, "image_mean", None) or OPENAI_DATASET_MEAN
        std = getattr(visual, "image_std", None) or OPENAI_DATASET_STD
        return visual, tuple(mean), tuple(std)
    folder = None
    if pretrained is not None:
        folder = embedded_folder("image_encoder") if pretrained == EMBEDDED else Path(pretrained)
        check_weight_folder(folder)
        config = read_config(folder)
    settings = dict(config or {})
    mean = tuple(settings.pop("image_mean", OPENAI_DATASET_MEAN))
    std = tuple(settings.pop("image_std", OPENAI_DATASET_STD))
    visual = _from_architecture(settings)
    if folder is not None:
        _load_weights(visual, folder / WEIGHTS_FILE)
    return visual, mean, std


def _is_own_folder(folder: Path) -> bool:
    return folder.is_dir() and not (folder / "open_clip_config.json").is_file()


def _from_architecture(settings: dict[str, Any]) -> "VisionTransformer":
    from open_clip.transformer import QuickGELU, VisionTransformer

    settings = dict(settings)
    try:
        width, head_width = int(settings["width"]), int(settings.pop("head_width"))
        activation = QuickGELU if settings.pop("quick_gelu", False) else nn.GELU
        visual = VisionTransformer(
            **settings, heads=width // head_width, act_layer=activation, output_dim=width
        )
    except KeyError as error:
        raise UserError(
            f"image encoder: {error.args[0]!r} is missing from `config`; give image_size, "
            "patch_size, width, layers, head_width and mlp_ratio, or name weights in `pretrained`"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"image encoder config: {first_line(error)}; mend `config`") from error
    visual.proj = None
    return visual


def _read_architecture(visual: "VisionTransformer") -> dict[str, Any]:
    """The inverse of `_from_architecture`, for towers of any origin."""
    from open_clip.transformer import QuickGELU

    block = visual.transformer.resblocks[0]
    width = visual.conv1.out_channels
    return {
        "image_size": list(visual.image_size),
        "patch_size": list(visual.patch_size),
        "width": width,
        "layers": len(visual.transformer.resblocks),
        "head_width": width // block.attn.num_heads,
        "mlp_ratio": block.mlp.c_fc.out_features / width,
        "quick_gelu": isinstance(block.mlp.gelu, QuickGELU),
        "no_ln_pre": isinstance(visual.ln_pre, nn.Identity),
    }


def _load_weights(visual: "VisionTransformer", path: Path) -> None:
    try:
        keys = visual.load_state_dict(load_file(path), strict=False)
        for trouble in ("missing", "unexpected"):
            if names := getattr(keys, f"{trouble}_keys"):
                raise ValueError(f"{names[0]} is {trouble}")
    except LOADING_ERRORS as error:
        raise UserError(
            f"{path}: not the weights of this image encoder ({first_line(error)}); "
            "name the folder that holds them"
        ) from error
