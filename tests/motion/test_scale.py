"""The predicted scale: its likelihood by hand, its draws, and what Eq. 10 makes of its bounds."""

import math

import pytest
import torch

from movideo.motion.scale import FlowScale, PredictedFlowScale
from movideo.motion.space import MotionSpace, PerFrameMotionSpace, QuantileMotionSpace
from movideo.ops import estimate_flow_scale
from movideo.scenes.render import render_scene
from movideo.shards.labels import ScaleLaw, scale_law

LAW = ScaleLaw(intercept=-2.0, slope=0.5, spread=0.25)


def predictor(components=2):
    torch.manual_seed(0)
    made = PredictedFlowScale(token_dim=4, width=8, components=components)
    made.fit_law(LAW)
    return made


def normal(x, mean, std):
    return math.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


def test_likelihood_by_hand():
    made = predictor()
    with torch.no_grad():  # weights 0.75 and 0.25; means -1 + 2 and 1 - 1 spreads; stds 0.5 and 2
        made.head[-1].bias.copy_(torch.tensor([math.log(3), 0, 2, -1, math.log(0.5), math.log(2)]))
    reach = torch.tensor([4.0])
    law = -2.0 + 0.5 * math.log(4.0)
    first = normal(-1.2, law + 0.25 * (-1 + 2), 0.25 * 0.5)
    second = normal(-1.2, law + 0.25 * (1 - 1), 0.25 * 2)
    loss = made.losses(torch.randn(1, 3, 4), reach, torch.tensor([-1.2]))
    assert float(loss) == pytest.approx(-math.log(0.75 * first + 0.25 * second), abs=1e-5)


def test_it_starts_as_the_law_and_learns_what_tokens_tell():
    made = predictor(components=3)
    tokens, reach = torch.randn(64, 5, 4), torch.linspace(0.2, 5, 64)
    law = -2 + 0.5 * reach.log()
    mixture = made.distribution(tokens, reach)
    assert torch.allclose(mixture.mean, law, atol=1e-6)
    true = law + 0.3 * tokens[..., 0].amax(1)  # the fastest decides
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        made.losses(tokens, reach, true).mean().backward()
        optimizer.step()
    found = made.distribution(tokens, reach).mean
    assert (found - true).abs().mean() < 0.25 * (law - true).abs().mean()


def test_draws_follow_the_mixture_and_their_generator():
    made = predictor()
    with torch.no_grad():
        made.head[-1].bias.copy_(torch.tensor([math.log(3), 0, 0, 0, -2.0, -2.0]))
    count = 4000
    tokens, reach = torch.randn(count, 2, 4), torch.ones(count)
    drawn = made.draw(tokens, reach, torch.Generator().manual_seed(1))
    # Components at -2.25 and -1.75, an eighth of a spread wide: three quarters lie at the first.
    # The deviation of that share over 4000 draws is 0.007.
    assert float((drawn.log_scale < -2).float().mean()) == pytest.approx(0.75, abs=0.03)
    low, high = drawn.bounds
    std = 0.25 * math.exp(-2)
    assert torch.allclose(high - low, torch.full((count,), 4 * std), atol=1e-5)
    within = (drawn.log_scale > low) & (drawn.log_scale < high)
    assert float(within.float().mean()) == pytest.approx(0.954, abs=0.015)
    again = made.draw(tokens, reach, torch.Generator().manual_seed(1))
    assert torch.equal(drawn.log_scale, again.log_scale)
    each = made.draw(tokens[:2], reach[:2], [torch.Generator().manual_seed(s) for s in (5, 6)])
    alone = made.draw(tokens[1:2], reach[1:2], [torch.Generator().manual_seed(6)])
    assert torch.equal(each.log_scale[1:], alone.log_scale)


def test_strength_moves_draw_and_bounds():
    drawn = predictor().draw(torch.randn(1, 2, 4), torch.ones(1), torch.Generator().manual_seed(0))
    twice = drawn.times(2)
    for one, other in zip(
        (drawn.log_scale, *drawn.bounds), (twice.log_scale, *twice.bounds), strict=True
    ):
        assert float((other - one).exp()) == pytest.approx(2, abs=1e-5)


def test_the_paper_predicts_nothing():
    assert FlowScale().draw(torch.zeros(1, 2, 4), torch.ones(1)) is None
    assert FlowScale().losses(torch.zeros(1, 2, 4), torch.ones(1), torch.ones(1)) is None


