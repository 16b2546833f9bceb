"""What lets networks run fast on a CPU and changes nothing but rounding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

# Below this many rows (a clip's timestep, its tokens) there is nothing to gain.
FEWEST_ROWS = 512


def laid_out(x: Tensor) -> Tensor:
    """Frames `(N, C, H, W)`, contiguous in the layout that their device computes fastest in.

    On a CPU that is channels last: convolutions want it so, and clips as pictures of frames x
    places, or as tokens, are then views.
    """
    is_cpu = x.device.type == "cpu"
    return x.contiguous(memory_format=torch.channels_last if is_cpu else torch.contiguous_format)


class ConvolvedLinear(nn.Linear):
    """A linear layer that a CPU computes as a 1x1 convolution: equal but for rounding.

    Torch's products are MKL's, which leaves half of what an AMD core can do unused; its
    convolutions are oneDNN's, which does not. Weights and their names are those of `nn.Linear`.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        """`(…, in)` to `(…, out)`."""
        rows = input.numel() // self.in_features
        is_plain = input.device.type == "cpu" and input.dtype == self.weight.dtype == torch.float32
        if not is_plain or rows < FEWEST_ROWS or _is_cast() or torch.compiler.is_compiling():
            return super().forward(input)
        # Rows as the places of a picture, channels last: a view, as is the way back.
        picture = input.reshape(1, rows, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(picture, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*input.shape[:-1], self.out_features)


def convolve_linears(network: nn.Module) -> None:
    """Make every plain linear layer inside a network a `ConvolvedLinear`, in place."""
    for layer in network.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = ConvolvedLinear


def _is_cast() -> bool:
    return torch.is_autocast_enabled("cpu")
