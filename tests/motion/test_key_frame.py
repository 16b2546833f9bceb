import pytest
import torch

from movideo.errors import UserError
from movideo.motion.key_frame import KeyFrameCondition, KeyFrameOnGrid

TOKENS = torch.arange(2 * 5 * 6.0).reshape(2, 5, 6)


def test_a_picture_comes_down_to_the_grid_by_averages():
    image = torch.zeros(2, 3, 8, 12)
    image[1, 2, :4, :6] = 1.0
    channels = KeyFrameOnGrid()(image, TOKENS, torch.tensor([0, 1]), 5, (2, 2))
    assert channels.shape == (2, 5, 3, 2, 2)
    # Antialiased: a cell takes some of its neighbours, by 0.14 a side (0.86 squared is 0.74).
    assert 0.7 < channels[1, 0, 2, 0, 0] < 0.8
    assert channels[1, 0, 2, 1, 1] < 0.05
    assert bool((channels[0] == 0).all())
    assert torch.equal(channels[:, 0], channels[:, 4])


def test_the_paper_s_form_adds_nothing():
    assert KeyFrameCondition()(None, TOKENS, torch.tensor([0, 1]), 5, (2, 2)) is None
    assert KeyFrameCondition().channels == 0


def test_tokens_lie_where_their_patches_are():
    shown = KeyFrameOnGrid(picture=False, token_dim=6)(
        None, TOKENS, torch.tensor([0, 0]), 3, (2, 2)
    )
    # The first token is the class; the patches come row by row.
    for place, token in {(0, 0): 1, (0, 1): 2, (1, 0): 3, (1, 1): 4}.items():
        assert torch.equal(shown[1, 2, :, *place], TOKENS[1, token])
    assert KeyFrameOnGrid(token_dim=6).channels == 3 + 6


@pytest.mark.parametrize(("count", "dim"), [(5, 7), (6, 6)])
def test_tokens_that_do_not_fit(count, dim):
    with pytest.raises(UserError, match=f"gives {count - 1} patches of {dim} channels"):
        KeyFrameOnGrid(token_dim=6)(
            torch.zeros(2, 3, 8, 8), torch.zeros(2, count, dim), torch.tensor([0, 0]), 3, (2, 2)
        )


def test_nothing_to_show():
    with pytest.raises(UserError, match="show either"):
        KeyFrameOnGrid(picture=False)


def test_a_class_token_alone_is_shown_everywhere():
    condition = KeyFrameOnGrid(picture=False, token_dim=6)
    shown = condition(None, TOKENS[:, :1].bfloat16(), torch.tensor([0, 0]), 3, (4, 4))
    assert torch.equal(shown, TOKENS[:, 0, None, :, None, None].expand(2, 3, 6, 4, 4))
