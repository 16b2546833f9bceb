"""From latent video to pixels: what every decoder takes, and the plain one."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from movideo.models.autoencoder import VideoAutoencoder


class VideoDecoder(nn.Module, ABC):
    """What stands at the end of the chain; one may take another's place."""

    @abstractmethod
    def forward(
        self, z: Tensor, flow_i2v: Tensor | None = None, key_index: int | Tensor | None = None
    ) -> Tensor:
        """Decodes a latent video.

        Args:
            z: `(B, F, c, h, w)`, scaled as the autoencoder gives it.
            flow_i2v: `(B, F, 2, H, W)`, pixels at full resolution.
            key_index: The key frame's index, F // 2 where None.

        Returns:
            Video `(B, F, 3, H, W)`, [-1, 1] up to overshoot.
        """


class FrameDecoder(VideoDecoder):
    """The autoencoder's own 2-D decoder, frame by frame: blind to motion (MoVideo Table 5, row 1).

    Attributes:
        autoencoder: Held, not copied.
    """

    def __init__(self, autoencoder: VideoAutoencoder) -> None:
        """Takes the decoder of `autoencoder`."""
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, z: Tensor, flow_i2v: Tensor | None = None, key_index: int | Tensor | None = None
    ) -> Tensor:
        """Decodes each frame alone; `flow_i2v` and `key_index` change nothing."""
        return self.autoencoder.decode(z)
