import pytest
import torch

from movideo.diffusion import MinSNRWeighting, UniformWeighting, add_noise, prediction_target
from movideo.diffusion.parameterisation import predicted_clean
from movideo.errors import UserError

LEVELS = torch.tensor([0.9, 0.8, 0.5])  # signal-to-noise ratios 9, 4 and 1


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [
        ("epsilon", [5 / 9, 1.0, 1.0]),  # min(SNR, 5) / SNR
        ("v_prediction", [5 / 10, 4 / 5, 1 / 2]),  # min(SNR, 5) / (SNR + 1)
        ("sample", [5.0, 4.0, 1.0]),  # min(SNR, 5)
    ],
)
def test_min_snr_by_hand(prediction_type: str, expected: list[float]) -> None:
    weights = MinSNRWeighting(gamma=5)(LEVELS, prediction_type)
    # 1 - 0.9 in float32 is right to 3e-7
    torch.testing.assert_close(weights, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    [
        ("epsilon", [5 / 9, 5 / 4, 2.0]),  # min(SNR + 1, 5) / SNR
        ("v_prediction", [5 / 10, 5 / 5, 2 / 2]),  # min(SNR + 1, 5) / (SNR + 1)
        ("sample", [5.0, 5.0, 2.0]),  # min(SNR + 1, 5)
    ],
)
def test_min_snr_that_counts_pure_noise_by_hand(
    prediction_type: str, expected: list[float]
) -> None:
    weighting = MinSNRWeighting(gamma=5, count_pure_noise=True)
    found = weighting(LEVELS, prediction_type)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)
    if prediction_type != "epsilon":  # which is refused where there is no signal
        assert weighting(torch.zeros(1), prediction_type).item() == 1


def test_min_snr_means_the_same_in_every_parameterisation() -> None:
    """One wrong clean sample costs the same however the network expresses it."""
    clean, noise = torch.randn(3, 50), torch.randn(3, 50)
    noisy, weighting = add_noise(clean, noise, LEVELS), MinSNRWeighting()
    wrong = clean + 0.3 * torch.randn(3, 50)
    implied_noise = (noisy - LEVELS.sqrt()[:, None] * wrong) / (1 - LEVELS).sqrt()[:, None]
    losses = []
    for kind in ("epsilon", "v_prediction", "sample"):
        prediction = prediction_target(wrong, implied_noise, LEVELS, kind)
        found = predicted_clean(noisy, prediction, LEVELS, kind)
        torch.testing.assert_close(found, wrong, rtol=0, atol=1e-5)
        error = (prediction - prediction_target(clean, noise, LEVELS, kind)).square().mean(1)
        losses.append(weighting(LEVELS, kind) * error)
    # equal in exact arithmetic; float32 with divisions by sqrt(0.1)
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-4, atol=0)
    torch.testing.assert_close(losses[1], losses[2], rtol=1e-4, atol=0)


def test_min_snr_velocity_form_at_pure_noise_is_zero_not_nan() -> None:
    assert MinSNRWeighting()(torch.zeros(1), "v_prediction").item() == 0


def test_uniform_weights_are_one() -> None:
    for kind in ("epsilon", "v_prediction", "sample"):
        assert UniformWeighting()(LEVELS, kind).tolist() == [1, 1, 1]


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="gamma=0"):
        MinSNRWeighting(gamma=0)
    with pytest.raises(UserError, match="'flow'"):
        MinSNRWeighting()(LEVELS, "flow")
