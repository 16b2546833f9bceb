import pytest
import torch
from torch import nn

from movideo.errors import UserError
from movideo.models.discriminator import PatchDiscriminator


def discriminator(dimensions: int, layers: int = 2) -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator(dimensions, width=8, layers=layers)


def clips(batch: int = 2, frames: int = 5, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(batch, frames, 3, side, side, generator=generator) - 1


@torch.no_grad()
@pytest.mark.parametrize(("layers", "side"), [(2, 14), (3, 6)])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_logits_are_patches_of_each_clip(layers, side, frames):
    """64 halved 2 or 3 times, less 1 by each of the two last kernels of 4."""
    video = clips(2, frames, 64)
    assert discriminator(2, layers)(video).shape == (2, frames, side, side)
    depth = -(-frames // 2**layers)  # halved, rounded up
    assert discriminator(3, layers)(video).shape == (2, depth, side, side)


@torch.no_grad()
@pytest.mark.parametrize("dimensions", [2, 3])
def test_samples_of_a_batch_do_not_mix(dimensions):
    judge, video = discriminator(dimensions), clips(3)
    before = judge(video)
    video[1] = -video[1]
    after = judge(video)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])


@torch.no_grad()
def test_frames_mix_in_3d_alone():
    video = clips(1, 9)
    changed = video.clone()
    changed[:, 4] = -changed[:, 4]
    flat, deep = discriminator(2), discriminator(3)
    same = (flat(changed) == flat(video)).flatten(2).all(dim=2)[0]
    assert same.tolist() == [frame != 4 for frame in range(9)]
    assert (deep(changed) != deep(video)).flatten(2).any(dim=2).all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_logit_sees_70_pixels(dimensions):
    judge = PatchDiscriminator(dimensions, width=1, layers=3)
    for index, block in enumerate(judge.blocks):
        if isinstance(block, nn.GroupNorm):  # it sees everything
            judge.blocks[index] = nn.Identity()
        elif isinstance(block, nn.LeakyReLU):
            judge.blocks[index] = nn.LeakyReLU(0.2)
    video = clips(1, 1, 128).requires_grad_()
    judge(video)[0, 0, 7, 7].backward()
    rows, columns = (video.grad.abs().sum(dim=(0, 1, 2, 3 + axis)) > 0 for axis in (1, 0))
    assert (rows.sum(), columns.sum()) == (70, 70)


def test_only_the_inner_layers_are_normed():
    judge = PatchDiscriminator(2, width=64, layers=3)
    widths = [block.out_channels for block in judge.blocks if isinstance(block, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 1]
    normed = [block.num_channels for block in judge.blocks if isinstance(block, nn.GroupNorm)]
    assert normed == [128, 256, 512]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_learns_to_tell_noise_from_flat_colour(dimensions):
    judge = discriminator(dimensions)
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
    flat, noise = torch.zeros(2, 3, 3, 16, 16), clips(2, 3, 16)
    for _ in range(15):
        loss = judge(noise).mean() - judge(flat).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert judge(flat).mean() > judge(noise).mean() + 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": 4}, "^dimensions: 4; choose 2 [^\n]*$"),
        ({"width": 0}, "^width 0, layers 3: [^\n]*$"),
        ({"layers": 0}, "^width 64, layers 0: [^\n]*$"),
    ],
)
def test_refuses_what_it_cannot_build(arguments, message):
    with pytest.raises(UserError, match=message):
        PatchDiscriminator(**arguments)


@torch.no_grad()
def test_frames_must_be_large_enough():
    assert discriminator(2, 3)(clips(1, 1, 24)).shape == (1, 1, 1, 1)
    with pytest.raises(UserError, match=r"^size 23x23: [^\n]* at least 24 pixels a side$"):
        discriminator(3, 3)(clips(1, 1, 23))
