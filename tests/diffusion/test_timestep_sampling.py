import pytest
import torch

from movideo.diffusion import LogitNormalTimesteps, SampleRandomness, UniformTimesteps
from movideo.errors import UserError

MANY = SampleRandomness.of_training(0, 0, range(4000))


def test_uniform_is_what_training_drew_before():
    assert torch.equal(UniformTimesteps()(MANY, 1000, "cpu"), MANY.timesteps(1000))


def test_logit_normal_has_the_quantiles_of_its_normal():
    drawn = LogitNormalTimesteps(mean=0.5, deviation=1.5)(MANY, 1000, "cpu")
    assert drawn.dtype == torch.int64
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 1000
    for share in (0.1, 0.5, 0.9):
        z = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(share))
        expected = 1000 * torch.sigmoid(0.5 + 1.5 * z)
        # 4,000 draws leave a standard error of about 8 timesteps.
        assert float(drawn.float().quantile(share)) == pytest.approx(float(expected), abs=25)


def test_a_draw_belongs_to_its_sample():
    sampling = LogitNormalTimesteps()
    few = sampling(SampleRandomness.of_training(0, 0, [7]), 1000, "cpu")
    assert few[0] == sampling(MANY, 1000, "cpu")[7]


def test_no_spread_is_refused():
    with pytest.raises(UserError, match="deviation 0"):
        LogitNormalTimesteps(deviation=0)
