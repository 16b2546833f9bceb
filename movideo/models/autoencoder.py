"""The latent autoencoder: a diffusers `AutoencoderKL`, frame by frame, with video in and out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor

from movideo.errors import UserError
from movideo.hub import EMBEDDED
from movideo.hub.needs import DIFFUSERS_FILES, WeightSpec
from movideo.hub.pretrained import (
    PretrainedModule,
    embedded_folder,
    load_diffusers,
)
from movideo.hub.weight_files import fingerprint, first_line
from movideo.models.cpu import laid_out

if TYPE_CHECKING:  # diffusers imports all of its autoencoders: done where one is built
    from diffusers import AutoencoderKL
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution


class VideoAutoencoder(PretrainedModule):
    """Video to latents and back, each frame by itself.

    The latent is the posterior's mode, shifted and scaled as the autoencoder's config says:
    `z = (mode - shift_factor) * scaling_factor`. `decode` undoes both.

    Attributes:
        model: The diffusers autoencoder, `(N, 3, H, W)` in [-1, 1].
        is_random: Whether its weights are a random initialisation.
    """

    weight_spec = WeightSpec(files=DIFFUSERS_FILES, embedded="autoencoder")

    def __init__(
        self,
        pretrained: str | None = EMBEDDED,
        config: dict[str, Any] | None = None,
        subfolder: str | None = None,
        revision: str | None = None,
        chunk_size: int = 16,
    ) -> None:
        """Loads or initialises the autoencoder.

        Args:
            pretrained: `embedded`, a local folder, a hub id, a .safetensors file, or null for
                random weights.
            config: Arguments of `AutoencoderKL`, needed where `pretrained` is null or a file;
                elsewhere the weights must agree with it.
            subfolder: Where it lies inside the folder or repository (`vae` in a pipeline's).
            revision: The hub revision to pin.
            chunk_size: Frames that go through the network at once; bounds the memory.

        Raises:
            UserError: The weights are missing, incomplete, of another kind or architecture.
        """
        super().__init__(pretrained=pretrained, subfolder=subfolder, revision=revision)
        self.chunk_size = chunk_size
        if pretrained is None:
            self.model = _from_config(config)
        else:
            from diffusers import AutoencoderKL

            if pretrained == EMBEDDED:
                pretrained = str(embedded_folder("autoencoder"))
            self.model = load_diffusers(AutoencoderKL, pretrained, config, subfolder, revision)

    @property
    def config(self) -> dict[str, Any]:
        """What `VideoAutoencoder(None, config)` needs to be built alike."""
        return {k: v for k, v in dict(self.model.config).items() if not k.startswith("_")}

    @property
    def latent_channels(self) -> int:
        """Channels of the latent, c."""
        return int(self.config["latent_channels"])

    @property
    def downscale_factor(self) -> int:
        """How many pixels a side one latent cell covers."""
        return int(2 ** (len(self.config["block_out_channels"]) - 1))

    @property
    def scaling_factor(self) -> float:
        """What brings the latent's standard deviation near 1."""
        return float(self.config["scaling_factor"])

    @scaling_factor.setter
    def scaling_factor(self, value: float) -> None:
        self.model.register_to_config(scaling_factor=float(value))

    @property
    def shift_factor(self) -> float:
        """The latent's mean, taken off before scaling; 0 where the config has none."""
        return float(self.config.get("shift_factor") or 0.0)

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Gives the latent's `(h, w)` for a video's `(H, W)`.

        Raises:
            UserError: A side is not a multiple of the downscale factor.
        """
        factor = self.downscale_factor
        if any(side <= 0 or side % factor for side in size):
            raise UserError(
                f"size {size[0]}x{size[1]}: the autoencoder halves it down to 1/{factor}; "
                f"choose sides divisible by {factor}"
            )
        return size[0] // factor, size[1] // factor

    def posterior(self, frames: Tensor) -> "DiagonalGaussianDistribution":
        """Gives the distribution that training samples from, before shift and scale.

        Args:
            frames: `(N, 3, H, W)` in [-1, 1].
        """
        self.latent_size((frames.shape[-2], frames.shape[-1]))
        found: DiagonalGaussianDistribution = self.model.encode(frames).latent_dist
        return found

    def encode(self, video: Tensor) -> Tensor:
        """Encodes every frame.

        Args:
            video: `(B, F, 3, H, W)` in [-1, 1].

        Returns:
            The latent video `(B, F, c, h, w)`, standard deviation near 1.

        Raises:
            UserError: H or W is not a multiple of the downscale factor.
        """
        modes = self._per_chunk(lambda frames: self.posterior(frames).mode(), video)
        return (modes - self.shift_factor) * self.scaling_factor

    def decode(self, z: Tensor) -> Tensor:
        """Decodes every frame.

        Args:
            z: `(B, F, c, h, w)` as `encode` gives it.

        Returns:
            Video `(B, F, 3, H, W)`, [-1, 1] up to overshoot (not clamped: losses need the slope).
        """
        latents = z / self.scaling_factor + self.shift_factor
        return self._per_chunk(lambda frames: self.model.decode(frames).sample, latents)

    def _per_chunk(self, function: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
        frames = laid_out(rearrange(video, "b f c h w -> (b f) c h w"))
        done = torch.cat([function(chunk) for chunk in frames.split(self.chunk_size)])
        return rearrange(done, "(b f) c h w -> b f c h w", b=video.shape[0])

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the diffusers layout: `config.json` and safetensors."""
        self.model.save_pretrained(str(folder))

    def fingerprint(self) -> str:
        """Hashes all that decides the latents: weights, scale and shift."""
        settings = {"scaling_factor": self.scaling_factor, "shift_factor": self.shift_factor}
        return fingerprint(self.model, settings)


def _from_config(config: dict[str, Any] | None) -> "AutoencoderKL":
    from diffusers import AutoencoderKL

    if not config:
        raise UserError(
            "autoencoder: `pretrained` is null and `config` is empty; "
            "give AutoencoderKL's arguments in `config` or name weights in `pretrained`"
        )
    try:
        return AutoencoderKL(**config)
    except (TypeError, ValueError) as error:
        raise UserError(f"autoencoder config: {first_line(error)}; mend `config`") from error
