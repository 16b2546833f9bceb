"""What all stages share, shown on stage 2: freezing, groups, average, checkpoints, resuming."""

import copy
from functools import partial

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from movideo.errors import UserError
from movideo.hub.checkpoint import FORMAT_VERSION, Checkpoint
from stages import DepthFlowDiffusion, LatentVideoDiffusion
from tests.stages.parts import (
    ClipData,
    TrainingLosses,
    autoencoder,
    image_encoder,
    motion_parts,
    scheduler,
    trainer,
    unet,
    video_parts,
)


def fit(stage, folder, steps, ckpt_path=None, **options):
    losses = TrainingLosses()
    runner = trainer(folder, steps, callbacks=[losses], **options)
    # One batch an epoch: Lightning starts a loader anew when it resumes, wherever it had stopped.
    runner.fit(stage, datamodule=ClipData(2), ckpt_path=ckpt_path)
    path = folder / f"{steps}.ckpt"
    runner.save_checkpoint(path)
    return losses.values, path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Stage 2 after three steps, with its frozen parts as they were before, and its checkpoint."""
    stage = LatentVideoDiffusion(**video_parts())
    before = {
        name: copy.deepcopy(getattr(stage, name).state_dict())
        for name in ("autoencoder", "image_encoder", "unet")
    }
    losses, path = fit(stage, tmp_path_factory.mktemp("trained"), 3)
    return stage, before, losses, path


def test_frozen_parts_do_not_change_and_trained_ones_do(trained):
    stage, before, _, _ = trained
    for name in ("autoencoder", "image_encoder"):
        for key, value in getattr(stage, name).state_dict().items():
            assert torch.equal(value, before[name][key])
    assert any(
        not torch.equal(value, before["unet"][key])
        for key, value in stage.unet.state_dict().items()
    )
    assert not stage.autoencoder.training
    assert not stage.image_encoder.training


def test_checkpoint_holds_what_parts_are_built_from_and_no_frozen_weights(trained):
    stage, _, _, path = trained
    content = torch.load(path, weights_only=True)
    assert content["format_version"] == FORMAT_VERSION
    assert content["stage"] == "LatentVideoDiffusion"
    parts = {"unet", "image_encoder", "noise_scheduler", "autoencoder", "motion_space"}
    parts |= {"condition_transform", "motion_noise", "visibility"}
    assert set(content["components"]) == parts
    assert content["ema_updates"] == 3
    assert set(content["ema"]) == {f"unet.{name}" for name, _ in stage.unet.named_parameters()}
    assert all(key.startswith("unet.") for key in content["state_dict"])
    described = content["components"]["autoencoder"]
    assert described["pretrained"] is None
    assert described["fingerprint"] == stage.autoencoder.fingerprint()


def test_component_has_the_averaged_weights(trained):
    stage, _, _, path = trained
    unet = Checkpoint.read(path, "video").component("unet")
    raw = dict(stage.unet.named_parameters())
    for name, value in unet.named_parameters():
        assert torch.equal(value, stage.average.tensors[f"unet.{name}"])
    assert any(not torch.equal(value, raw[name]) for name, value in unet.named_parameters())


def test_averaged_weights_are_used_and_given_back(trained):
    stage, *_ = trained
    name, parameter = next(iter(stage.named_parameters()))
    raw = parameter.detach().clone()
    with stage.averaged_weights():
        assert torch.equal(parameter, stage.average.tensors[name])
    assert torch.equal(parameter, raw)


def test_resuming_continues_as_if_never_stopped(trained, tmp_path):
    _, _, first, path = trained
    whole = LatentVideoDiffusion(**video_parts())
    expected, _ = fit(whole, tmp_path, 6)
    resumed = LatentVideoDiffusion(**video_parts(unet=unet(4, extra=6, seed=9)))
    rest, _ = fit(resumed, tmp_path, 6, ckpt_path=path)
    assert first + rest == expected  # to the bit: same draws, same arithmetic
    assert resumed.average.updates == whole.average.updates == 6
    raw = dict(resumed.named_parameters())
    for name, value in whole.average.tensors.items():
        assert torch.equal(resumed.average.tensors[name], value)
        assert torch.equal(raw[name], whole.get_parameter(name))
    assert any(not torch.equal(raw[name], value) for name, value in whole.average.tensors.items())


def test_dropout_goes_on_as_if_never_stopped(tmp_path):
    """It draws from torch's own generator, which no checkpoint holds."""

    class Dropping(LatentVideoDiffusion):
        def target(self, batch):
            return torch.nn.functional.dropout(super().target(batch), training=self.training)

    def run(steps, checkpoint=None):
        torch.manual_seed(0)  # as the command does
        return fit(Dropping(**video_parts()), tmp_path, steps, ckpt_path=checkpoint)

    whole, _ = run(4)
    first, path = run(2)
    rest, _ = run(4, path)
    assert first + rest == whole


