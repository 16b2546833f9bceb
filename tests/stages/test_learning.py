"""Each shipped config learns: one batch of scenes, learnt by heart. Minutes each."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from movideo.cli.configs import with_config_paths
from movideo.diffusion import SampleRandomness, diffusion_loss
from movideo.metrics import masked_psnr
from movideo.motion.space import MotionSpace
from movideo.scenes.render import render_scene
from movideo.shards.labels import label_statistics
from movideo.shards.shard import ClipLabels, identity_alignment
from stages.diffusion import DiffusionStage

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TIMESTEPS = range(100, 1000, 100)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def stage_from(name):
    """The stage of a config, as the command builds it."""
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_argument("--config", action="config")
    for section in ("data", "trainer"):
        parser.add_argument(f"--{section}", type=dict)
    parser.add_argument("--base", type=str)
    torch.manual_seed(0)
    config = parser.parse_args(list(with_config_paths(["--config", str(CONFIGS / name)])))
    return parser.instantiate_classes(config).model


def scenes(count=2):
    made = [render_scene(seed) for seed in range(count)]
    fields = ("video", "depth", "flow_i2v", "flow_v2i")
    return {
        **{field: torch.stack([getattr(scene, field) for scene in made]) for field in fields},
        "fps": torch.tensor([float(scene.fps) for scene in made]),
        "key_index": torch.tensor([scene.key_index for scene in made]),
        "name": [f"scene {seed}" for seed in range(count)],
    }


def statistics(batch, grid):
    clips = zip(batch["depth"], batch["flow_i2v"], batch["flow_v2i"], strict=True)
    labels = ((ClipLabels(*clip, identity_alignment(len(clip[0]))), 1.0) for clip in clips)
    return label_statistics(labels, MotionSpace(grid))


@torch.no_grad()
def losses(stage, batch):
    """Loss at each timestep, noise fixed, nothing dropped."""
    stage.eval()
    clean, condition = stage.target(batch), stage.condition(batch, None)
    noise = SampleRandomness.of_samples(1, batch["name"]).noise(clean.shape[1:])
    found = [
        diffusion_loss(
            stage.denoiser(batch, condition).bind(None),
            clean,
            noise,
            torch.full((len(clean),), timestep),
            stage.noise_scheduler,
            stage.weighting,
        ).mean()
        for timestep in TIMESTEPS
    ]
    stage.train()
    return torch.stack(found)


def learn_by_heart(stage: DiffusionStage, batch, before):
    """The stage's own steps without the trainer: draws, drops, optimiser and schedule.

    Gives the ratio of the loss to `before` at each timestep as soon as all are as small as they
    have to be, or after 1000 steps.
    """
    made = stage.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for step in range(1000):
        randomness = SampleRandomness.of_training(0, step, range(len(batch["video"])))
        condition = stage.condition(batch, randomness)
        loss = stage._denoising_loss(batch, randomness, condition, None).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.unet.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            after = losses(stage, batch)
            ratios, mean = after / before, after.mean() / before.mean()
            print(step + 1, round(mean.item(), 3), [round(r, 3) for r in ratios.tolist()])
            if mean < 0.1 and ratios.max() < 1 / 3:
                break
    return ratios, mean


@pytest.mark.parametrize("name", ["stage1.yaml", "stage2.yaml"])
def test_diffusion_learns_one_batch_by_heart(name):
    stage, batch = stage_from(name), scenes()
    if hasattr(stage, "motion_space"):
        grid = stage.motion_space.grid
        spread = statistics(batch, grid)
        stage.motion_space = MotionSpace(grid, spread.depth_std, spread.flow_std)
    ratios, mean = learn_by_heart(stage, batch, before=losses(stage, batch))
    assert mean < 0.1
    assert ratios.max() < 1 / 3


def test_autoencoder_learns_one_batch_by_heart():
    stage, frames = stage_from("stage0.yaml"), scenes(1)["video"][:, ::4]
    made = stage.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for _ in range(1000):
        posterior = stage.autoencoder.posterior(frames[0])
        decoded = stage.autoencoder.model.decode(posterior.sample()).sample
        loss = stage.reconstruction(decoded, frames[0]) + stage.kl_weight * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        decoded = stage.autoencoder.decode(stage.autoencoder.encode(frames))
    psnr = masked_psnr(decoded.clamp(-1, 1), frames).item()
    print("stage0.yaml", round(psnr, 2), "dB")
    assert psnr > 28
