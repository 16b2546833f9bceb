"""The shipped variants: each trains, is exported, and makes a video as what it is."""

import pytest
import torch
import yaml

from movideo.cli.configs import shipped_config
from movideo.models import ImageEncoder, PooledImageEncoder
from movideo.motion.condition import ConditionTransform, DepthOnly, NoMask, NoWarpedLatent
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
BASE = (ConditionTransform, ImageEncoder, MotionSpace)
# Stage 2 is trained for motion of a stage 1 in its space, and the embedded one's is this still.
EMBEDDED_SPACE = "--model.motion_space=movideo.motion.space.MotionSpace"
# The overlay of each stage, and what the exported model then is made of.
VARIANTS = {
    "no_warped_latent": ({2: "no_warped_latent"}, (NoWarpedLatent, *BASE[1:])),
    "no_mask": ({2: "no_mask"}, (NoMask, *BASE[1:])),
    "pooled_tokens": (
        {1: "pooled_tokens", 2: "pooled_tokens"},
        (ConditionTransform, PooledImageEncoder, QuantileMotionSpace),
    ),
    "per_frame_normalisation": (
        {1: "per_frame_normalisation", 2: "per_frame_normalisation"},
        (ConditionTransform, ImageEncoder, PerFrameMotionSpace),
    ),
    "gen1": ({1: "pooled_tokens", 2: "gen1"}, (DepthOnly, PooledImageEncoder, QuantileMotionSpace)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_and_is_exported(movideo, tmp_path, name):
    overlays, parts = VARIANTS[name]
    runs = []
    for stage, overlay in overlays.items():
        configs = (f"--config=stage{stage}.yaml", f"--config=variants/{overlay}.yaml")
        space = () if 1 in overlays else (EMBEDDED_SPACE,)
        done = movideo("fit", *configs, *TINY, *space)
        assert done.code == 0, done.err
        runs.append(f"runs/{overlay}/stage{stage}/version_0/checkpoints/last.ckpt")
    # Where a variant is of stage 2 alone, the stage 1 is that of the model it is compared with.
    done = movideo("export", f"--out=models/{name}", f"--checkpoints=[{','.join(runs)},embedded]")
    assert done.code == 0, done.err
    pipeline = MoVideoPipeline.from_pretrained(tmp_path / "models" / name)
    found = pipeline.condition_transform, pipeline.image_encoder, pipeline.motion_space
    assert tuple(map(type, found)) == parts
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
