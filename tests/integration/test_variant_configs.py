"""Variants of stages 1 and 2: each goes with its weights and is applied wherever they are."""

import json

import pytest
import torch

from movideo.cli.tools import export
from movideo.errors import UserError
from movideo.hub.model_folder import INDEX
from movideo.models import ImageEncoder, PooledImageEncoder
from movideo.motion.condition import ConditionTransform, DepthOnly, NoMask, NoWarpedLatent
from movideo.motion.space import Motion, PerFrameMotionSpace
from movideo.pipeline import MoVideoPipeline
from stages import DepthFlowDiffusion, LatentVideoDiffusion
from tests.stages.parts import (
    FRAMES,
    IMAGE_ENCODER,
    STATISTICS,
    ClipData,
    autoencoder,
    batch,
    image_encoder,
    motion_parts,
    trainer,
    video_parts,
)

from_checkpoints = MoVideoPipeline.from_checkpoints


def shift(dx: float, margin: int = 0):
    """Flow `(1, F, 2, 16, 16)` of all frames but the key frame, zero towards the border."""
    flow = torch.zeros(1, FRAMES, 2, 16, 16)
    flow[:, :, 0, margin : 16 - margin, margin : 16 - margin] = dx
    flow[:, FRAMES // 2] = 0
    return flow


DEPTH = torch.rand(1, FRAMES, 1, 16, 16, generator=torch.Generator().manual_seed(3))
# Motions that each change one thing in the condition of a still clip: the warped latent (under half
# a pixel all stays visible), the mask (points of the key frame that leave the image are occluded),
# both, or how the frames' ranges of depth compare (by powers of two: nothing is rounded).
CHANGES = {
    "still": (DEPTH, shift(0), shift(0)),
    "warped latent": (DEPTH, shift(0.4, margin=4), shift(0)),
    "mask": (DEPTH, shift(0), shift(40)),
    "both": (DEPTH, shift(-4), shift(4)),
    "ranges": (DEPTH * torch.tensor([1.0, 2, 4]).view(FRAMES, 1, 1, 1), shift(0), shift(0)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Trains a step of either stage over saved parts, with whatever is replaced."""
    folder = tmp_path_factory.mktemp("variants")
    autoencoder().save_pretrained(folder / "vae")
    image_encoder().save_pretrained(folder / "encoder")

    def stage(kind, encoder=ImageEncoder, **changes):
        parts = {
            "image_encoder": encoder(str(folder / "encoder"), IMAGE_ENCODER),
            "allow_random": False,
            **changes,
        }
        if kind is DepthFlowDiffusion:
            return kind(**motion_parts(**parts))
        return kind(**video_parts(autoencoder=autoencoder(str(folder / "vae")), **parts))

    def make(kind, name, **changes):
        runner = trainer(folder, 1)
        runner.fit(stage(kind, **changes), datamodule=ClipData())
        runner.save_checkpoint(folder / f"{name}.ckpt")
        return folder / f"{name}.ckpt"

    make.stage = stage
    make.motion = make(DepthFlowDiffusion, "motion")
    make.video = make(LatentVideoDiffusion, "video")
    return make


def exported(checkpoints, folder):
    export(str(folder), checkpoints)
    return MoVideoPipeline.from_pretrained(folder)


def noticed(pipeline) -> set[str]:
    """The changes of the motion that change the video."""
    image = batch(1)["video"][:, FRAMES // 2].expand(len(CHANGES), -1, -1, -1)
    still, *changed = pipeline.generate(
        image,
        num_frames=FRAMES,
        num_inference_steps=1,
        generator=[torch.Generator().manual_seed(0) for _ in CHANGES],
        motion=Motion(*(torch.cat(field) for field in zip(*CHANGES.values(), strict=True))),
    ).video
    differences = {
        name: (video - still).abs().max()
        for name, video in zip(list(CHANGES)[1:], changed, strict=True)
    }
    # Sums in another order differ by 1e-6; every change that counts by 100 times the bound.
    return {name for name, difference in differences.items() if difference > 1e-5}


def test_all_of_the_condition_matters_by_default(made, tmp_path):
    pipeline = exported([made.motion, made.video], tmp_path)
    assert type(pipeline.condition_transform) is ConditionTransform
    assert noticed(pipeline) == {"warped latent", "mask", "both", "ranges"}


@pytest.mark.parametrize(
    ("transform", "seen"),
    [
        (NoWarpedLatent, {"mask", "both", "ranges"}),
        (NoMask, {"warped latent", "both", "ranges"}),
        (DepthOnly, {"ranges"}),
    ],
)
def test_a_model_is_shown_what_its_weights_were_trained_with(made, transform, seen, tmp_path):
    path = made(LatentVideoDiffusion, transform.__name__, condition_transform=transform())
    pipeline = exported([made.motion, path], tmp_path / "model")
    assert noticed(pipeline) == seen
    # A share of stage 2 takes it along, and so does a model that is exported again.
    export(str(tmp_path / "share"), [path])
    for places in ([made.motion, tmp_path / "share"], [tmp_path / "model"]):
        assert type(from_checkpoints(places).condition_transform) is transform


def test_frames_normalised_by_themselves_forget_how_their_depths_compare(made, tmp_path):
    changes = {"motion_space": PerFrameMotionSpace}
    paths = [
        made(kind, f"per-frame-{kind.__name__}", **changes)
        for kind in (DepthFlowDiffusion, LatentVideoDiffusion)
    ]
    pipeline = exported(paths, tmp_path / "model")
    assert noticed(pipeline) == {"warped latent", "mask", "both"}
    assert type(pipeline.motion_space) is PerFrameMotionSpace
    assert pipeline.motion_space.flow_std == STATISTICS.flow_std
    for places in ([paths[0], made.video], [made.motion, paths[1]]):
        with pytest.raises(UserError, match=r"trained for motion of .*--model\.motion_space"):
            from_checkpoints(places)


def test_the_pooled_token_is_all_that_the_networks_get(made, tmp_path):
    changes = {"encoder": PooledImageEncoder}
    paths = [
        made(kind, f"pooled-{kind.__name__}", **changes)
        for kind in (DepthFlowDiffusion, LatentVideoDiffusion)
    ]
    pipeline, shapes = exported(paths, tmp_path / "model"), set()
    for network in (pipeline.motion_unet, pipeline.video_unet):
        network.register_forward_pre_hook(lambda _, inputs: shapes.add(inputs[2].shape))
    pipeline.generate(batch(1)["video"][:, 0], num_frames=FRAMES, num_inference_steps=1)
    assert shapes == {(1, 1, IMAGE_ENCODER["width"])}
    with pytest.raises(UserError, match="trained over another image_encoder"):
        from_checkpoints([made.motion, paths[1]])


def test_models_and_checkpoints_of_earlier_versions_are_shown_everything(made, tmp_path):
    content = torch.load(made.video, weights_only=True)
    del content["components"]["condition_transform"]
    torch.save(content, tmp_path / "old.ckpt")
    pipeline = exported([made.motion, tmp_path / "old.ckpt"], tmp_path / "model")
    assert "warped latent" in noticed(pipeline)
    export(str(tmp_path / "share"), [tmp_path / "old.ckpt"])
    index = json.loads((tmp_path / "model" / INDEX).read_text())
    del index["condition_transform"]
    (tmp_path / "model" / INDEX).write_text(json.dumps(index))
    for place in ("model", "share"):
        assert "condition_transform" not in (tmp_path / place / INDEX).read_text()
        again = from_checkpoints([made.motion, tmp_path / place])
        assert type(again.condition_transform) is ConditionTransform
    assert "warped latent" in noticed(MoVideoPipeline.from_pretrained(tmp_path / "model"))
    go_on(made.stage(LatentVideoDiffusion), tmp_path / "old.ckpt")
    with pytest.raises(UserError, match=r"NoMask, but the weights were trained with .*Condition"):
        go_on(made.stage(LatentVideoDiffusion, condition_transform=NoMask()), tmp_path / "old.ckpt")


def go_on(stage, path):
    trainer(path.parent, 1).fit(stage, datamodule=ClipData(), ckpt_path=path)


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        (LatentVideoDiffusion, "video", {"condition_transform": NoMask()}),
        (LatentVideoDiffusion, "video", {"motion_space": PerFrameMotionSpace}),
        (DepthFlowDiffusion, "motion", {"motion_space": PerFrameMotionSpace}),
    ],
)
def test_weights_go_on_with_what_they_were_trained_with(made, kind, name, changes):
    (option,), path = changes, getattr(made, name)
    message = rf"{name}\.ckpt: model\.{option}: .*, but the weights.*--model\.allow_other_parts"
    with pytest.raises(UserError, match=message):
        go_on(made.stage(kind, **changes), path)
    with pytest.raises(UserError, match=message):
        made.stage(kind, **changes, init_from=str(path)).setup("fit")


def test_weights_can_be_adapted_to_another_space(made, tmp_path):
    changes = {"motion_space": PerFrameMotionSpace, "allow_other_parts": True}
    stage = made.stage(DepthFlowDiffusion, init_from=str(made.motion), **changes)
    trainer(tmp_path, 1).fit(stage, datamodule=ClipData())
    assert type(stage.motion_space) is PerFrameMotionSpace
    assert stage.motion_space.flow_std == STATISTICS.flow_std
