"""Augmented labels still describe the augmented video: on scenes, whose labels are exact."""

import math

import pytest
import torch

from movideo.clips.augment import Augmentation, HorizontalFlip, RandomZoom, TemporalReversal
from movideo.errors import UserError
from movideo.ops import resize, resize_flow, warp
from movideo.scenes.render import render_scene
from movideo.video.decoding.pixels import to_float

FRAMES, KEY, SIZE = 5, 1, (256, 256)


def sample(seed, grid=SIZE):
    """A scene in the types that data is stored in, and where it is exactly visible."""
    scene = render_scene(seed, FRAMES, SIZE, key_index=KEY, fps=3)
    return {
        "video": ((scene.video + 1) * 127.5).round().byte(),
        "key_index": torch.tensor(KEY),
        "depth": resize(scene.depth, grid).half(),
        "depth_alignment": torch.arange(2.0 * FRAMES).view(FRAMES, 2),
        "flow_i2v": resize_flow(scene.flow_i2v, grid).half(),
        "flow_v2i": resize_flow(scene.flow_v2i, grid).half(),
        # Not a field that augmentations know: it rides along as depth, and is moved like it.
        "visible": scene.visible.half(),
    }


def augmented(augmentation, clip, seed=0):
    """The augmented clip with its visible mask moved along."""
    made = augmentation(clip, torch.Generator().manual_seed(seed))
    carrier = {**clip, "depth": clip["visible"]}
    moved = augmentation(carrier, torch.Generator().manual_seed(seed))
    return {**made, "visible": moved["depth"].float()}


def worst_psnr(clip):
    """PSNR of the key frame warped onto each frame, where visible, in the worst frame."""
    video, key = to_float(clip["video"]), int(clip["key_index"])
    flow = clip["flow_i2v"].float()
    height, width = SIZE
    place = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"))
    there = place + flow
    # A window may leave out the point that the flow leads to.
    inside = (there >= 0).all(1) & (there[:, 0] <= width - 1) & (there[:, 1] <= height - 1)
    chosen = inside & (clip["visible"][:, 0] == 1)
    error = (warp(video[key], flow) - video).square().mean(1)
    return min(10 * math.log10(4 / error[f][chosen[f]].mean()) for f in range(FRAMES) if f != key)


AUGMENTATIONS = {
    "flip": HorizontalFlip(1),
    "reversal": TemporalReversal(1),
    "zoom": RandomZoom(1.5, 1),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("seed", range(4))
def test_flow_still_warps_the_augmented_key_frame(name, seed):
    clip = augmented(AUGMENTATIONS[name], sample(seed), seed)
    assert worst_psnr(clip) > 35
    swapped = {**clip, "flow_i2v": clip["flow_v2i"]}
    assert worst_psnr(swapped) < 30


def test_without_the_sign_of_dx_the_same_metric_fails():
    clip = augmented(HorizontalFlip(1), sample(0))
    wrong = {**clip, "flow_i2v": clip["flow_i2v"] * torch.tensor([-1, 1])[:, None, None]}
    assert worst_psnr(wrong) < 30


def test_flip_by_hand():
    clip = sample(0)
    flipped = HorizontalFlip(1)(clip, torch.Generator())
    assert torch.equal(flipped["video"][2, 1, 7], clip["video"][2, 1, 7].flip(0))
    assert torch.equal(flipped["flow_i2v"][3, 0, 5, 0], -clip["flow_i2v"][3, 0, 5, -1])
    assert torch.equal(flipped["flow_v2i"][3, 1, 5, 0], clip["flow_v2i"][3, 1, 5, -1])
    assert torch.equal(flipped["depth_alignment"], clip["depth_alignment"])


def test_reversal_by_hand():
    clip = sample(0)
    back = TemporalReversal(1)(clip, torch.Generator())
    assert int(back["key_index"]) == FRAMES - 1 - KEY
    for name in ("video", "depth", "depth_alignment", "flow_i2v", "flow_v2i"):
        for frame in range(FRAMES):
            assert torch.equal(back[name][frame], clip[name][FRAMES - 1 - frame])
    assert (back["flow_i2v"][back["key_index"]] == 0).all()


@pytest.mark.parametrize("grid", [(256, 256), (64, 64)])
def test_zoom_of_a_plain_motion(grid):
    """A uniform flow and a plane of depth, whose enlargements are known without any sampling."""
    cells, pixels = grid[0], SIZE[0]
    ramp = torch.linspace(0, 1, cells).expand(FRAMES, 1, cells, cells)
    clip = {
        "video": torch.arange(pixels).byte().expand(FRAMES, 3, pixels, pixels).contiguous(),
        "key_index": torch.tensor(KEY),
        "depth": ramp.half(),
        "flow_i2v": torch.tensor([1.0, -2.0]).half()[:, None, None].expand(FRAMES, 2, *grid),
    }
    zoomed = RandomZoom(1.5, 1)(clip, torch.Generator().manual_seed(3))
    zoom = zoomed["flow_i2v"][0, 0, 0, 0].item()
    assert 1 < zoom < 1.5
    assert zoomed["flow_i2v"][:, 0].unique().item() == zoom
    # the window is a whole number of cells in either axis, the same number in both
    assert zoomed["flow_i2v"][:, 1].unique().item() == pytest.approx(-2 * zoom, rel=1e-3)
    assert cells / zoom == pytest.approx(round(cells / zoom), abs=0.05)
    # columns of the video count pixels: their slope shrinks by the zoom
    columns = zoomed["video"][0, 0, 0].float()
    slope = (columns[200] - columns[20]) / 180
    assert slope.item() == pytest.approx(1 / zoom, abs=0.01)
    depth = zoomed["depth"][0, 0, 0].float()
    far, near = cells * 20 // 256, cells * 200 // 256
    assert ((depth[near] - depth[far]) / (near - far)).item() == pytest.approx(
        1 / (cells - 1) / zoom, rel=0.02
    )


def test_zoom_refuses_a_grid_between_pixels():
    clip = sample(0) | {"name": "a"}
    clip["flow_i2v"] = clip["flow_i2v"][..., :100, :100]
    with pytest.raises(UserError, match=r"a: labels on a grid of \(100, 100\)"):
        RandomZoom(probability=1)(clip, torch.Generator())


def test_probability():
    class Count(Augmentation):
        calls = 0

        def apply(self, sample, random):
            self.calls += 1
            return sample

    random, count = torch.Generator().manual_seed(0), Count(0.25)
    for _ in range(400):
        count({}, random)
    # 400 draws of probability 1/4: four standard deviations are 35
    assert 65 <= count.calls <= 135
    with pytest.raises(UserError, match=r"probability: 2 .*Count"):
        Count(2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_clips_without_labels(name):
    clip = {key: sample(0)[key] for key in ("video", "key_index")}
    made = AUGMENTATIONS[name](clip, torch.Generator().manual_seed(0))
    assert set(made) == set(clip)
    assert made["video"].shape == clip["video"].shape
    assert made["video"].dtype == torch.uint8


@pytest.mark.parametrize("largest", [0.5, float("inf"), float("nan")])
def test_a_zoom_below_one_is_refused(largest):
    with pytest.raises(UserError, match="largest"):
        RandomZoom(largest)
