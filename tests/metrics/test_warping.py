import pytest
import torch

from movideo.metrics import KeyFrameWarpError, warp_error
from movideo.motion.space import Motion
from tests.metrics.parts import judged


def shifting_clip(key_index: int, num_frames: int = 5) -> tuple[torch.Tensor, ...]:
    """One texture that moves 1 pixel right a frame, its exact flow, and what the key frame shows.

    Each is `(1, F, C, 16, 16)`. Frame f at column c is the texture at c - f, which the key frame
    shows at c - f + k.
    """
    texture = 2 * torch.rand(3, 16, 16 + num_frames) - 1
    frames = [texture[..., num_frames - f : num_frames - f + 16] for f in range(num_frames)]
    offsets = key_index - torch.arange(num_frames)
    flow = torch.zeros(num_frames, 2, 16, 16)
    flow[:, 0] = offsets[:, None, None]
    column = torch.arange(16) + offsets[:, None]
    visible = ((column >= 0) & (column < 16))[:, None, None].expand(-1, 1, 16, -1).float()
    return torch.stack(frames)[None], flow[None], visible[None]


@pytest.mark.parametrize("key_index", [0, 2, 4])
def test_a_video_that_follows_its_flow_has_no_error(key_index: int) -> None:
    video, flow, visible = shifting_clip(key_index)
    # whole-pixel flow: warping copies pixels
    assert warp_error(video, flow, visible, key_index).item() == pytest.approx(0, abs=1e-10)
    # swapped directions (here: the negative) or another key frame do not pass
    assert warp_error(video, -flow, visible, key_index).item() > 0.05
    assert warp_error(video, flow, visible, (key_index + 1) % 5).item() > 0.05


def test_the_centre_is_the_key_frame_unless_said_otherwise() -> None:
    video, flow, visible = shifting_clip(2)
    assert warp_error(video, flow, visible).item() == pytest.approx(0, abs=1e-10)


def test_error_by_hand() -> None:
    """Colours in [0, 1]; the key frame and what is hidden do not count."""
    video = torch.zeros(1, 3, 3, 2, 2)
    video[:, 0] = 0.4  # 0.2 of a range of 1: squared 0.04
    video[:, 2, :, 0] = 1.0  # hidden below
    visible = torch.ones(1, 3, 1, 2, 2)
    visible[:, 2, :, 0] = 0
    # 4 pixels of frame 0 at 0.04 and 2 of frame 2 at 0
    found = warp_error(video, torch.zeros(1, 3, 2, 2, 2), visible, key_index=1)
    assert found.item() == pytest.approx(4 * 0.04 / 6, rel=1e-6)


def test_a_key_frame_for_each_clip() -> None:
    parts = [shifting_clip(key_index) for key_index in (1, 3)]
    video, flow, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    found = warp_error(video, flow, visible, torch.tensor([1, 3]))
    assert found.tolist() == pytest.approx([0, 0], abs=1e-10)
    assert (warp_error(video, flow, visible, torch.tensor([3, 1])) > 0.05).all()


def test_a_clip_with_nothing_to_compare_does_not_count() -> None:
    metric = KeyFrameWarpError()
    video, flow, _ = shifting_clip(2)
    far = torch.full_like(flow, 50.0)
    depth = torch.zeros_like(flow[:, :, :1])

    def clips(name, back):
        motion = Motion(depth, flow, back)
        return judged(video, motion=motion, names=[name], key_index=torch.tensor([2]))

    metric.update(clips("a", far))  # the flow back disagrees everywhere: nothing is visible
    assert metric.compute().isnan()
    metric.update(clips("b", -flow))  # the same shift everywhere: it agrees
    assert metric.compute().item() == pytest.approx(0, abs=1e-10)
