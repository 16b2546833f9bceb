"""The game between the decoder and a discriminator."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from movideo.errors import UserError
from movideo.losses.base import VideoLoss, in_float32


def adaptive_ratio(reference: Tensor, adversarial: Tensor, maximum: float) -> Tensor:
    """How much to enlarge the adversarial term so that it pulls as hard as the others do.

    `|reference| / |adversarial|`, as in VQGAN (Esser et al. 2021, Eq. 7).

    Args:
        reference: gradient of the other terms with respect to the decoder's last layer.
        adversarial: gradient of the adversarial term with respect to the same, of the same shape.
        maximum: what the ratio is cut to, also where the adversarial gradient is 0.

    Returns:
        A detached scalar in [0, maximum]; 0 where both gradients are 0. NaN where one holds NaN.
    """
    pull = torch.linalg.vector_norm(reference.detach().float())
    push = torch.linalg.vector_norm(adversarial.detach().float())
    return torch.where(pull == 0, pull, pull / push).clamp(max=maximum)


class Verdict(NamedTuple):
    """What a discriminator makes of a batch, all scalars.

    Attributes:
        loss: its own loss, at least 0; 1 from a discriminator that says 0 to all.
        real_accuracy: share of its logits for real videos that are above 0.
        fake_accuracy: share of its logits for decoded videos that are below 0.
    """

    loss: Tensor
    real_accuracy: Tensor
    fake_accuracy: Tensor


class AdversarialLoss(VideoLoss):
    """Hinge loss of a GAN (Lim & Ye 2017): the 2-D or 3-D adversarial term of MoVideo Eq. 18.

    Args:
        discriminator: maps `(B, F, 3, H, W)` in [-1, 1] to logits of any shape, high for real
            videos; its `dimensions`, 2 or 3, says whether it judges frames or clips.
        weight: as for every `VideoLoss`; comes on top of the adaptive ratio.
        start_step: as for every `VideoLoss`.
        max_ratio: what `adaptive_ratio` is cut to, at least 0.

    Raises:
        UserError: a negative `max_ratio`.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        weight: float = 0.5,
        start_step: int = 0,
        max_ratio: float = 1e4,
    ) -> None:
        super().__init__(weight, start_step)
        if not max_ratio >= 0:
            raise UserError(f"max_ratio: {max_ratio}; give a number of at least 0")
        self.discriminator = discriminator
        self.max_ratio = max_ratio

    @property
    def curve(self) -> str:
        """Either `adversarial_2d` or `adversarial_3d`."""
        return f"adversarial_{self.discriminator.dimensions}d"

    @in_float32
    def forward(self, decoded: Tensor, truth: Tensor) -> Tensor:
        """Compute the decoder's part, `-D(decoded)` averaged over all logits.

        Its gradient reaches the discriminator's parameters too; whoever trains one of the two
        leaves the other out.

        Args:
            decoded: `(B, F, 3, H, W)`.
            truth: not used.

        Returns:
            A scalar of either sign.
        """
        return -self._logits(decoded).mean()

    @in_float32
    def judge(self, decoded: Tensor, truth: Tensor) -> Verdict:
        """Compute the discriminator's part, `(relu(1 - D(truth)) + relu(1 + D(decoded))) / 2`.

        Args:
            decoded: `(B, F, 3, H, W)`; no gradient flows back to it.
            truth: the same.

        Returns:
            The mean over all logits, and how many of them are on the right side.
        """
        real, fake = self._logits(truth.detach()), self._logits(decoded.detach())
        loss = (relu(1 - real).mean() + relu(1 + fake).mean()) / 2
        return Verdict(loss, (real > 0).float().mean(), (fake < 0).float().mean())

    def _logits(self, video: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(video)
        return logits
