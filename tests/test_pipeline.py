"""The chain: a function of its seed, that saves and loads, and refuses what does not fit."""

import json
import shutil

import pytest
import torch

from movideo.errors import UserError
from movideo.model_folder import INDEX
from movideo.models.motion_space import Motion, MotionSpace
from movideo.ops import visible_mask
from movideo.pictures import result_sheet
from movideo.pipeline import MoVideoPipeline
from tests.stages.parts import FRAMES, autoencoder, image_encoder, scheduler, unet

FIELDS = ("video", "depth", "flow_i2v", "flow_v2i", "visible")
IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.fixture(scope="module")
def pipeline():
    return MoVideoPipeline(
        autoencoder=autoencoder(),
        image_encoder=image_encoder(),
        motion_unet=unet(5),
        motion_scheduler=scheduler(),
        motion_space=MotionSpace((8, 8), 0.5, 0.25),
        video_unet=unet(4, extra=6, seed=3),
        video_scheduler=scheduler(),
    )


def run(pipeline, seed=0, image=IMAGE, **options):
    options = {"num_frames": FRAMES, "num_inference_steps": 2, "fps": 5.0} | options
    return pipeline(image, generator=torch.Generator().manual_seed(seed), **options)


def test_same_seed_same_bytes_and_shapes(pipeline):
    first, second = run(pipeline), run(pipeline)
    for name, channels in zip(FIELDS, (3, 1, 2, 2, 1), strict=True):
        assert getattr(first, name).shape == (2, FRAMES, channels, 16, 16)
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert first.video.abs().max() <= 1


def test_another_seed_another_motion(pipeline):
    first, second = run(pipeline), run(pipeline, seed=1)
    assert (first.flow_i2v - second.flow_i2v).abs().max() > 0.1
    assert (first.video - second.video).abs().max() > 0.01


def test_fps_and_image_matter(pipeline):
    first = run(pipeline)
    assert not torch.equal(first.depth, run(pipeline, fps=24.0).depth)
    assert not torch.equal(first.depth, run(pipeline, image=IMAGE.flip(0)).depth)


def test_one_image_without_a_batch(pipeline):
    assert torch.equal(run(pipeline, image=IMAGE[0]).video, run(pipeline, image=IMAGE[:1]).video)


def test_saved_pipeline_gives_the_same_video(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*pipeline.COMPONENTS, INDEX])
    loaded = MoVideoPipeline.from_pretrained(tmp_path)
    for name in FIELDS:
        assert torch.equal(getattr(run(loaded), name), getattr(run(pipeline), name))


def test_key_index_of_each_image(pipeline):
    key = torch.tensor([0, 2])
    result = run(pipeline, key_index=key)
    for i, k in enumerate(key):
        assert (result.flow_i2v[i, k] == 0).all()
        assert (result.flow_v2i[i, k] == 0).all()
        assert (result.visible[i, k] == 1).all()
        assert result.flow_i2v[i, 1].abs().max() > 0


def test_given_motion_takes_the_place_of_stage_1(pipeline, monkeypatch):
    flows = torch.rand(2, 2, FRAMES, 2, 16, 16) * 4
    flows[:, :, FRAMES // 2] = 0
    motion = Motion(torch.rand(2, FRAMES, 1, 16, 16), *flows)
    monkeypatch.setattr(pipeline, "motion_unet", None)  # would fail if it were called
    result = run(pipeline, motion=motion)
    assert torch.equal(result.flow_i2v, motion.flow_i2v)
    assert torch.equal(result.visible, visible_mask(motion.flow_i2v, motion.flow_v2i))
    with pytest.raises(UserError, match=r"moves at frame \[0, 0\]"):
        run(pipeline, motion=motion, key_index=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": torch.zeros(1, 3, 15, 16)}, "15x16"),
        ({"image": torch.zeros(1, 1, 16, 16)}, "image"),
        ({"image": torch.zeros(16, 16)}, "image"),
        ({"num_frames": 0}, "num_frames 0"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"fps": torch.ones(3)}, "fps"),
        ({"key_index": FRAMES}, "key_index"),
        ({"key_index": -1}, "key_index"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"motion": Motion(*torch.zeros(3, 2, FRAMES, 2, 16, 16))}, "motion: depth"),
    ],
)
def test_what_does_not_fit_is_named(pipeline, options, message):
    with pytest.raises(UserError, match=message):
        run(pipeline, **options)


def test_broken_folders_are_named(pipeline, tmp_path):
    with pytest.raises(UserError, match="no model here"):
        MoVideoPipeline.from_pretrained(tmp_path)
    whole = tmp_path / "whole"
    pipeline.save_pretrained(whole)

    lost = shutil.copytree(whole, tmp_path / "lost")
    next((lost / "video_unet").glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match=r"lost.video_unet"):
        MoVideoPipeline.from_pretrained(lost)

    foreign = shutil.copytree(whole, tmp_path / "foreign")
    index = json.loads((foreign / INDEX).read_text())
    (foreign / INDEX).write_text(json.dumps(index | {"video_unet": ["subprocess", "Popen"]}))
    with pytest.raises(UserError, match=r"subprocess\.Popen"):
        MoVideoPipeline.from_pretrained(foreign)

    partial = shutil.copytree(whole, tmp_path / "partial")
    index.pop("motion_space")
    (partial / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match="names no motion_space"):
        MoVideoPipeline.from_pretrained(partial)


def test_motion_generated_apart_gives_the_same_video(pipeline):
    generator = torch.Generator().manual_seed(0)
    options = {"num_frames": FRAMES, "num_inference_steps": 2, "fps": 5.0, "generator": generator}
    motion = pipeline.generate_motion(IMAGE, **options)
    apart = pipeline(IMAGE, motion=motion, **options)
    whole = run(pipeline)
    for name in FIELDS:
        assert torch.equal(getattr(apart, name), getattr(whole, name))


def test_sheet_shows_every_row(pipeline):
    sheet = result_sheet(IMAGE[0], run(pipeline, image=IMAGE[:1]))
    # depth, two flows, mask, warped key frame and result, 96 pixels and a gap each
    assert sheet.shape == (3, 6 * 98, 96 + FRAMES * 98)
    assert sheet.abs().max() <= 1
