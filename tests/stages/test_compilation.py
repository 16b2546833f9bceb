"""A compiled part computes what it did, under the same names."""

import pytest
import torch
from torch import _dynamo

from movideo.errors import UserError
from stages import DepthFlowDiffusion
from stages.compilation import Compile
from tests.stages.parts import ClipData, TrainingLosses, motion_parts, trainer


def train(folder, *callbacks):
    stage = DepthFlowDiffusion(
        **motion_parts(optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
    )
    losses = TrainingLosses()
    runner = trainer(folder, 2, callbacks=[losses, *callbacks])
    runner.fit(stage, datamodule=ClipData())
    return stage, losses.values


def test_the_part_is_compiled_in_place():
    stage = DepthFlowDiffusion(**motion_parts())
    names = stage.state_dict().keys()
    Compile().setup(None, stage, "fit")
    assert stage.unet._compiled_call_impl is not None
    assert stage.image_encoder._compiled_call_impl is None
    assert stage.state_dict().keys() == names


@pytest.mark.slow  # tracing takes 20 s
def test_training_goes_as_before(tmp_path):
    plain, expected = train(tmp_path)
    _dynamo.reset()
    # aot_eager traces forward and backward as inductor does, but generates no C++
    compiled, losses = train(tmp_path, Compile(backend="aot_eager"))
    assert _dynamo.utils.counters["stats"]["unique_graphs"] > 0  # or nothing was compiled
    assert losses == pytest.approx(expected, rel=1e-5)  # float32
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_part_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="parts decoder, but DepthFlowDiffusion has only unet, "):
        train(tmp_path, Compile(parts=["decoder"]))
