"""Samples: each method's own, made once, and refused where they were made otherwise."""

import pytest
import torch
from safetensors import safe_open

from movideo.errors import UserError
from movideo.estimators import DISFlow, ParallaxDepth
from movideo.evaluation.methods import (
    FlowWarping,
    FrozenKeyFrame,
    Generation,
    Method,
    MethodUnavailable,
    Reconstruction,
)
from movideo.evaluation.producer import SampleProducer
from movideo.evaluation.samples import SampleFolder
from movideo.ops import warp
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.render import render_scene
from movideo.video.decoding.pixels import quantize, to_float
from tests.stages.parts import tiny_pipeline

FRAMES, KEY = 3, 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model on disk."""
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def batch():
    """Two scenes with exact motion."""
    scenes = [render_scene(seed, FRAMES, (64, 64), fps=5) for seed in (1, 2)]
    return {
        "name": ["one", "two/three"],
        "video": torch.stack([scene.video for scene in scenes]),
        "fps": torch.tensor([5.0, 5.0]),
        "key_index": torch.tensor([KEY, KEY]),
        "depth": torch.stack([scene.depth for scene in scenes]),
        "flow_i2v": torch.stack([scene.flow_i2v for scene in scenes]),
        "flow_v2i": torch.stack([scene.flow_v2i for scene in scenes]),
    }


def producer(folder, seed=0, text_to_image=None, keeps_motion=True):
    estimators = ParallaxDepth(), DISFlow()
    return SampleProducer(SampleFolder(folder), *estimators, text_to_image, seed, keeps_motion)


def prepared(method, model="embedded"):
    method.prepare(model)
    return method


def rounded(video):
    return to_float(quantize(video))


def test_rivals_follow_from_the_key_frame(batch, tmp_path):
    methods = {"warp": FlowWarping(), "frozen": FrozenKeyFrame()}
    found = dict(producer(tmp_path).judged(methods, batch))
    key = batch["video"][:, KEY]
    assert torch.equal(found["warp"].video, rounded(warp(key[:, None], batch["flow_i2v"])))
    for frame in range(FRAMES):
        assert torch.equal(found["frozen"].video[:, frame], rounded(key))
    assert torch.equal(found["warp"].truth, rounded(batch["video"]))
    # What a baseline was asked for is the clip's own motion.
    assert torch.equal(found["frozen"].motion.flow_i2v, batch["flow_i2v"])


def test_generation_and_reconstruction_are_the_pipelines(model, batch, tmp_path):
    options = {"num_inference_steps": 2}
    methods = {
        "generated": prepared(Generation(**options), model),
        "true": prepared(Generation(true_motion=True, **options), model),
        "2-D": prepared(Reconstruction(), model),
    }
    found = dict(producer(tmp_path).judged(methods, batch))
    pipeline = MoVideoPipeline.from_pretrained(model)
    z = pipeline.autoencoder.encode(batch["video"])
    with torch.no_grad():
        plain = pipeline.autoencoder.decode(z)
    # The same numbers summed in another order, rounded to bytes: one level of 255, and rarely.
    assert (found["2-D"].video - rounded(plain)).abs().max() <= 2 / 255 + 1e-6
    # Each makes its own motion, or takes the one that is given.
    assert not torch.equal(found["generated"].motion.flow_i2v, batch["flow_i2v"])
    assert torch.equal(found["true"].motion.flow_i2v, batch["flow_i2v"])
    assert not torch.equal(found["generated"].video, found["true"].video)
    # The key frame of true motion is neither moved nor left out.
    assert found["true"].motion.flow_i2v[:, KEY].abs().max() == 0


def test_what_is_there_is_not_made_again(batch, tmp_path):
    class Counting(FrozenKeyFrame):
        calls = 0

        def make(self, given):
            Counting.calls += 1
            return super().make(given)

    def run():
        return dict(producer(tmp_path).judged({"a title": Counting()}, batch))["a title"]

    first = run()
    assert Counting.calls == 1
    assert torch.equal(run().video, first.video)
    assert Counting.calls == 1
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.s*"))
    assert files == ["a_title/one.safetensors", "a_title/two/three.safetensors"]
    kept = {path: (tmp_path / path).read_bytes() for path in files}
    (tmp_path / files[1]).unlink()  # as a kill leaves it
    again = run()
    assert Counting.calls == 2
    assert torch.equal(again.video, first.video)
    assert {path: (tmp_path / path).read_bytes() for path in files} == kept


def test_a_metric_that_is_added_later_knows_the_motion_that_was_made(model, batch, tmp_path):
    """And not the true clip's: the samples of the first run do not say what it was."""
    methods = {"m": prepared(Generation(num_inference_steps=2), model)}
    first = dict(producer(tmp_path, keeps_motion=False).judged(methods, batch))["m"]
    assert first.motion is None
    later = dict(producer(tmp_path).judged(methods, batch))["m"]
    fresh = dict(producer(tmp_path / "fresh").judged(methods, batch))["m"]
    assert torch.equal(later.video, first.video)
    assert torch.equal(later.motion.flow_i2v, fresh.motion.flow_i2v)
    assert not torch.equal(later.motion.flow_i2v, batch["flow_i2v"])


