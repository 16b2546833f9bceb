import torch

from movideo.motion.key_frame import KeyFrameCondition, KeyFrameOnGrid


def test_a_picture_comes_down_to_the_grid_by_averages():
    image = torch.zeros(2, 3, 8, 12)
    image[1, 2, :4, :6] = 1.0
    channels = KeyFrameOnGrid()(image, torch.tensor([0, 1]), 5, (2, 2))
    assert channels.shape == (2, 5, 3, 2, 2)
    # Antialiased: a cell takes some of its neighbours, by 0.14 a side (0.86 squared is 0.74).
    assert 0.7 < channels[1, 0, 2, 0, 0] < 0.8
    assert channels[1, 0, 2, 1, 1] < 0.05
    assert bool((channels[0] == 0).all())
    assert torch.equal(channels[:, 0], channels[:, 4])


def test_the_paper_s_form_adds_nothing():
    assert KeyFrameCondition()(torch.zeros(1, 3, 8, 8), torch.tensor([0]), 5, (2, 2)) is None
    assert KeyFrameCondition().channels == 0