def test_the_average_takes_one_step_of_accumulated_batches(tmp_path):
    stage = LatentVideoDiffusion(**video_parts())
    runner = trainer(tmp_path, 2, accumulate_grad_batches=2)
    runner.fit(stage, datamodule=ClipData())
    assert stage.average.updates == runner.global_step == 2


def test_checkpoint_callback_sees_the_average_of_its_step(tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    callback = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1)
    stage = LatentVideoDiffusion(**video_parts())
    runner = trainer(tmp_path, 2, callbacks=[callback], enable_checkpointing=True)
    runner.fit(stage, datamodule=ClipData())
    content = torch.load(callback.best_model_path or next(tmp_path.glob("*.ckpt")))
    assert content["global_step"] == content["ema_updates"] == 2


def test_init_from_takes_the_average_and_nothing_else(trained, tmp_path):
    stage, _, _, path = trained
    fresh = LatentVideoDiffusion(**video_parts(init_from=str(path)))
    runner = trainer(tmp_path, 0)
    runner.fit(fresh, datamodule=ClipData())
    for name, parameter in fresh.named_parameters():
        if name.startswith("unet."):
            assert torch.equal(parameter, stage.average.tensors[name])
    assert runner.global_step == 0
    assert not any(optimizer.state for optimizer in runner.optimizers)
    assert fresh.average.updates == 0


def test_what_init_from_names_is_read_once(trained, tmp_path):
    stage = LatentVideoDiffusion(**video_parts(init_from=str(trained[3])))
    fit(stage, tmp_path, 1)
    weights = copy.deepcopy(stage.unet.state_dict())
    trainer(tmp_path, 1, limit_test_batches=0).test(stage, datamodule=ClipData(), verbose=False)
    assert all(torch.equal(value, weights[k]) for k, value in stage.unet.state_dict().items())


@pytest.mark.parametrize("way", ["init_from", "ckpt_path"])
@pytest.mark.parametrize(
    ("setting", "value", "there"),
    [("beta_schedule", "linear", "scaled_linear"), ("rescale_betas_zero_snr", False, True)],
)
def test_weights_that_know_other_noise_are_refused(trained, tmp_path, way, setting, value, there):
    path = str(trained[3])
    other = DDIMScheduler.from_config(scheduler().config | {setting: value})
    start = path if way == "init_from" else None
    stage = LatentVideoDiffusion(**video_parts(noise_scheduler=other, init_from=start))
    with pytest.raises(
        UserError, match=rf"{path}: trained with {setting} {there}, but .* {value};"
    ):
        trainer(tmp_path, 4).fit(
            stage, datamodule=ClipData(), ckpt_path=path if way == "ckpt_path" else None
        )


def test_another_solver_of_the_same_noise_goes_on(trained, tmp_path):
    other = DPMSolverMultistepScheduler.from_config(scheduler().config)
    stage = LatentVideoDiffusion(**video_parts(noise_scheduler=other, init_from=str(trained[3])))
    fit(stage, tmp_path, 1)


@pytest.mark.parametrize("way", ["init_from", "ckpt_path"])
def test_another_motion_grid_than_that_of_the_weights_is_refused(tmp_path, way):
    path = str(fit(DepthFlowDiffusion(**motion_parts()), tmp_path, 1)[1])
    start = path if way == "init_from" else None
    stage = DepthFlowDiffusion(**motion_parts(motion_grid=(16, 16), init_from=start))
    run = trainer(tmp_path, 2)
    go = run.fit if start else partial(run.test, ckpt_path=path)
    with pytest.raises(UserError, match=r"motion_grid: \[16, 16\], but .*1\.ckpt.* \[8, 8\]; give"):
        go(stage, datamodule=ClipData())


def test_clipping_a_fused_optimiser_is_refused_under_mixed_precision(tmp_path):
    stage = LatentVideoDiffusion(
        **video_parts(optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3, fused=True))
    )
    options = {"precision": "bf16-mixed", "gradient_clip_val": 1.0}
    with pytest.raises(UserError, match=r"AdamW is fused, .* leave out fused: true"):
        trainer(tmp_path, 1, **options).fit(stage, datamodule=ClipData())
    trainer(tmp_path, 1, **options | {"gradient_clip_val": None}).fit(stage, datamodule=ClipData())


