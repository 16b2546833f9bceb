"""The shipped variants: each trains, is exported, and makes a video as what it is."""

import pytest
import torch
import yaml

from movideo.cli.configs import shipped_config
from movideo.models import ImageEncoder, PooledImageEncoder
from movideo.motion.condition import ConditionTransform, DepthOnly, NoMask, NoWarpedLatent
from movideo.motion.key_frame import KeyFrameCondition
from movideo.motion.key_frame_motion import KeyFrameMotion
from movideo.motion.scale import FlowScale, PredictedFlowScale
from movideo.motion.space import MotionSpace, PerFrameMotionSpace, QuantileMotionSpace
from movideo.pipeline import MoVideoPipeline

TINY = (
    "--data.scenes.count=4",
    "--data.test_scenes.count=1",
    "--data.batch_size=1",
    *(f"--data.{part}num_frames=3" for part in ("", "scenes.", "test_scenes.")),
    "--trainer.max_steps=1",
    "--trainer.limit_val_batches=0",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
OURS = {
    "condition_transform": ConditionTransform,
    "image_encoder": ImageEncoder,
    "motion_space": QuantileMotionSpace,
    "key_frame": KeyFrameMotion,
    "flow_scale": PredictedFlowScale,
}
# The overlay of each stage (None: its own config), and what the exported model then is made of.
VARIANTS = {
    "no_warped_latent": (
        {2: "no_warped_latent"},
        OURS | {"condition_transform": NoWarpedLatent},
    ),
    "no_mask": ({2: "no_mask"}, OURS | {"condition_transform": NoMask}),
    "pooled_tokens": (
        {1: "pooled_tokens", 2: "pooled_tokens"},
        OURS | {"image_encoder": PooledImageEncoder},
    ),
    "per_frame_normalisation": (
        {1: "per_frame_normalisation", 2: "per_frame_normalisation"},
        OURS | {"motion_space": PerFrameMotionSpace},
    ),
    "recovered_scale": ({1: "recovered_scale", 2: None}, OURS | {"flow_scale": FlowScale}),
    "cross_attention_alone": (
        {1: "cross_attention_alone", 2: None},
        OURS | {"key_frame": KeyFrameCondition},
    ),
    "largest_vector": (
        {1: "largest_vector", 2: "largest_vector"},
        OURS | {"motion_space": MotionSpace},
    ),
    "unshifted_noise": ({1: "unshifted_noise", 2: None}, OURS),
    "gen1": (
        {1: "pooled_tokens", 2: "gen1"},
        OURS | {"condition_transform": DepthOnly, "image_encoder": PooledImageEncoder},
    ),
}


SLOW = ("recovered_scale", "cross_attention_alone", "largest_vector", "unshifted_noise")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in VARIANTS]
)
def test_a_variant_trains_and_is_exported(movideo, tmp_path, name):
    overlays, parts = VARIANTS[name]
    runs = []
    for stage, overlay in overlays.items():
        configs = [f"--config=stage{stage}.yaml"]
        configs += [f"--config=variants/{overlay}.yaml"] if overlay else []
        done = movideo("fit", *configs, *TINY)
        assert done.code == 0, done.err
        place = f"{overlay}/stage{stage}" if overlay else f"stage{stage}"
        runs.append(f"runs/{place}/version_0/checkpoints/last.ckpt")
    # Where a variant is of stage 2 alone, the stage 1 is that of the model it is compared with.
    done = movideo("export", f"--out=models/{name}", f"--checkpoints=[{','.join(runs)},embedded]")
    assert done.code == 0, done.err
    pipeline = MoVideoPipeline.from_pretrained(tmp_path / "models" / name)
    assert {part: type(getattr(pipeline, part)) for part in parts} == parts
    if 1 in overlays:
        shift = 1.0 if name == "unshifted_noise" else 4.0
        assert pipeline.motion_scheduler.config["shift"] == shift
    video = pipeline.generate(torch.zeros(3, 64, 64), num_frames=3, num_inference_steps=1).video
    assert video.shape == (1, 3, 3, 64, 64)
    assert video.isfinite().all()


def test_the_table_compares_these():
    rows = yaml.safe_load(shipped_config("eval/ablations.yaml").read_text("utf-8"))
    named = [
        row.get("init_args", {}).get("model")
        for row in rows["model"]["init_args"]["methods"].values()
    ]
    assert [name for name in named if name] == [f"./models/{name}" for name in VARIANTS]
