"""A backbone that is no UNet: a transformer over the patches of all frames."""

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from einops import rearrange
from torch import Tensor, nn

from movideo.models import Backbone
from movideo.models.temporal import key_distance


class DiT(Backbone):
    """Patches of the noisy clip and the tokens of the key frame attend to one another."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 5,
        out_channels: int = 5,
        image_token_dim: int = 128,
        width: int = 64,
        layers: int = 2,
        patch: int = 4,
    ) -> None:
        super().__init__()
        self.patches_in = nn.Linear(in_channels * patch**2, width)
        self.tokens_in = nn.Linear(image_token_dim, width)
        self.null_token = nn.Parameter(torch.zeros(width))
        self.embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.patches_out = nn.Linear(width, out_channels * patch**2)

    def forward(
        self,
        sample,
        timestep,
        image_tokens,
        fps,
        key_index=None,
        drop_tokens=None,
        log_scale=None,
    ):
        patch, width = self.config.patch, self.config.width
        batch, frames, _, height, _ = sample.shape
        x = rearrange(sample, "b f c (h p) (w q) -> b f (h w) (c p q)", p=patch, q=patch)
        x = self.patches_in(x) + self._places(x, frames, key_index)
        numbers = torch.as_tensor(timestep, device=x.device).expand(batch), fps
        codes = [get_timestep_embedding(n.float(), width).to(x.dtype) for n in numbers]
        code = self.embed(codes[0] + codes[1])
        if log_scale is not None:  # how far things are to move, NaN where it is left open
            scale = get_timestep_embedding(log_scale.nan_to_num(), width, scale=100).to(x.dtype)
            code = code + self.embed(scale) * ~log_scale.isnan()[:, None]
        x = x + code[:, None, None]
        tokens = self.null_token.expand(batch, 1, -1)
        if image_tokens is not None:
            tokens = self.tokens_in(image_tokens)
        if drop_tokens is not None:
            tokens = torch.where(drop_tokens[:, None, None], self.null_token, tokens)
        both = self.blocks(torch.cat([tokens, x.flatten(1, 2)], dim=1))
        out = self.patches_out(both[:, tokens.shape[1] :])
        shape = {"f": frames, "h": height // patch, "p": patch, "q": patch}
        return rearrange(out, "b (f h w) (c p q) -> b f c (h p) (w q)", **shape)

    def _places(self, x: Tensor, frames: int, key_index: int | Tensor | None) -> Tensor:
        """Where each patch is: in its frame, and how far that is from the key frame."""
        width = self.config.width
        distance = key_distance(len(x), frames, key_index, x.device)
        of_frame = get_timestep_embedding(distance.flatten(), width, max_period=100)
        of_patch = get_timestep_embedding(torch.arange(x.shape[2], device=x.device), width)
        return of_frame.view(len(x), frames, 1, width).to(x) + of_patch.to(x)