def test_a_value_out_of_the_optimisers_range_is_one_line():
    stage = LatentVideoDiffusion(
        **video_parts(optimizer=lambda groups: torch.optim.AdamW(groups, lr=-3))
    )
    with pytest.raises(UserError, match=r"model\.optimizer: Invalid learning rate: -3; mend"):
        stage.configure_optimizers()


def test_samples_under_autocast_are_as_fine_as_elsewhere(trained):
    stage, batch = trained[0], next(iter(ClipData(2).train_dataloader()))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert stage.denoiser(batch, None).tokens.dtype == torch.bfloat16
        assert stage.sample(batch, stage.condition(batch, None), 4, (8, 8)).dtype == torch.float32


@pytest.mark.parametrize("way", ["init_from", "ckpt_path"])
def test_another_stages_checkpoint_is_named(trained, tmp_path, way):
    path = str(trained[3])
    other = DepthFlowDiffusion(**motion_parts(init_from=path if way == "init_from" else None))
    with pytest.raises(UserError, match=f"{path}.*LatentVideoDiffusion, not of a motion stage"):
        trainer(tmp_path, 4).fit(
            other, datamodule=ClipData(), ckpt_path=path if way == "ckpt_path" else None
        )


def test_another_frozen_part_is_refused(trained, tmp_path):
    other = autoencoder()
    other.scaling_factor = 3.0
    stage = LatentVideoDiffusion(**video_parts(autoencoder=other))
    with pytest.raises(UserError, match=r"3\.ckpt: model\.autoencoder: not the VideoAutoencoder"):
        trainer(tmp_path, 4).fit(stage, datamodule=ClipData(), ckpt_path=str(trained[3]))


@pytest.mark.parametrize(("found", "first_found"), [(True, 2), (True, None), (False, 3)])
def test_processes_that_go_on_from_different_checkpoints_end(trained, tmp_path, found, first_found):
    own, path = (3, str(trained[3])) if found else (None, None)
    runner = trainer(tmp_path, 6)
    # What the first process read, where this one read its own.
    runner.strategy.broadcast = lambda value, src=0: first_found if value == own else value
    with pytest.raises(UserError, match=f"{path or 'no checkpoint'}: other processes read another"):
        runner.fit(LatentVideoDiffusion(**video_parts()), datamodule=ClipData(2), ckpt_path=path)


@pytest.mark.parametrize("way", ["init_from", "ckpt_path"])
def test_keys_that_do_not_fit_are_named(trained, tmp_path, way):
    content = torch.load(trained[3])
    for weights in (content["state_dict"], content["ema"]):
        weights["unet.surplus"] = weights.pop("unet.null_token")
    path = str(tmp_path / "other.ckpt")
    torch.save(content, path)
    stage = LatentVideoDiffusion(**video_parts(init_from=path if way == "init_from" else None))
    with pytest.raises(UserError, match=r"other\.ckpt.*null_token.*surplus"):
        trainer(tmp_path, 4).fit(
            stage, datamodule=ClipData(), ckpt_path=path if way == "ckpt_path" else None
        )


def test_training_over_random_frozen_parts_is_refused(tmp_path):
    stage = LatentVideoDiffusion(**video_parts(allow_random=False))
    with pytest.raises(UserError, match=r"model\.image_encoder.*randomly initialised"):
        trainer(tmp_path, 1).fit(stage, datamodule=ClipData())


def test_learning_rate_groups_hold_old_and_new_parameters():
    stage = LatentVideoDiffusion(
        **video_parts(optimizer=lambda groups: torch.optim.AdamW(groups, lr=0.5))
    )
    optimizer = stage.configure_optimizers()["optimizer"]
    names = {id(parameter): name for name, parameter in stage.unet.named_parameters()}
    old, new = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert old == {f"spatial.{name}" for name, _ in stage.unet.spatial.named_parameters()}
    assert new == set(names.values()) - old
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]


def test_trained_encoder_is_kept_and_hashed_as_it_goes_on(tmp_path):
    stage = DepthFlowDiffusion(**motion_parts(train_image_encoder=True))
    _, path = fit(stage, tmp_path, 2)
    checkpoint = Checkpoint.read(path)
    encoder = checkpoint.component("image_encoder")
    assert not encoder.is_random
    assert encoder.fingerprint() == checkpoint.components["image_encoder"]["fingerprint"]
    assert encoder.fingerprint() != image_encoder().fingerprint()
