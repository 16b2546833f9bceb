"""`movideo generate` is the pipeline, with its options."""

import pytest
import torch
from safetensors.torch import load_file

from movideo.pipeline import MoVideoPipeline
from movideo.video.read import read_image
from movideo.video.write import write_image
from tests.stages.parts import tiny_pipeline

SIZE = (16, 16)


@pytest.fixture
def model(tmp_path):
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path / "model")
    write_image(tmp_path / "key.png", torch.rand(3, *SIZE) * 2 - 1)
    return tmp_path / "model"


@pytest.mark.parametrize("options", [(), ("--offload=true",), ("--dtype=bfloat16",)])
def test_type_and_offloading_reach_the_networks(movideo, model, tmp_path, monkeypatch, options):
    offloaded = []
    record = lambda _, device: offloaded.append(device)  # noqa: E731
    monkeypatch.setattr(MoVideoPipeline, "enable_model_cpu_offload", record)
    done = movideo(
        *("generate", "--model=model", "--image=key.png", "--size=[16,16]", "--num_frames=3"),
        *("--steps=1", "--seed=3", "--device=cpu", "--save_motion=m.safetensors", *options),
    )
    assert done.code == 0, done.err
    assert "float32" not in done.err  # diffusers warns of every cast
    assert [str(place) for place in offloaded] == ["cpu"] * ("--offload=true" in options)
    found = load_file(tmp_path / "m.safetensors")["depth"]
    pipeline = MoVideoPipeline.from_pretrained(model)
    image = read_image(tmp_path / "key.png", SIZE)

    def depth(dtype):
        generator = torch.Generator().manual_seed(3)
        motion = pipeline.to(dtype=dtype).generate_motion(
            image, num_frames=3, num_inference_steps=1, generator=generator
        )
        return motion.depth[0]

    half = any("bfloat16" in option for option in options)
    full, rounded = depth(torch.float32), depth(torch.bfloat16)
    expected, other = (rounded, full) if half else (full, rounded)
    # the same weights elsewhere in memory: sums in another order
    torch.testing.assert_close(found.view_as(expected), expected, rtol=0, atol=1e-5)
    assert (found.view_as(other) - other).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (f"--seed={2**63}", "--seed 9223372036854775808: give 0 to"),
        ("--size=[0,64]", "--size [0, 64]: give 1 or more pixels"),
    ],
)
def test_numbers_out_of_range_are_named_before_anything_is_loaded(movideo, option, message):
    assert movideo("generate", "--image=none.png", option).error.startswith(message)


@pytest.mark.parametrize("option", ["out", "visualization", "save_motion"])
def test_places_that_cannot_be_written_are_named_before_anything_is_loaded(
    movideo, tmp_path, option
):
    suffix = {"out": "mp4", "visualization": "png", "save_motion": "safetensors"}[option]
    (tmp_path / "file").write_text("words")
    (tmp_path / f"folder.{suffix}").mkdir()
    options = ("--image=none.png", f"--{option}")
    error = movideo("generate", *options, f"file/a.{suffix}").error
    assert error.startswith(f"file/a.{suffix}: cannot be written (")
    error = movideo("generate", *options, f"folder.{suffix}").error
    assert error == f"folder.{suffix}: a folder; name a file in it"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"folder.{suffix}"]
