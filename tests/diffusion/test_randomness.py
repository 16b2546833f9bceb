import hashlib

import torch

from movideo.diffusion import SampleRandomness

SHAPE = (2, 3, 4, 4)


def test_draws_do_not_depend_on_how_the_batch_is_split() -> None:
    whole = SampleRandomness.of_training(0, 7, range(4))
    parts = [SampleRandomness.of_training(0, 7, positions) for positions in ([0, 1], [2, 3])]
    assert torch.equal(whole.noise(SHAPE), torch.cat([part.noise(SHAPE) for part in parts]))
    assert torch.equal(whole.timesteps(1000), torch.cat([part.timesteps(1000) for part in parts]))
    assert torch.equal(whole.uniform("a"), torch.cat([part.uniform("a") for part in parts]))


def test_draws_do_not_depend_on_other_draws() -> None:
    first, second = (SampleRandomness.of_training(0, 7, [3]) for _ in range(2))
    first.uniform("tokens")
    first.timesteps(1000)
    torch.rand(3)
    assert torch.equal(first.noise(SHAPE), second.noise(SHAPE))


def test_seed_step_position_and_name_each_change_the_draw() -> None:
    base = SampleRandomness.of_training(0, 1, [2])
    others = [
        SampleRandomness.of_training(1, 1, [2]).noise(SHAPE),
        SampleRandomness.of_training(0, 2, [2]).noise(SHAPE),
        SampleRandomness.of_training(0, 1, [3]).noise(SHAPE),
        SampleRandomness.of_samples(0, [2]).noise(SHAPE),
        base.noise(SHAPE, name="again"),
    ]
    assert all(not torch.equal(base.noise(SHAPE), other) for other in others)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    SampleRandomness.of_samples(0, ["a"]).noise(SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_keep_their_draws_wherever_they_stand() -> None:
    forward = SampleRandomness.of_samples(5, ["clip-a", "clip-b"])
    backward = SampleRandomness.of_samples(5, ["clip-b", "clip-a"])
    assert torch.equal(forward.noise(SHAPE), backward.noise(SHAPE).flip(0))
    assert torch.equal(forward.timesteps(1000), backward.timesteps(1000).flip(0))


def test_draws_have_their_distributions() -> None:
    many = SampleRandomness.of_training(0, 0, range(4000))
    noise, timesteps, uniform = many.noise((4,)), many.timesteps(10), many.uniform("drop")
    # six standard errors each: of a mean and a spread of 16000 normal draws, of a count of 400 in
    # 4000, and of a mean of 4000 uniform draws
    assert abs(noise.mean()) < 6 * 0.0079
    assert abs(noise.std() - 1) < 6 * 0.0056
    assert (torch.bincount(timesteps, minlength=10) - 400).abs().max() < 6 * 19
    assert abs(uniform.mean() - 0.5) < 6 * 0.0046
    assert timesteps.dtype == torch.int64
    assert uniform.min() >= 0
    assert uniform.max() < 1
    # neighbouring samples and different names are unrelated: correlation within six standard errors
    pairs = torch.stack([uniform[:-1], uniform[1:], many.uniform("other")[1:]])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 6 / 4000**0.5


def test_values_are_pinned() -> None:
    """A changed hash would change the noise of every run between versions; this says so."""
    digest = hashlib.sha256(b"drop/train/3/5/1").digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
    expected = torch.rand((), generator=generator)
    assert SampleRandomness.of_training(3, 5, [1]).uniform("drop").item() == expected.item()
