"""The plain decoder: the autoencoder's own, whatever the motion."""

import torch

from movideo.models import FrameDecoder, VideoAutoencoder, VideoDecoder

CONFIG = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "mid_block_add_attention": False,
}


@torch.no_grad()
def test_it_decodes_as_the_autoencoder_does_and_ignores_motion():
    torch.manual_seed(0)
    autoencoder = VideoAutoencoder(None, CONFIG).eval()
    decoder = FrameDecoder(autoencoder)
    assert isinstance(decoder, VideoDecoder)
    z = torch.randn(1, 3, 4, 8, 8)
    video = decoder(z, torch.randn(1, 3, 2, 16, 16), 1)
    assert video.shape == (1, 3, 3, 16, 16)
    assert torch.equal(video, autoencoder.decode(z))
    assert torch.equal(video, decoder(z))


@torch.no_grad()
def test_frames_do_not_see_one_another():
    torch.manual_seed(0)
    decoder = FrameDecoder(VideoAutoencoder(None, CONFIG).eval())
    z = torch.randn(1, 3, 4, 8, 8)
    changed = z.clone()
    changed[:, 2] += 1
    before, after = decoder(z), decoder(changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])
