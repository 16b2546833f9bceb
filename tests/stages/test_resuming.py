"""What a run that goes on takes from its config, and what from the checkpoint."""

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from movideo.errors import UserError
from stages import FlowDecoderGAN, LatentVideoDiffusion
from stages.schedules import WarmupCosine
from tests.stages.parts import ClipData, decoder_parts, trainer, video_parts

ADAMW = partial(torch.optim.AdamW, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
CONSTANT = partial(WarmupCosine, warmup_steps=0)


def run(folder, steps, stage, ckpt_path=None, **options):
    runner = trainer(folder, steps, **options)
    runner.fit(stage, datamodule=ClipData(), ckpt_path=ckpt_path)
    path = folder / f"{steps}.ckpt"
    runner.save_checkpoint(path)
    return path


def groups(path, number=0):
    return torch.load(path, weights_only=True)["optimizer_states"][number]["param_groups"]


def video(**changes):
    parts = {"optimizer": ADAMW, "spatial_lr_factor": 1.0, **changes}
    return LatentVideoDiffusion(**video_parts(**parts))


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Two steps of stage 2 at a constant rate."""
    return run(tmp_path_factory.mktemp("before"), 2, video(lr_scheduler=CONSTANT))


@pytest.mark.parametrize(
    ("changed", "value"),
    [("lr", 1e-5), ("weight_decay", 0.3), ("betas", (0.5, 0.6)), ("eps", 1e-3)],
)
def test_a_setting_of_the_optimiser_counts_from_the_config(before, tmp_path, changed, value):
    path = run(
        tmp_path,
        3,
        video(lr_scheduler=CONSTANT, optimizer=partial(ADAMW, **{changed: value})),
        before,
    )
    for was, group in zip(groups(before), groups(path), strict=True):
        assert group[changed] == pytest.approx(value)
        for name in {"lr", "weight_decay", "betas", "eps"} - {changed}:
            assert group[name] == pytest.approx(was[name])


def test_the_step_is_one_of_the_new_rate(before, tmp_path):
    """Adam's third step by hand: moments of the checkpoint, the rate and decay of the config."""
    stage = video(lr_scheduler=CONSTANT, optimizer=partial(ADAMW, lr=1e-2, weight_decay=0.5))
    path = run(tmp_path, 3, stage, before)
    old, new = (torch.load(p, weights_only=True) for p in (before, path))
    names = list(new["state_dict"])
    states = new["optimizer_states"][0]["state"]
    parameters = [n for n, p in stage.named_parameters() if p.requires_grad]
    assert len(states) == len(parameters) <= len(names)
    order = [p for group in stage.parameter_groups() for p in group[0]]
    named = {id(p): n for n, p in stage.named_parameters()}
    for index, parameter in enumerate(order):
        state, weight = states[index], old["state_dict"][named[id(parameter)]].double()
        mean = state["exp_avg"].double() / (1 - 0.9**3)
        square = state["exp_avg_sq"].double() / (1 - 0.99**3)
        expected = weight * (1 - 1e-2 * 0.5) - 1e-2 * mean / (square.sqrt() + 1e-8)
        found = new["state_dict"][named[id(parameter)]].double()
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)  # float32


def test_a_warm_up_that_is_under_way_goes_on_to_the_new_peak(tmp_path):
    schedule = partial(WarmupCosine, warmup_steps=9)
    first = run(tmp_path, 2, video(lr_scheduler=schedule))
    assert groups(first)[0]["lr"] == pytest.approx(1e-3 * 3 / 10)
    stage = video(lr_scheduler=schedule, optimizer=partial(ADAMW, lr=2e-3))
    assert groups(run(tmp_path, 3, stage, first))[0]["lr"] == pytest.approx(2e-3 * 4 / 10)
    shorter = partial(WarmupCosine, warmup_steps=4)
    stage = video(lr_scheduler=shorter)
    assert groups(run(tmp_path, 3, stage, first))[0]["lr"] == pytest.approx(1e-3 * 4 / 5)


def test_a_schedule_of_torch_stays_as_low_and_its_numbers_cannot_change(tmp_path):
    halving = partial(StepLR, step_size=1, gamma=0.5)
    first = run(tmp_path, 2, video(lr_scheduler=halving))
    assert groups(first)[0]["lr"] == pytest.approx(1e-3 / 4)
    stage = video(lr_scheduler=halving, optimizer=partial(ADAMW, lr=8e-3))
    assert groups(run(tmp_path, 3, stage, first))[0]["lr"] == pytest.approx(1e-3)  # 8e-3 / 8
    for changed in ({"gamma": 0.1}, {"step_size": 7}):
        stage = video(lr_scheduler=partial(halving, **changed))
        with pytest.raises(UserError, match=f"model.lr_scheduler: {next(iter(changed))} is"):
            run(tmp_path, 3, stage, first)


def test_both_optimisers_of_stage_3_count(tmp_path):
    def stage(lr, other, decay):
        make = partial(torch.optim.AdamW, lr=lr)
        discriminators = partial(torch.optim.AdamW, lr=other, weight_decay=decay)
        return FlowDecoderGAN(
            **decoder_parts(
                optimizer=make, discriminator_optimizer=discriminators, lr_scheduler=CONSTANT
            )
        )

    first = run(tmp_path, 2, stage(1e-3, 2e-3, 0.1))
    path = run(tmp_path, 3, stage(1e-4, 5e-4, 0.2), first)
    factors = [group["lr"] / 1e-3 for group in groups(first)]
    assert [g["lr"] for g in groups(path)] == pytest.approx([1e-4 * f for f in factors])
    assert [(g["lr"], g["weight_decay"]) for g in groups(path, 1)] == [(5e-4, 0.2)]


def test_another_optimiser_is_refused(before, tmp_path):
    with pytest.raises(UserError, match=r"model\.optimizer: another kind than the checkpoint's"):
        run(tmp_path, 3, video(optimizer=partial(torch.optim.SGD, lr=0.1)), before)


def test_weights_alone_are_no_run_to_go_on_from(tmp_path):
    runner = trainer(tmp_path, 1)
    runner.fit(video(), datamodule=ClipData())
    runner.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    with pytest.raises(UserError, match=r"a\.ckpt: weights alone.*--model\.init_from"):
        run(tmp_path, 2, video(), tmp_path / "a.ckpt")


def test_a_checkpoint_of_an_earlier_version_tells_no_schedule(before, tmp_path):
    content = torch.load(before, weights_only=True)
    del content["schedules"]
    torch.save(content, tmp_path / "old.ckpt")
    run(tmp_path, 3, video(lr_scheduler=CONSTANT), tmp_path / "old.ckpt")