def test_weights_and_law_come_back(tmp_path):
    made = predictor()
    made.save_pretrained(tmp_path)
    again = PredictedFlowScale.from_pretrained(tmp_path)
    arguments = torch.randn(3, 2, 4), torch.ones(3), torch.zeros(3)
    assert torch.equal(made.losses(*arguments), again.losses(*arguments))


def test_law_of_time_by_hand():
    # Through (0, -3), (1, -1), (2, -2): slope 0.5, mean -2, left over -0.5, 1, -0.5.
    law = scale_law([0.0, 1.0, 2.0], [-3.0, -1.0, -2.0])
    assert (law.intercept, law.slope) == pytest.approx((-2.5, 0.5))
    assert law.spread == pytest.approx(math.sqrt(0.5))
    # Of one time alone: as of a constant speed.
    assert scale_law([1.0, 1.0], [-1.0, -3.0]) == ScaleLaw(-3.0, 1.0, 1.0)


@pytest.mark.parametrize("kind", [MotionSpace, QuantileMotionSpace])
def test_log_scale_is_of_what_flow_is_divided_by(kind):
    flow = torch.zeros(1, 3, 2, 64, 64)
    flow[:, 0, 0] = 8.0  # 4 cells of a grid of 32: an eighth of its side
    assert float(kind((32, 32)).log_scale(flow, flow)) == pytest.approx(math.log(1 / 8), abs=1e-5)


def test_eq_10_stays_within_the_bounds():
    scene = render_scene(3, readable=True, fps=4)
    space = QuantileMotionSpace((32, 32))
    labels = scene.depth[None], scene.flow_i2v[None], scene.flow_v2i[None]
    sample, true = space.encode(*labels), space.log_scale(*labels[1:])
    key = torch.tensor([scene.key_index])

    def found(depth, low, high):
        motion = space.split(torch.cat([depth, sample[:, :, 1:]], dim=2), key)
        scale = space.flow_scale(motion, key, (true + low, true + high))
        return float((scale[:, 0] / 32).log() - true)

    depth = sample[:, :, :1]
    assert abs(found(depth, -0.5, 0.5)) < 0.1  # it finds the truth where that is inside
    assert 0.2 < found(depth, 0.2, 0.6) < 0.4  # and goes towards it where it is not
    still = depth[:, key].expand_as(depth)  # depth that stands still would have nothing move
    assert -0.5 < found(still, -0.5, 0.5) < 0


def test_without_a_word_of_depth_the_expected_scale_stays():
    flow = torch.randn(2, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    bounds = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.5])
    flat = torch.zeros(2, 3, 1, 8, 8)
    logs = estimate_flow_scale(flat, flow, flow, 1, bounds, is_expected=True).log()
    assert torch.allclose(logs, torch.tensor([0.5, 1.25]), atol=1e-3)


def test_depth_has_the_say_of_one_frame():
    """Depth whose error is that of a square two columns off: a cost that is known by hand."""
    depth = torch.zeros(1, 3, 1, 4, 16)
    flow = torch.zeros(1, 3, 2, 4, 16)
    ramp = torch.arange(16.0) / 16
    depth[:] = ramp
    depth[:, 2] = ramp + 2 / 16  # a ramp that has moved by 2 columns to the left
    flow[:, 2, 0] = 1  # into the key frame, to the right
    bounds = torch.tensor([0.0]), torch.tensor([math.log(2) * 2])  # around 2
    at_the_middle = estimate_flow_scale(depth, flow, -flow, 0, bounds, is_expected=True)
    # Both agree on 2, whatever the border, which moves no minimum of both costs' sum far.
    assert float(at_the_middle) == pytest.approx(2, rel=0.05)


def test_bounds_hold_for_each_clip():
    scene = render_scene(5, readable=True, fps=4)
    depth, flow = scene.depth[None].repeat(2, 1, 1, 1, 1), torch.randn(2, 17, 2, 64, 64)
    bounds = torch.tensor([0.0, 2.0]), torch.tensor([0.5, 2.5])
    logs = estimate_flow_scale(depth, flow, flow, 8, bounds).log()
    assert 0 <= logs[0] <= 0.5
    assert 2 <= logs[1] <= 2.5


def test_frames_of_their_own_scale_are_bounded_from_above():
    space = PerFrameMotionSpace((16, 16))
    scene = render_scene(4, readable=True, fps=3)
    key = torch.tensor([8])
    sample = space.encode(scene.depth[None], scene.flow_i2v[None], scene.flow_v2i[None])
    scales = space.flow_scale(space.split(sample, key), key, (torch.zeros(1), torch.tensor([-2.0])))
    assert scales.shape == (1, 17)
    assert float(scales.max()) <= 16 * math.exp(-2) * 1.0001
