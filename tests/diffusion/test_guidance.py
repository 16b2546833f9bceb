from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from movideo.diffusion import ClassifierFreeGuidance, Denoiser, TwoConditionGuidance
from movideo.errors import UserError

TIMESTEPS = torch.tensor([10, 10])


class Network:
    """Predicts 3 with the condition and 1 without it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.drops: list[list[bool]] = []

    def __call__(self, drop: Tensor) -> Tensor:
        self.drops.append(drop.tolist())
        return torch.where(drop, 1.0, 3.0)[:, None]


@pytest.mark.parametrize("in_turns", [False, True])
@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (2.5, 6.0)]
)  # 1 + scale * (3 - 1)
def test_guided_prediction_by_hand(scale: float, expected: float, in_turns: bool) -> None:
    guided = ClassifierFreeGuidance(scale, in_turns)(Network(), TIMESTEPS)
    assert guided.tolist() == [[expected], [expected]]


@pytest.mark.parametrize(
    ("guidance", "drops"),
    [
        (ClassifierFreeGuidance(1.0), [[False, False]]),
        (ClassifierFreeGuidance(0.0), [[True, True]]),
        (ClassifierFreeGuidance(3.0), [[True, True, False, False]]),
        (ClassifierFreeGuidance(3.0, in_turns=True), [[True, True], [False, False]]),
    ],
)
def test_evaluations_are_only_those_needed(
    guidance: ClassifierFreeGuidance, drops: list[list[bool]]
) -> None:
    network = Network()
    guidance(network, TIMESTEPS)
    assert network.drops == drops


def test_one_batch_gives_every_clip_what_two_turns_give() -> None:
    def unet(
        x: Tensor, t: Tensor, tokens: Tensor, fps: Tensor, key: Tensor, drop_tokens: Tensor
    ) -> Tensor:
        """Every clip's result shows all that is its own."""
        own = t + fps + key + torch.where(drop_tokens, 0.0, tokens[:, 0, 0])
        return x.sum(2, keepdim=True) + own[:, None, None, None, None]

    denoiser = Denoiser(
        unet,
        tokens=torch.tensor([3.0, 5.0]).view(2, 1, 1),
        fps=torch.tensor([7.0, 11.0]),
        key_index=torch.tensor([13, 17]),
        condition=torch.randn(2, 3, 1, 2, 2),
    )
    one, two = (
        denoiser.sample(
            DDIMScheduler(prediction_type="sample", clip_sample=False),
            (2, 3, 1, 2, 2),
            ClassifierFreeGuidance(2.0, in_turns),
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(0),
        )
        for in_turns in (False, True)
    )
    assert torch.equal(one, two)
    assert len(one[0].unique()) > 1


def test_who_reads_a_report_learns_the_scale() -> None:
    assert str(ClassifierFreeGuidance(2.5, in_turns=True)) == "ClassifierFreeGuidance 2.5"


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(UserError, match="-1"):
        ClassifierFreeGuidance(-1.0)


class Spread:
    """Predicts (2, -2) with the condition and (1, -1) without it."""

    def __call__(self, drop: Tensor) -> Tensor:
        return torch.where(drop, 1.0, 2.0)[:, None] * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize(("rescale", "expected"), [(0.0, 4.0), (1.0, 2.0), (0.25, 3.5)])
def test_rescaling_by_hand(rescale: float, expected: float) -> None:
    """Guided by 3 it is (4, -4), twice the deviation of the conditional one."""
    guided = ClassifierFreeGuidance(3.0, rescale=rescale)(Spread(), TIMESTEPS)
    torch.testing.assert_close(guided[0], torch.tensor([expected, -expected]))


def test_outside_its_interval_a_step_costs_one_evaluation() -> None:
    guidance, network = ClassifierFreeGuidance(2.0, interval=(10, 600)), Network()
    for timestep, expected, evaluated in ((9, 3, 2), (10, 5, 4), (600, 5, 4), (601, 3, 2)):
        guided = guidance(network, torch.tensor([timestep, timestep]))
        assert guided.tolist() == [[expected]] * 2
        assert len(network.drops[-1]) == evaluated
    mixed = guidance(network, torch.tensor([600, 601]))
    assert mixed.tolist() == [[5], [3]]


def test_settings_are_named_where_samples_depend_on_them() -> None:
    assert str(ClassifierFreeGuidance(2.0)) == "ClassifierFreeGuidance 2.0"
    full = ClassifierFreeGuidance(2.0, rescale=0.7, interval=(100, 800))
    assert str(full) == "ClassifierFreeGuidance 2.0 rescale 0.7 timesteps 100 to 800"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rescale": 1.5}, "rescale 1.5: give a share"),
        ({"interval": (800, 100)}, r"interval \(800, 100\)"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ClassifierFreeGuidance(2.0, **options)


@pytest.mark.parametrize(
    ("scales", "expected"),
    [((1, 1), 7.0), ((0, 0), 1.0), ((1, 0), 5.0), ((2, 3), 1 + 3 * 2 + 2 * 4)],
)
def test_two_conditions_by_hand(scales: tuple[float, float], expected: float) -> None:
    """1 without any, 2 more for the motion, 4 more for the tokens; alone the motion is dropped."""

    def network(drop: Tensor) -> Tensor:
        assert drop.tolist() == [[True, True]] * 2 + [[True, False]] * 2 + [[False, False]] * 2
        return (1.0 + 2.0 * ~drop[:, 1] + 4.0 * ~drop[:, 0])[:, None]

    guided = TwoConditionGuidance(*scales)(network, TIMESTEPS)
    assert guided.tolist() == [[expected]] * 2


def test_the_weaker_condition_is_shown_where_the_motion_is_dropped() -> None:
    seen = []

    def unet(x: Tensor, *_: Tensor, drop_tokens: Tensor) -> Tensor:
        seen.append((x[:, 0, 1, 0, 0].tolist(), drop_tokens.tolist()))
        return x[:, :, :1]

    shape = (2, 3, 1, 2, 2)
    rest: dict[str, Any] = {
        "tokens": torch.zeros(2, 1, 1), "fps": torch.ones(2), "key_index": torch.ones(2).long()
    }  # fmt: skip
    options: dict[str, Any] = {"num_inference_steps": 1, "generator": torch.Generator()}
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=False)
    condition = torch.tensor([5.0, 6.0]).view(2, 1, 1, 1, 1).expand(shape)
    denoiser = Denoiser(unet, **rest, condition=condition, weaker=-condition)
    denoiser.sample(scheduler, shape, TwoConditionGuidance(2, 2), **options)
    assert seen == [([-5, -6, 5, 6, 5, 6], [True] * 4 + [False] * 2)]
    with pytest.raises(UserError, match="no warped latent"):
        Denoiser(unet, **rest, condition=condition).sample(
            scheduler, shape, TwoConditionGuidance(2, 2), **options
        )


def test_two_scales_are_refused_below_zero() -> None:
    with pytest.raises(UserError, match=r"scales 1, -1"):
        TwoConditionGuidance(1, -1)
