"""Lightning's documented flags of the trainer on two stages: each works, or is refused in one line.

One with automatic optimisation (stage 0), one with two optimisers in turns (stage 3). Left out:
`num_nodes` (waits for peers), `strategy` and `plugins` that need hardware or packages which are not
here, and `model_registry` (a paid service).
"""

import inspect
import os

import lightning as L
import pytest
from torch import distributed

pytestmark = pytest.mark.slow

SHARED = (
    *("--data.data_dir", "data", "--data.scenes.count", "10", "--data.scenes.num_frames", "5"),
    *("--data.test_scenes.count", "2", "--data.test_scenes.num_frames", "5"),
    *("--data.num_workers", "0", "--data.batch_size", "1", "--data.clips_per_video", "1"),
    *("--data.split.val", "0.2", "--trainer.accelerator", "cpu"),
    *("--trainer.max_steps", "1", "--trainer.val_check_interval", "1"),
    *("--trainer.limit_val_batches", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
)
STAGES = {
    0: ("--config", "stage0.yaml", *SHARED, "--data.num_frames", "1"),
    3: ("--config", "stage3.yaml", *SHARED, "--data.num_frames", "5"),
}
CALLBACK = "lightning.pytorch.callbacks."

# Two values each; with "!" before it a value that is refused.
FLAGS = {
    "accelerator": ("auto", "!no_such"),
    "strategy": ("auto", "ddp_find_unused_parameters_true"),
    "devices": ("1", "auto"),
    "precision": ("bf16-mixed", "!bf16-true"),
    "logger": ("false", "true"),
    "callbacks": (
        f"[{{class_path: {CALLBACK}RichProgressBar}}]",
        f"{{class_path: {CALLBACK}Timer}}",
    ),
    "fast_dev_run": ("true", "2"),
    "max_epochs": ("1", "0"),
    "min_epochs": ("1", "2"),
    "max_steps": ("2", "-1"),
    "min_steps": ("1", "2"),
    "max_time": ("00:00:00:01", "{minutes: 1}"),
    "limit_train_batches": ("1", "0.5"),
    "limit_val_batches": ("0", "1.0"),
    "limit_test_batches": ("1", "0.5"),
    "limit_predict_batches": ("1", "0.5"),
    "overfit_batches": ("1", "0.5"),
    "val_check_interval": ("0.5", "!9999"),
    "check_val_every_n_epoch": ("1", "2"),
    "num_sanity_val_steps": ("1", "-1"),
    "log_every_n_steps": ("1", "0"),
    "enable_checkpointing": ("false", "true"),
    "enable_progress_bar": ("true", "false"),
    "enable_model_summary": ("true", "false"),
    "accumulate_grad_batches": ("2", "!0"),
    "gradient_clip_val": ("0.5", "0"),
    "gradient_clip_algorithm": ("norm", "value"),
    "deterministic": ("true", "warn"),
    "benchmark": ("true", "false"),
    "inference_mode": ("true", "false"),
    "use_distributed_sampler": ("true", "false"),
    "profiler": ("simple", "advanced"),
    "detect_anomaly": ("true", "false"),
    "barebones": ("true", "false"),
    "plugins": ("[]", "{class_path: lightning.pytorch.plugins.environments.LightningEnvironment}"),
    "sync_batchnorm": ("true", "false"),
    "reload_dataloaders_every_n_epochs": ("1", "!-1"),
    "default_root_dir": ("elsewhere", "a/b"),
    "enable_autolog_hparams": ("true", "false"),
}
LEFT_OUT = {"num_nodes", "model_registry"}
BESIDE = {  # what a flag needs to come to its effect
    "max_steps": ("--trainer.limit_train_batches", "1", "--trainer.max_epochs", "1"),
    "max_epochs": ("--trainer.max_steps", "-1", "--trainer.limit_train_batches", "1"),
    "val_check_interval": ("--trainer.check_val_every_n_epoch", "1"),
    "check_val_every_n_epoch": ("--trainer.limit_train_batches", "1"),
    "min_epochs": ("--trainer.limit_train_batches", "1"),
}
OTHERS = {  # callbacks and options that people add
    "EarlyStopping of a metric that is not there": (
        f"--trainer.callbacks+={CALLBACK}EarlyStopping",
        "--trainer.callbacks.monitor=val_loss",
    ),
    "EarlyStopping": (
        f"--trainer.callbacks+={CALLBACK}EarlyStopping",
        "--trainer.callbacks.monitor=val/loss",
    ),
    "ModelCheckpoint of a metric that is not there": (
        f"--trainer.callbacks+={CALLBACK}ModelCheckpoint",
        "--trainer.callbacks.monitor=nonsense",
    ),
    "LearningRateFinder": (f"--trainer.callbacks+={CALLBACK}LearningRateFinder",),
    "BatchSizeFinder": (f"--trainer.callbacks+={CALLBACK}BatchSizeFinder",),
    "StochasticWeightAveraging": (
        f"--trainer.callbacks+={CALLBACK}StochasticWeightAveraging",
        "--trainer.callbacks.swa_lrs=0.1",
    ),
    "GradientAccumulationScheduler": (
        f"--trainer.callbacks+={CALLBACK}GradientAccumulationScheduler",
        "--trainer.callbacks.scheduling={0: 2}",
    ),
    "a plateau schedule": ("--model.lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau",),
    "OneCycleLR": (
        "--model.lr_scheduler=torch.optim.lr_scheduler.OneCycleLR",
        "--model.lr_scheduler.max_lr=0.01",
        "--model.lr_scheduler.total_steps=10",
    ),
    "--optimizer of LightningCLI": ("--optimizer", "torch.optim.SGD", "--optimizer.lr", "0.1"),
    "--lr_scheduler of LightningCLI": ("--lr_scheduler", "torch.optim.lr_scheduler.StepLR"),
    "SGD": ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.01"),
    "LBFGS": ("--model.optimizer=torch.optim.LBFGS",),
    "CSVLogger": (
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        "--trainer.logger.save_dir=c",
    ),
    "16-mixed": ("--trainer.precision", "16-mixed"),
    "64-true": ("--trainer.precision", "64-true"),
    "32": ("--trainer.precision", "32"),
    "fsdp": ("--trainer.strategy", "fsdp"),
    "deepspeed": ("--trainer.strategy", "deepspeed"),
    "ddp_spawn": ("--trainer.strategy", "ddp_spawn"),
    "last": ("--ckpt_path", "last"),
    "best": ("--ckpt_path", "best"),
    "hpc": ("--ckpt_path", "hpc"),
    "a seed": ("--seed_everything", "true"),
    "no seed": ("--seed_everything", "false"),
}


def test_no_flag_is_forgotten():
    known = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    assert known == FLAGS.keys() | LEFT_OUT


def ends_well(result):
    """Done, or refused in one line; no traceback either way."""
    assert "Traceback" not in result.err
    if result.code:
        assert result.error
    return result.code == 0


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("flag", "value"), [(flag, v) for flag in FLAGS for v in FLAGS[flag]])
def test_a_flag_works_or_is_refused_in_one_line(movideo, shared_data, stage, flag, value):
    is_refused = value.startswith("!")
    options = (*BESIDE.get(flag, ()), f"--trainer.{flag}={value.removeprefix('!')}")
    done = ends_well(movideo("fit", *STAGES[stage], *options))
    assert not (is_refused and done)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", OTHERS)
def test_what_people_add_works_or_is_refused_in_one_line(movideo, shared_data, stage, name):
    ends_well(movideo("fit", *STAGES[stage], *OTHERS[name]))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    return tmp_path_factory.mktemp("rendered")


@pytest.fixture
def shared_data(tmp_path, rendered):
    """Scenes are rendered once; what a run tells the processes that it would start goes again."""
    (rendered / "data").mkdir(exist_ok=True)
    (tmp_path / "data").symlink_to(rendered / "data")
    before = dict(os.environ)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)
