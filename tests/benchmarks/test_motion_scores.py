from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.film_motion import by_shot, energy_score, film
from benchmarks.picture_to_motion import foretold, in_order
from benchmarks.quality import drop
from movideo.motion.key_frame_motion import KeyFrameMotion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.video.write import write_mp4


def test_the_energy_score_of_two_flows_by_hand():
    truth = torch.zeros(1, 2, 2, 2)
    samples = torch.zeros(2, 1, 2, 2, 2)
    samples[0, :, 0], samples[1, :, 1] = 3.0, -4.0
    # 3 and 4 from the truth, 5 from one another.
    assert energy_score(samples, truth).item() == pytest.approx(3.5 - 2.5)
    assert energy_score(samples[:1], truth).item() == pytest.approx(3.0)


def test_an_honest_spread_scores_below_its_mean():
    generator = torch.Generator().manual_seed(0)
    truth, *samples = torch.randn(65, 4, 2, 8, 8, generator=generator)
    honest = energy_score(torch.stack(samples), truth)
    assert honest < energy_score(torch.zeros(1, 4, 2, 8, 8), truth)


def test_shots_are_resampled_whole():
    shots = ["a"] * 9 + ["b"]
    low, high = by_shot(torch.tensor([0.0] * 9 + [1.0]), shots)
    # Of two shots, a quarter of the draws is the same shot twice.
    assert (low, high) == (0.0, 1.0)


def test_clips_of_one_video_are_of_one_shot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, grey in (("bbb_001", 0.0), ("other", 0.5)):  # the same video twice would count once
        video = torch.full((60, 3, 64, 64), grey)
        write_mp4(tmp_path / "shots" / f"{name}.mp4", video, fps=20)
    shots = film("shots", 2, labels=False).sources_of_clips().values()
    names = [Path(shot).stem for shot in shots]
    assert sorted(names) == ["bbb_001", "bbb_001", "other", "other"]


def test_pairs_of_shapes_in_order():
    layers = torch.arange(3).repeat_interleave(40)[:, None]
    true = layers * 1.0
    assert in_order(true * 0.1 - 3, true, layers) == 1.0
    assert in_order(-true, true, layers) == 0.0
    swapped = torch.tensor([0.0, 2.0, 1.0])[layers]
    assert in_order(swapped, true, layers) == pytest.approx(2 / 3)


def test_a_score_has_dropped_where_it_is_lower_beyond_its_noise():
    before = [float(i % 7) for i in range(60)]
    noise = torch.randn(60, generator=torch.Generator().manual_seed(0)).tolist()
    same = [value + 0.5 * error for value, error in zip(before, noise, strict=True)]
    assert drop(same, before)[1] > 0
    mean, high = drop([value - 0.5 for value in same], before)
    assert mean == pytest.approx(sum(0.5 * e - 0.5 for e in noise) / 60)
    assert high < 0
    # Fewer clips than before are compared with the same ones.
    assert drop(before[:8], before) == (0.0, 0.0)


def test_a_score_that_is_gone_has_dropped():
    nothing = float("nan")
    assert drop([1.0, nothing], [1.0, 2.0])[1] == -float("inf")
    assert drop([1.0, nothing], [1.0, nothing]) == (0.0, 0.0)  # a clip that never had one


def test_what_is_foretold_moves_evenly_in_pixels():
    key_frame = KeyFrameMotion(128)
    key_frame.head.weight.data.zero_()
    key_frame.head.bias.data[16:32] = 2.0  # to the right: a fifth of the side a second
    key_frame.head.bias.data[32:] = 0.0
    encoder = MoVideoPipeline.from_pretrained("embedded").image_encoder
    scene = SceneSettings(1, 0, readable=1.0).render(0)
    motion = foretold(SimpleNamespace(image_encoder=encoder, key_frame=key_frame), scene)
    seconds = (16 - scene.key_index) / scene.fps
    expected = torch.tensor([0.2 * 64 * seconds, 0.0])[:, None, None].expand(2, 64, 64)
    assert torch.allclose(motion.flow_v2i[0, 16], expected, atol=1e-4)
    assert (motion.flow_v2i[0, scene.key_index] == 0).all()
