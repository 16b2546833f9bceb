"""A camera path through the embedded model: the video moves the way that the name says."""

import pytest
import torch

from movideo import MoVideoPipeline
from movideo.estimators import DISFlow
from movideo.hub import EMBEDDED
from movideo.motion import CameraPath, ClipShape
from movideo.ops import visible_mask, warp
from movideo.scenes.render import render_scene

FRAMES, KEY = 9, 4


def measured(video, mask):
    """Mean estimated motion out of the key frame, pixels to the right and down, of each frame."""
    flow = DISFlow()(video[KEY].expand_as(video), video)
    return (flow * mask).sum(dim=(2, 3)) / mask.sum(dim=(2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "axis", "sign"), [("pan_left", 0, 1), ("tilt_down", 1, -1)])
def test_the_output_moves_as_the_camera_says(name, axis, sign):
    scene = render_scene(5, num_frames=FRAMES, fps=5)
    image, clip = scene.video[KEY], ClipShape(FRAMES, KEY, (64, 64), 5)
    pipeline = MoVideoPipeline.from_pretrained(EMBEDDED)
    options = {"fps": 5.0, "num_frames": FRAMES, "key_index": KEY, "num_inference_steps": 10}
    options["generator"] = torch.Generator().manual_seed(0)
    motion = CameraPath(name).motion(clip, lambda: pipeline.generate_motion(image, **options))
    video = pipeline.generate(image, motion=motion, **options).video[0]
    seen = visible_mask(motion.flow_v2i[0], motion.flow_i2v[0])
    asked = (motion.flow_v2i[0] * seen).sum(dim=(2, 3)) / seen.sum(dim=(2, 3))
    ours = measured(video, seen)[:, axis]
    warped = measured(warp(image, motion.flow_i2v[0]), seen)[:, axis]
    print(f"{name}: asked {asked[:, axis]}, video {ours}, warped key frame {warped}")
    ends = torch.tensor([0, 8])
    assert (sign * torch.tensor([-1, 1]) * ours[ends] > 0).all()
    # The camera moves by half of 0.2 sides to either end, 6.4 pixels.
    assert (asked[ends, axis].abs() > 6).all()
    for moved, least in ((warped, 0.8), (ours, 0.5)):
        ratio = moved[ends] / asked[ends, axis]
        assert ((ratio > least) & (ratio < 1.3)).all()
