"""From the checkpoints of stages 1 and 2 to one model folder."""

import pytest
import torch

from movideo.errors import UserError
from movideo.export import build_pipeline
from movideo.pipeline import MoVideoPipeline
from stages import DepthFlowDiffusion, LatentVideoDiffusion, VideoGeneration
from tests.stages.parts import (
    FRAMES,
    ClipData,
    autoencoder,
    batch,
    image_encoder,
    motion_parts,
    trainer,
    video_parts,
)


def train(stage, path):
    runner = trainer(path.parent, 2)
    runner.fit(stage, datamodule=ClipData())
    runner.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoints of stages 1 and 2, trained over saved parts, and the stages themselves."""
    folder = tmp_path_factory.mktemp("export")
    autoencoder().save_pretrained(folder / "vae")
    image_encoder().save_pretrained(folder / "encoder")
    shared = {"image_encoder": image_encoder(str(folder / "encoder")), "allow_random": False}
    motion = DepthFlowDiffusion(**motion_parts(**shared))
    video = LatentVideoDiffusion(
        **video_parts(autoencoder=autoencoder(str(folder / "vae")), **shared)
    )
    paths = train(motion, folder / "motion.ckpt"), train(video, folder / "video.ckpt")
    return folder, motion, video, paths


def test_pipeline_has_the_averaged_weights_and_the_spread(made):
    _, motion, video, paths = made
    pipeline = build_pipeline(paths[::-1])
    for stage, network in ((motion, pipeline.motion_unet), (video, pipeline.video_unet)):
        for name, value in network.named_parameters():
            assert torch.equal(value, stage.average.tensors[f"unet.{name}"])
    assert pipeline.motion_space.flow_std == motion.motion_space.flow_std
    assert pipeline.autoencoder.fingerprint() == video.autoencoder.fingerprint()


def test_exported_folder_is_tested_and_predicts(made, tmp_path):
    paths = made[3]
    build_pipeline(paths).save_pretrained(tmp_path / "model")
    stage = VideoGeneration(str(tmp_path / "model"), 2, out=str(tmp_path / "out"))
    data = ClipData()
    results = trainer(tmp_path, 1).test(stage, datamodule=data, verbose=False)
    assert {"test/psnr", "test/psnr_repeat", "test/occluded"} <= set(results[0])
    clips = batch(2)
    paths = stage.predict_step(clips, 0)
    assert len(set(paths)) == 2
    assert all(path.stat().st_size > 0 for path in paths)
    # each clip has noise of its own: its batch does not matter
    alone = stage.generate({k: v[1:] for k, v in clips.items()})
    together = stage.generate(clips)
    torch.testing.assert_close(together.depth[1:], alone.depth, atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="nothing to train"):
        trainer(tmp_path, 1).fit(stage, datamodule=data)
    assert MoVideoPipeline.from_pretrained(tmp_path / "model").motion_space.grid == (8, 8)
    assert together.video.shape[1] == FRAMES


def test_missing_and_doubled_stages_are_named(made):
    *_, (motion, video) = made
    with pytest.raises(UserError, match=r"none of LatentVideoDiffusion among .*motion\.ckpt"):
        build_pipeline([motion])
    with pytest.raises(UserError, match=r"video\.ckpt: a second checkpoint"):
        build_pipeline([motion, video, video])


def test_stages_over_different_encoders_are_refused(made, tmp_path):
    content = torch.load(made[3][0], weights_only=True)
    content["components"]["image_encoder"]["fingerprint"] = "0"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="trained over another image_encoder"):
        build_pipeline([tmp_path / "other.ckpt", made[3][1]])


def test_stages_of_different_motion_grids_are_refused(made, tmp_path):
    content = torch.load(made[3][1], weights_only=True)
    content["components"]["motion_space"]["config"]["grid"] = [16, 16]
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(
        UserError, match=r"grid of \[16, 16\], but .*motion\.ckpt makes it on \[8, 8\]"
    ):
        build_pipeline([made[3][0], tmp_path / "other.ckpt"])