def test_other_labels_are_other_motion(batch, tmp_path):
    dict(producer(tmp_path).judged({"w": FlowWarping(), "f": FrozenKeyFrame()}, batch))
    relabelled = {**batch, "flow_i2v": 2 * batch["flow_i2v"]}
    dict(producer(tmp_path).judged({"f": FrozenKeyFrame()}, relabelled))  # which does not follow it
    with pytest.raises(UserError, match=r"w/one\.safetensors: made with settings .*labels \w+"):
        dict(producer(tmp_path).judged({"w": FlowWarping()}, relabelled))


def test_samples_of_other_settings_are_refused(model, batch, tmp_path):
    dict(
        producer(tmp_path).judged({"m": prepared(Generation(num_inference_steps=2), model)}, batch)
    )
    with pytest.raises(UserError, match=r"m/one\.safetensors: made with seed 0, not 1; give"):
        dict(producer(tmp_path, seed=1).judged({"m": prepared(Generation(), model)}, batch))
    with pytest.raises(UserError, match=r"made with settings .* not "):
        dict(producer(tmp_path).judged({"m": prepared(Generation(), model)}, batch))
    other = {**batch, "video": batch["video"].flip(-1)}
    with pytest.raises(UserError, match=r"made with clip \w+, not \w+"):
        dict(producer(tmp_path).judged({"m": prepared(Generation(), model)}, other))
    (tmp_path / "m" / "one.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"one\.safetensors: no sample of a test; move it away"):
        dict(producer(tmp_path).judged({"m": FrozenKeyFrame()}, batch))


def test_retrained_weights_are_other_weights(model, batch, tmp_path):
    method = prepared(Generation(), model)
    recipe = method.settings()
    changed = tmp_path / "changed"
    pipeline = MoVideoPipeline.from_pretrained(model)
    with torch.no_grad():
        next(pipeline.video_unet.parameters()).add_(1e-3)
    pipeline.save_pretrained(changed)
    assert prepared(Generation(), str(changed)).settings()["weights"] != recipe["weights"]


def test_motion_of_clips_without_labels_is_estimated_once(batch, tmp_path):
    bare = {key: batch[key] for key in ("name", "video", "fps", "key_index")}
    methods = {"warp": FlowWarping()}
    found = dict(producer(tmp_path).judged(methods, bare))["warp"]
    # DIS is within half a pixel over most of these smooth textures.
    error = (found.motion.flow_i2v - batch["flow_i2v"]).norm(dim=2)
    assert error.median() < 0.5
    path = tmp_path / ".true_motion" / "one.safetensors"
    with safe_open(path, framework="pt") as file:
        assert torch.equal(file.get_tensor("flow_i2v").float(), found.motion.flow_i2v[0])
    broken = SampleProducer(SampleFolder(tmp_path), ParallaxDepth(), DISFlow(), None, 0, True)
    broken.flow_estimator.forward = None  # would fail if it were asked
    assert torch.equal(dict(broken.judged(methods, bare))["warp"].video, found.video)


def test_prompts_draw_their_key_frames(tmp_path):
    class Draw:
        def __init__(self):
            self.settings = {"pretrained": "tiny"}

        def to(self, device):
            return self

        def __call__(self, prompts, size, generators):
            assert len(generators) == len(prompts)
            levels = torch.tensor([float(prompt) for prompt in prompts])
            return levels[:, None, None, None].expand(-1, 3, *size)

    prompts = {
        "name": ["a", "b"],
        "prompt": ["0.2", "-0.6"],
        "fps": torch.tensor([8.0, 8.0]),
        "key_index": torch.tensor([KEY, KEY]),
        "num_frames": FRAMES,
        "size": (16, 16),
    }
    made = dict(producer(tmp_path, text_to_image=Draw()).judged({"f": FrozenKeyFrame()}, prompts))
    assert made["f"].video.shape == (2, FRAMES, 3, 16, 16)
    assert torch.allclose(made["f"].video[:, 0, 0, 0, 0], torch.tensor([0.2, -0.6]), atol=1 / 255)
    assert made["f"].prompts == ["0.2", "-0.6"]
    assert made["f"].truth is None
    with pytest.raises(UserError, match="warp needs true clips, and the data has none"):
        dict(producer(tmp_path).judged({"warp": FlowWarping()}, prompts))


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("kind", [Generation, Reconstruction])
def test_a_missing_model(model, kind, optional, tmp_path):
    place = str(tmp_path / "nowhere")
    method: Method = (
        Generation(model=place, optional=optional)
        if kind is Generation
        else Reconstruction(decoder=place, optional=optional)
    )
    with pytest.raises(UserError, match="nowhere: no model here") as error:
        method.prepare(model)
    assert isinstance(error.value, MethodUnavailable) == optional


def test_names_of_samples_stay_in_the_folder(tmp_path):
    folder = SampleFolder(tmp_path)
    assert folder.path("Gen-1 / depth: only", "x").parent == tmp_path / "Gen-1_depth_only"
