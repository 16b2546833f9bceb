import pytest
import torch
from diffusers import DDPMScheduler

from movideo.diffusion import add_noise, alpha_bar, predicted_clean, prediction_target
from movideo.errors import UserError


def test_velocity_is_that_of_diffusers() -> None:
    scheduler = DDPMScheduler(beta_schedule="scaled_linear")
    clean, noise = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 4, 5, 6)
    timesteps = torch.tensor([3, 870])
    target = prediction_target(clean, noise, alpha_bar(scheduler, timesteps), "v_prediction")
    # the same formula in float32, up to the order of rounding
    torch.testing.assert_close(
        target, scheduler.get_velocity(clean, noise, timesteps), rtol=1e-6, atol=1e-6
    )


def test_targets_by_hand() -> None:
    clean, noise, level = torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([0.64])
    assert prediction_target(clean, noise, level, "epsilon").item() == 1.0
    assert prediction_target(clean, noise, level, "sample").item() == 2.0
    # 0.8 * 1 - 0.6 * 2, within float32
    assert prediction_target(clean, noise, level, "v_prediction").item() == pytest.approx(
        -0.4, abs=1e-6
    )


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_predicted_clean_undoes_the_target(prediction_type: str) -> None:
    clean, noise = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    level = torch.tensor([0.999, 0.6, 0.1, 0.01])
    target = prediction_target(clean, noise, level, prediction_type)
    found = predicted_clean(add_noise(clean, noise, level), target, level, prediction_type)
    # epsilon divides by sqrt(0.01): ten times float32's rounding of values around 3
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-5)


def test_velocity_and_sample_survive_pure_noise() -> None:
    clean, noise, level = torch.randn(1, 3), torch.randn(1, 3), torch.zeros(1)
    for kind in ("v_prediction", "sample"):
        target = prediction_target(clean, noise, level, kind)
        assert torch.equal(predicted_clean(noise, target, level, kind), clean)


def test_an_unknown_prediction_type_is_named() -> None:
    x = torch.zeros(1, 1)
    for function in (prediction_target, predicted_clean):
        with pytest.raises(UserError, match="'noise'"):
            function(x, x, torch.ones(1), "noise")
