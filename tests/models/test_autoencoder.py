"""The video autoencoder against diffusers' own, called frame by frame."""

import copy

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel

from movideo.errors import UserError
from movideo.hub import pretrained
from movideo.models import VideoAutoencoder

CONFIG = {
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "mid_block_add_attention": False,
}


@pytest.fixture
def autoencoder() -> VideoAutoencoder:
    torch.manual_seed(0)
    return VideoAutoencoder(None, CONFIG, chunk_size=4).eval()


@pytest.fixture
def video() -> torch.Tensor:
    return torch.rand(2, 5, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_encode_is_the_scaled_mode_of_each_frame(autoencoder, video):
    autoencoder.model.register_to_config(scaling_factor=0.5, shift_factor=0.25)
    z = autoencoder.encode(video)
    assert z.shape == (2, 5, 4, 4, 6)
    for b in range(2):
        for f in range(5):
            mode = autoencoder.model.encode(video[b, f : f + 1]).latent_dist.mode()[0]
            # Convolutions over other batch sizes may add in another order.
            torch.testing.assert_close(z[b, f], (mode - 0.25) * 0.5, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decode_undoes_scale_and_shift(autoencoder):
    raw = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    expected = autoencoder.model.decode(raw[0]).sample
    autoencoder.model.register_to_config(scaling_factor=3.0, shift_factor=-1.5)
    video = autoencoder.decode((raw + 1.5) * 3.0)
    assert video.shape == (1, 3, 3, 16, 16)
    # The round trip through the factor costs a few float32 roundings.
    torch.testing.assert_close(video[0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_chunks_bound_the_frames_at_once_and_change_nothing(autoencoder, video, monkeypatch):
    seen = []
    encode = autoencoder.model.encode
    monkeypatch.setattr(
        autoencoder.model, "encode", lambda frames: seen.append(len(frames)) or encode(frames)
    )
    z = autoencoder.encode(video)
    assert seen == [4, 4, 2]
    autoencoder.chunk_size = 100
    # Convolutions over other batch sizes may add in another order.
    torch.testing.assert_close(autoencoder.encode(video), z, atol=1e-5, rtol=1e-5)


def test_geometry_and_its_error(autoencoder):
    assert autoencoder.latent_channels == 4
    assert autoencoder.downscale_factor == 4  # three levels, two halvings
    assert autoencoder.latent_size((64, 48)) == (16, 12)
    with pytest.raises(UserError, match=r"size 64x50.*divisible by 4"):
        autoencoder.latent_size((64, 50))
    with pytest.raises(UserError, match="18x16"):
        autoencoder.encode(torch.zeros(1, 1, 3, 18, 16))


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(autoencoder, video, tmp_path):
    autoencoder.scaling_factor = 0.7
    autoencoder.save_pretrained(tmp_path / "vae")
    loaded = VideoAutoencoder(str(tmp_path), subfolder="vae").eval()
    assert loaded.scaling_factor == 0.7
    assert autoencoder.is_random
    assert not loaded.is_random
    assert loaded.fingerprint() == autoencoder.fingerprint()
    assert torch.equal(loaded.encode(video), autoencoder.encode(video))
    # Any diffusers autoencoder loads: the layout is theirs.
    assert isinstance(AutoencoderKL.from_pretrained(tmp_path / "vae"), AutoencoderKL)


def test_config_rebuilds_and_a_loaded_state_is_not_random(autoencoder):
    autoencoder.scaling_factor = 0.7
    rebuilt = VideoAutoencoder(None, autoencoder.config)
    assert rebuilt.is_random
    assert rebuilt.fingerprint() != autoencoder.fingerprint()
    parent = torch.nn.ModuleDict({"autoencoder": rebuilt})
    parent.load_state_dict({f"autoencoder.{k}": v for k, v in autoencoder.state_dict().items()})
    assert not rebuilt.is_random
    assert rebuilt.fingerprint() == autoencoder.fingerprint()


def test_fingerprint_sees_one_weight_and_the_scale(autoencoder):
    before = autoencoder.fingerprint()
    assert len(before) == 64
    assert copy.deepcopy(autoencoder).fingerprint() == before
    autoencoder.scaling_factor *= 2
    scaled = autoencoder.fingerprint()
    with torch.no_grad():
        next(autoencoder.parameters()).flatten()[0] += 1e-3
    assert len({before, scaled, autoencoder.fingerprint()}) == 3


def test_missing_embedded_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"autoencoder.*make weights"):
        VideoAutoencoder()


def test_embedded_weights_load_from_their_folder(autoencoder, tmp_path, monkeypatch):
    autoencoder.save_pretrained(tmp_path / "autoencoder")
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    assert VideoAutoencoder().fingerprint() == autoencoder.fingerprint()


def test_errors_name_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="`config` is empty"):
        VideoAutoencoder(None)
    with pytest.raises(UserError, match="no_such_argument"):
        VideoAutoencoder(None, CONFIG | {"no_such_argument": 1})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no AutoencoderKL"):
        VideoAutoencoder(str(tmp_path / "empty"))
    VideoAutoencoder(None, CONFIG).save_pretrained(tmp_path / "broken")
    (tmp_path / "broken" / "diffusion_pytorch_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="broken: no AutoencoderKL"):
        VideoAutoencoder(str(tmp_path / "broken"))
    other = UNet2DModel(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        sample_size=8,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    other.save_pretrained(tmp_path / "unet")
    with pytest.raises(UserError, match="unet"):
        VideoAutoencoder(str(tmp_path / "unet"))
