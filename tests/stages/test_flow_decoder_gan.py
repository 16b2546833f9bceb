"""Stage 3: when its networks change, what weighs its terms, and that a step is one step."""

import copy
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy

from movideo.errors import UserError
from movideo.hub.checkpoint import Checkpoint
from movideo.losses import L1Loss
from movideo.metrics import masked_psnr, warp_error
from movideo.models import FlowAugmentedDecoder, FrameDecoder, TemporalDecoder
from movideo.ops import resize_flow, visible_mask
from stages import FlowDecoderGAN
from tests.stages.parts import (
    ClipData,
    TrainingLosses,
    autoencoder,
    batch,
    decoder_parts,
    trainer,
)

START = 2


def sgd(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr)


def state_of(stage, prefix):
    return {
        name: value.clone()
        for name, value in stage.named_parameters()
        if name.startswith(f"{prefix}.")
    }


class Watch(L.Callback):
    """Which networks each training step changed."""

    NETWORKS = ("decoder", "adversarial.2d", "adversarial.3d", "autoencoder")

    def __init__(self) -> None:
        self.changed: list[dict[str, bool]] = []
        self.steps: list[int] = []

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        self.before = {name: state_of(stage, name) for name in self.NETWORKS}

    def on_train_batch_end(self, trainer, stage, outputs, batch, batch_idx):
        self.steps.append(trainer.global_step)
        self.changed.append(
            {
                name: any(
                    not torch.equal(old, new)
                    for old, new in zip(
                        before.values(), state_of(stage, name).values(), strict=True
                    )
                )
                for name, before in self.before.items()
            }
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four steps of two clips, the GAN from the third, and what was seen meanwhile."""
    folder = tmp_path_factory.mktemp("stage3")
    stage = FlowDecoderGAN(**decoder_parts(START))
    frozen = copy.deepcopy(stage.autoencoder.state_dict())
    watch, losses = Watch(), TrainingLosses()
    runner = trainer(
        folder,
        4,
        callbacks=[watch, losses],
        logger=CSVLogger(folder, name="log", version=0),
        log_every_n_steps=1,
    )
    runner.fit(stage, datamodule=ClipData())
    runner.save_checkpoint(folder / "stage3.ckpt")
    return stage, watch, frozen, folder


def test_discriminators_change_only_after_their_start(trained):
    _, watch, _, _ = trained
    assert [step["decoder"] for step in watch.changed] == [True] * 4
    for name in ("adversarial.2d", "adversarial.3d"):
        assert [step[name] for step in watch.changed] == [False, False, True, True]


def test_the_encoder_is_bit_identical_after_training(trained):
    stage, watch, frozen, _ = trained
    assert not any(step["autoencoder"] for step in watch.changed)
    for name, value in stage.autoencoder.state_dict().items():
        assert torch.equal(value, frozen[name])


def test_steps_of_trainer_log_checkpoint_and_batches_agree(trained):
    _, watch, _, folder = trained
    assert watch.steps == [1, 2, 3, 4]
    content = torch.load(folder / "stage3.ckpt", weights_only=True)
    assert content["global_step"] == 4
    assert [s["last_epoch"] for s in content["lr_schedulers"]] == [4, 4]
    header, *rows = (folder / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    columns = header.split(",")
    assert [int(row.split(",")[columns.index("step")]) for row in rows] == [0, 1, 2, 3]
    curve = columns.index("train/adversarial_2d")
    assert [bool(row.split(",")[curve]) for row in rows] == [False, False, True, True]


def test_checkpoint_has_the_averaged_decoder_and_no_frozen_part(trained):
    stage, _, _, folder = trained
    checkpoint = Checkpoint.read(folder / "stage3.ckpt", "decoder")
    assert {key.split(".")[0] for key in checkpoint.state} == {"decoder", "adversarial"}
    assert {key.split(".")[0] for key in checkpoint.ema} == {"decoder"}
    decoder = checkpoint.component("decoder")
    assert type(decoder) is FlowAugmentedDecoder
    for name, value in decoder.named_parameters():
        assert torch.equal(value, stage.average.tensors[f"decoder.{name}"])


def test_a_resumed_run_goes_on_as_if_never_stopped(tmp_path):
    def run(steps, ckpt_path=None):
        losses = TrainingLosses()
        runner = trainer(tmp_path, steps, callbacks=[losses])
        stage = FlowDecoderGAN(**decoder_parts(1))
        # One batch an epoch: Lightning starts a loader anew when it resumes.
        runner.fit(stage, datamodule=ClipData(2), ckpt_path=ckpt_path)
        runner.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return losses.values, stage.state_dict()

    whole, expected = run(4)
    run(2)
    rest, found = run(4, tmp_path / "2.ckpt")
    assert rest == whole[2:]
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def gradients(stage, clips):
    """Norm of each term's gradient at the decoder's last layer."""
    terms = stage.terms(clips, active=("2d", "3d"))
    named = {**terms.plain, **{f"adversarial_{k}": v for k, v in terms.adversarial.items()}}
    return {
        name: torch.autograd.grad(term, stage.last_layer, retain_graph=True)[0].norm().item()
        for name, term in named.items()
    }


def test_every_term_reaches_the_last_layer():
    found = gradients(FlowDecoderGAN(**decoder_parts()), batch())
    print({name: f"{norm:.2e}" for name, norm in found.items()})
    assert set(found) == {
        "l1",
        "perceptual_2d",
        "perceptual_3d",
        "adversarial_2d",
        "adversarial_3d",
    }
    assert all(norm > 0 for norm in found.values())


def fit_steps(folder, steps=1, count=2, **changes):
    torch.manual_seed(0)
    stage = FlowDecoderGAN(**decoder_parts(**changes))
    runner = trainer(folder, steps)
    runner.fit(stage, datamodule=ClipData(count, batch_size=count))
    return stage, {name: float(value) for name, value in runner.logged_metrics.items()}


def test_adaptive_weight_is_the_ratio_of_gradients(tmp_path):
    stage = FlowDecoderGAN(**decoder_parts(coarse_motion=0.0))
    terms = stage.terms(next(iter(ClipData(2).train_dataloader())), ("2d", "3d"))

    def norm(term):
        return torch.autograd.grad(term, stage.last_layer, retain_graph=True)[0].norm()

    plain = norm(sum(terms.plain.values()))
    _, logged = fit_steps(tmp_path, coarse_motion=0.0)
    for name in ("2d", "3d"):
        expected = (plain / norm(terms.adversarial[name])).item()
        assert logged[f"train/adaptive_weight_{name}"] == pytest.approx(expected, rel=1e-4)


def test_how_hard_each_term_pulls_is_logged(tmp_path):
    """Of a mean of N absolute differences every pixel's gradient is the weight over N."""
    parts = {"coarse_motion": 0.0, "l1": L1Loss(weight=3.0)}
    stage = FlowDecoderGAN(**decoder_parts(**parts))
    terms = stage.terms(next(iter(ClipData(2).train_dataloader())), ())
    (perceptual,) = torch.autograd.grad(terms.plain["perceptual_3d"], terms.decoded)
    torch.manual_seed(0)
    stage = FlowDecoderGAN(**decoder_parts(**parts))
    runner = trainer(tmp_path, 1, log_every_n_steps=1)
    runner.fit(stage, datamodule=ClipData(2, batch_size=2))
    logged = {name: float(value) for name, value in runner.logged_metrics.items()}
    norms = {name for name in logged if "gradient_norm" in name}
    assert len(norms) == 5
    expected = 3.0 / terms.decoded.numel() ** 0.5
    assert logged["train/gradient_norm_l1"] == pytest.approx(expected, rel=1e-4)
    found = logged[f"train/gradient_norm_{stage.losses['perceptual_3d'].curve}"]
    assert found == pytest.approx(float(perceptual.norm()), rel=1e-3)


def test_adaptive_weight_stays_within_its_bound(tmp_path):
    parts = decoder_parts()
    for name in ("adversarial_2d", "adversarial_3d"):
        parts[name].max_ratio = 0.01
    _, logged = fit_steps(tmp_path, **{k: parts[k] for k in ("adversarial_2d", "adversarial_3d")})
    for name in ("2d", "3d"):
        assert logged[f"train/adaptive_weight_{name}"] == pytest.approx(0.01)


@pytest.mark.parametrize("size", [2, 3], ids=["halves", "uneven"])
def test_micro_batches_make_the_same_step(tmp_path, size):
    """The adaptive weight and both updates, with the GAN under way.

    One step: the next would start from weights that differ by rounding, and a GAN spreads that.
    """
    options = {
        "count": 4,
        # Adam divides by the gradient's own size, and so turns rounding into steps.
        "optimizer": sgd,
        "discriminator_optimizer": sgd,
        "gradient_clip_val": None,
    }
    whole, logged = fit_steps(tmp_path, **options)
    parts, logged_in_parts = fit_steps(tmp_path, micro_batch_size=size, **options)
    start = FlowDecoderGAN(**decoder_parts())
    found, initial = dict(parts.named_parameters()), dict(start.named_parameters())
    for prefix in ("decoder", "adversarial"):
        for name, value in state_of(whole, prefix).items():
            moved = (value - initial[name]).abs().max().item()
            # float32 sums of other lengths; relative to how far the weight moved
            assert (found[name] - value).abs().max().item() <= 1e-4 * moved + 1e-7, name
    assert logged == pytest.approx(logged_in_parts, rel=1e-4)


@pytest.mark.parametrize("network", ["decoder", "adversarial"])
def test_gradients_of_either_optimiser_are_clipped(tmp_path, network):
    def moved(clip):
        options = {"optimizer": sgd, "discriminator_optimizer": sgd, "gradient_clip_val": clip}
        stage, _ = fit_steps(tmp_path, **options)
        before = dict(FlowDecoderGAN(**decoder_parts()).named_parameters())
        steps = [value - before[name] for name, value in state_of(stage, network).items()]
        return torch.cat([step.flatten() for step in steps]).norm().item()

    assert moved(None) > 1e-3
    # learning rate 0.1 times the largest norm; weights near 1 keep seven digits
    assert moved(1e-3) == pytest.approx(1e-4, rel=0.05)


@torch.no_grad()
def test_motion_passes_through_the_motion_grid_with_a_probability(tmp_path):
    clips = batch(8)
    sharp = resize_flow(clips["flow_i2v"], (16, 16))
    coarse = resize_flow(resize_flow(sharp, (8, 8)), (16, 16))
    found = {}
    for probability in (0.0, 0.5, 1.0):
        stage = FlowDecoderGAN(**decoder_parts(coarse_motion=probability))
        stage.trainer = trainer(tmp_path, 1)
        flow = stage.prepare(clips, 0)["flow_i2v"]
        is_coarse = [torch.equal(a, b) for a, b in zip(flow, coarse, strict=True)]
        is_sharp = [torch.equal(a, b) for a, b in zip(flow, sharp, strict=True)]
        assert all(a != b for a, b in zip(is_coarse, is_sharp, strict=True))
        found[probability] = sum(is_coarse)
    assert found[0.0] == 0
    assert 0 < found[0.5] < 8
    assert found[1.0] == 8


def test_learning_rates_of_old_and_new_layers():
    stage = FlowDecoderGAN(**decoder_parts(spatial_lr_factor=0.1, optimizer=sgd))
    (network, discriminators), _ = stage.configure_optimizers()
    old, new = network.param_groups
    assert [group["lr"] for group in (old, new)] == pytest.approx([0.01, 0.1])
    pretrained = FrameDecoder(autoencoder())
    assert [p.shape for p in old["params"]] == [p.shape for p in pretrained.parameters()]
    counts = [sum(p.numel() for p in group["params"]) for group in (old, new)]
    assert sum(counts) == sum(p.numel() for p in stage.decoder.parameters())
    assert len(discriminators.param_groups[0]["params"]) == len([*stage.adversarial.parameters()])
    plain = FlowDecoderGAN(**decoder_parts(decoder=FrameDecoder, optimizer=sgd))
    assert len(plain.configure_optimizers()[0][0].param_groups) == 1


def test_bfloat16(tmp_path):
    torch.manual_seed(0)
    stage = FlowDecoderGAN(**decoder_parts())
    losses = TrainingLosses()
    runner = trainer(tmp_path, 2, precision="bf16-mixed", callbacks=[losses])
    runner.fit(stage, datamodule=ClipData(2))
    assert all(value == value for value in losses.values)
    assert runner.global_step == 2


@pytest.mark.parametrize(("options", "processes"), [({}, 1), ({"find_unused_parameters": True}, 2)])
def test_several_processes_must_expect_unused_parameters(options, processes):
    stage = FlowDecoderGAN(**decoder_parts())
    told = {"precision_plugin": Precision(), "optimizers": []}
    stage._trainer = SimpleNamespace(strategy=DDPStrategy(), world_size=2, **told)
    with pytest.raises(UserError, match="give ddp_find_unused_parameters_true"):
        stage.on_train_start()
    stage._trainer = SimpleNamespace(strategy=DDPStrategy(**options), world_size=processes, **told)
    stage.on_train_start()


# --------------------------------------------------------------------------------------- evaluation


def test_rows_of_the_table(trained, tmp_path):
    """Each row's metrics against the functions, the baseline's among them."""
    _, _, _, folder = trained
    baseline = FlowDecoderGAN(**decoder_parts(decoder=TemporalDecoder, ema_decay=None))
    with torch.no_grad():
        baseline.last_layer.mul_(0.5)
    runner = trainer(tmp_path, 0)
    runner.fit(baseline, datamodule=ClipData())
    runner.save_checkpoint(tmp_path / "3d.ckpt")
    stage = FlowDecoderGAN(**decoder_parts(baselines={"3-D": str(tmp_path / "3d.ckpt")}))
    (metrics,) = trainer(tmp_path, 0).test(
        stage, datamodule=ClipData(), ckpt_path=str(folder / "stage3.ckpt"), verbose=False
    )
    clips = next(iter(ClipData().test_dataloader()))
    with torch.no_grad():
        z = stage.autoencoder.encode(clips["video"])
        plain = stage.autoencoder.decode(z).clamp(-1, 1)
        three = baseline.decoder(z).clamp(-1, 1)
    assert metrics["test/2-D/psnr"] == pytest.approx(
        masked_psnr(plain, clips["video"]).mean().item(), abs=1e-4
    )
    assert metrics["test/3-D/psnr"] == pytest.approx(
        masked_psnr(three, clips["video"]).mean().item(), abs=1e-4
    )
    visible = visible_mask(clips["flow_i2v"], clips["flow_v2i"])
    for row, video in (("truth", clips["video"]), ("2-D", plain), ("3-D", three)):
        expected = warp_error(video, clips["flow_i2v"], visible, clips["key_index"]).mean()
        found = metrics[f"test/{row}/key-frame_warp_error"]
        assert found == pytest.approx(expected.item(), rel=1e-4)
    names = {name.split("/")[1] for name in metrics}
    assert names == {"truth", "2-D", "3-D", "flow-augmented"}
    score = "random-feature_distance"
    assert metrics[f"test/flow-augmented/{score}"] != metrics[f"test/2-D/{score}"]


def test_untrained_decoders_all_equal_the_first_row(tmp_path):
    for decoder in (FrameDecoder, TemporalDecoder, FlowAugmentedDecoder):
        stage = FlowDecoderGAN(**decoder_parts(decoder=decoder))
        (metrics,) = trainer(tmp_path, 0).test(stage, datamodule=ClipData(), verbose=False)
        for name in ("psnr", "random-feature_distance", "key-frame_warp_error"):
            expected = metrics[f"test/2-D/{name}"]
            assert metrics[f"test/{stage.row}/{name}"] == pytest.approx(expected, rel=1e-4)
    assert FlowDecoderGAN(**decoder_parts(decoder=FrameDecoder)).row == "2-D fine-tuned"


def test_a_rival_over_other_latents_is_refused(trained):
    *_, folder = trained
    other = autoencoder()
    with torch.no_grad():
        other.model.encoder.conv_in.weight.add_(1)
    baselines = {"older": str(folder / "stage3.ckpt")}
    stage = FlowDecoderGAN(**decoder_parts(autoencoder=other, baselines=baselines))
    with pytest.raises(UserError, match="not the VideoAutoencoder that the checkpoint was trained"):
        stage.setup("test")
    same_name = {"2-D": str(folder / "stage3.ckpt")}
    stage = FlowDecoderGAN(**decoder_parts(baselines=same_name))
    with pytest.raises(UserError, match="'2-D' is a row already"):
        stage.setup("test")


def test_micro_batches_of_nothing_are_refused():
    with pytest.raises(UserError, match="micro_batch_size: 0"):
        FlowDecoderGAN(**decoder_parts(micro_batch_size=0))
