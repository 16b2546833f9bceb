"""What the network predicts, and the clean sample that follows from it."""

from torch import Tensor

from movideo.diffusion.schedule import per_sample
from movideo.errors import UserError


def prediction_target(
    clean: Tensor, noise: Tensor, alpha_bar: Tensor, prediction_type: str
) -> Tensor:
    """What a perfect network would predict.

    The noise (`epsilon`, MoVideo Eq. 5), the velocity `sqrt(a) noise - sqrt(1 - a) clean`
    (`v_prediction`; Salimans & Ho 2022) or the clean sample itself (`sample`).

    Args:
        clean: `(B, ...)`.
        noise: `(B, ...)`, standard normal.
        alpha_bar: `(B,)` in [0, 1].
        prediction_type: `epsilon`, `v_prediction` or `sample`.

    Raises:
        UserError: The prediction type is none of the three.
    """
    alpha_bar = per_sample(alpha_bar, clean)
    match prediction_type:
        case "epsilon":
            return noise
        case "v_prediction":
            return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean
        case "sample":
            return clean
    raise _unknown(prediction_type)


def predicted_clean(
    sample: Tensor, prediction: Tensor, alpha_bar: Tensor, prediction_type: str
) -> Tensor:
    """Clean sample that a prediction stands for: the inverse of `prediction_target`.

    Args:
        sample: Noisy sample, `(B, ...)`.
        prediction: What the network said of it, `(B, ...)`.
        alpha_bar: `(B,)` in [0, 1]; above 0 for `epsilon`, which divides by its square root.
        prediction_type: `epsilon`, `v_prediction` or `sample`.

    Raises:
        UserError: The prediction type is none of the three.
    """
    alpha_bar = per_sample(alpha_bar, sample)
    match prediction_type:
        case "epsilon":
            return (sample - (1 - alpha_bar).sqrt() * prediction) / alpha_bar.sqrt()
        case "v_prediction":
            return alpha_bar.sqrt() * sample - (1 - alpha_bar).sqrt() * prediction
        case "sample":
            return prediction
    raise _unknown(prediction_type)


def _unknown(prediction_type: str) -> UserError:
    return UserError(
        f"prediction_type={prediction_type!r} is unknown; set epsilon, v_prediction or sample"
    )
