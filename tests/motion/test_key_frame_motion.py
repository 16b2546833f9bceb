import pytest
import torch

from movideo.errors import UserError
from movideo.models.image_encoder import sinusoidal_positions
from movideo.motion.key_frame_motion import KeyFrameMotion

DIM, SIDE, CELLS = 12, 2, 2


def tokens_of(maps):
    """Tokens `(B, 1 + 4, D)` of which a head of unit rows reads `maps (B, 3, 4, 4)`, by hand."""
    patches = torch.zeros(len(maps), SIDE * SIDE, DIM)
    for row in range(SIDE):
        for column in range(SIDE):
            cells = maps[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            patches[:, row * SIDE + column] = cells.flatten(1)
    patches = patches + sinusoidal_positions(SIDE, SIDE, DIM)
    return torch.cat([torch.full((len(maps), 1, DIM), 9.0), patches], dim=1)


@pytest.fixture
def condition():
    made = KeyFrameMotion(DIM, CELLS)
    made.head.weight.data, made.head.bias.data = torch.eye(DIM), torch.zeros(DIM)
    return made


def show(condition, maps, key=1, frames=4, grid=(4, 4)):
    return condition(
        torch.zeros(len(maps), 3, 8, 8), tokens_of(maps), torch.tensor([key]), frames, grid
    )


def test_each_patch_says_where_its_cells_are(condition):
    maps = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    # 1e-6: the places are added and taken off again in float32.
    assert torch.allclose(condition.foretell(tokens_of(maps)), maps, atol=1e-6)
    shown = show(condition, maps)
    assert shown.shape == (1, 4, condition.channels, 4, 4)
    for frame in range(4):
        assert torch.allclose(shown[:, frame, 3:6], maps, atol=1e-6)


def test_velocity_is_carried_to_each_frame_s_time(condition):
    maps = torch.zeros(1, 3, 4, 4)
    maps[:, 1], maps[:, 2] = 3.0, -4.0  # the longest is 5, and SLOW adds 0.00125 of it
    shown = show(condition, maps)[0, :, 6:]
    for frame, time in enumerate((-0.5, 0.0, 0.5, 1.0)):  # of the two frames to the far end
        expected = time * torch.tensor([0.6, -0.8])[:, None, None]
        assert torch.allclose(shown[frame], expected.expand(2, 4, 4), atol=2e-3)


def test_what_hardly_moves_stays_small(condition):
    maps = torch.zeros(1, 3, 4, 4)
    maps[:, 1] = 0.025  # a tenth of SLOW: 0.1 / sqrt(1 + 0.01)
    assert show(condition, maps)[0, 3, 6].mean().item() == pytest.approx(0.0995, abs=1e-4)


def test_a_wide_frame_is_crossed_at_its_width(condition):
    """The same share of both sides is twice as many cells across as down."""
    maps = torch.zeros(1, 3, 4, 4)
    maps[:, 1:] = 100.0
    shown = show(condition, maps, grid=(4, 8))[0, 3, 6:]
    assert torch.allclose(shown[0] / shown[1], torch.tensor(2.0))


def test_one_frame_has_no_time(condition):
    assert (show(condition, torch.ones(1, 3, 4, 4), key=0, frames=1)[:, :, 6:] == 0).all()


def test_it_starts_from_what_was_trained_and_keeps_it(condition, tmp_path):
    condition.trained(anywhere=True).save_pretrained(tmp_path)
    again = KeyFrameMotion(DIM, CELLS, pretrained=str(tmp_path))
    assert torch.equal(again.head.weight, condition.head.weight)
    assert not again.anywhere  # a new training says what it saw
    assert KeyFrameMotion.from_pretrained(tmp_path).anywhere
    assert "pretrained" not in again.config


def test_weights_of_another_encoder(condition, tmp_path):
    condition.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no KeyFrameMotion of token_dim 16 and cells 2"):
        KeyFrameMotion(16, CELLS, pretrained=str(tmp_path))


def test_weights_that_are_not_there_or_broken(condition, tmp_path):
    with pytest.raises(UserError, match="nothing"):
        KeyFrameMotion(DIM, CELLS, pretrained=str(tmp_path / "nothing"))
    condition.save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"no KeyFrameMotion .*name the folder"):
        KeyFrameMotion(DIM, CELLS, pretrained=str(tmp_path))
