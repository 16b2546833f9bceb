"""The pipeline is called as diffusers' are: what works, and what is refused in one line."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import export_to_video
from PIL import Image

from movideo import MoVideoPipeline
from movideo.errors import UserError
from movideo.motion.carry import scale_motion
from movideo.motion.space import Motion
from movideo.video.read import probe
from tests.stages.parts import FRAMES, tiny_pipeline

BYTES = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
PICTURE = Image.fromarray(BYTES)
UNIT = torch.from_numpy(BYTES).movedim(-1, 0) / 255
SIGNED = UNIT * 2 - 1


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def call(pipeline, image=PICTURE, seed=0, **options):
    options = {"num_frames": FRAMES, "num_inference_steps": 2, "output_type": "pt"} | options
    return pipeline(image, generator=torch.Generator().manual_seed(seed), **options)


@pytest.fixture(scope="module")
def expected(pipeline):
    """What the inner method makes of the same picture."""
    generator = torch.Generator().manual_seed(0)
    options = {"num_frames": FRAMES, "num_inference_steps": 2}
    return pipeline.generate(SIGNED, generator=generator, **options)


@pytest.mark.parametrize(
    "image",
    [
        PICTURE,
        [PICTURE],
        BYTES,
        BYTES[None],
        BYTES.astype(np.float32) / 255,
        UNIT,
        UNIT[None],
        [UNIT],
        SIGNED,
        torch.from_numpy(BYTES).movedim(-1, 0),
    ],
    ids=["PIL", "list of PIL", "bytes", "batch of bytes", "floats", "tensor", "batch of tensors",
         "list of tensors", "signed tensor", "tensor of bytes"],
)  # fmt: skip
def test_pictures_of_every_kind_mean_the_same(pipeline, expected, image):
    frames = call(pipeline, image).frames
    assert frames.shape == (1, FRAMES, 3, 16, 16)
    # Bytes reach [-1, 1] by a product or by a quotient: the last digits of a float32.
    torch.testing.assert_close(frames * 2 - 1, expected.video, atol=1e-4, rtol=0)


def test_a_list_of_pictures_makes_a_video_of_each(pipeline):
    frames = call(pipeline, [PICTURE, PICTURE.rotate(90)]).frames
    assert frames.shape == (2, FRAMES, 3, 16, 16)
    assert not torch.equal(frames[0], frames[1])


def test_output_types_hold_the_same_frames(pipeline):
    tensor = call(pipeline).frames
    assert 0 <= tensor.min() < tensor.max() <= 1
    array = call(pipeline, output_type="np").frames
    assert array.shape == (1, FRAMES, 16, 16, 3)
    assert np.array_equal(array, tensor.movedim(2, -1).numpy())
    ((*pictures,),) = call(pipeline, output_type="pil").frames
    assert [picture.size for picture in pictures] == [(16, 16)] * FRAMES
    assert np.abs(np.stack(pictures) / 255 - array[0]).max() <= 0.5 / 255 + 1e-6
    latents = call(pipeline, output_type="latent").frames
    assert latents.shape == (1, FRAMES, 4, 8, 8)
    with pytest.raises(UserError, match="output_type 'gif': give one of pil, np, pt, latent"):
        call(pipeline, output_type="gif")


def test_pictures_are_the_default_and_make_a_file(pipeline, tmp_path):
    result = pipeline(PICTURE, num_frames=FRAMES, num_inference_steps=1)
    path = export_to_video(result.frames[0], str(tmp_path / "video.mp4"), fps=8)
    info = probe(path)
    assert (len(info.times), info.width, info.height) == (FRAMES, 16, 16)


def test_the_motion_comes_along(pipeline, expected):
    result = call(pipeline)
    for name in ("depth", "flow_i2v", "flow_v2i", "visible"):
        torch.testing.assert_close(
            getattr(result, name), getattr(expected, name), atol=1e-4, rtol=0
        )
    assert result["frames"] is result.frames


def test_a_tuple_without_return_dict(pipeline):
    found = call(pipeline, return_dict=False)
    assert isinstance(found, tuple)
    assert [tensor.shape[2] for tensor in found] == [3, 1, 2, 2, 1]
    assert torch.equal(found[0], call(pipeline).frames)


def test_height_and_width_resize_and_cut_the_centre(pipeline):
    wide = Image.fromarray(np.concatenate([BYTES * 0, BYTES, BYTES * 0], axis=1))
    found = call(pipeline, wide, height=16, width=16)
    assert torch.equal(found.frames, call(pipeline).frames)
    assert call(pipeline, height=32, width=24).flow_i2v.shape == (1, FRAMES, 2, 32, 24)
    with pytest.raises(UserError, match="size 15x16: the autoencoder halves it"):
        call(pipeline, height=15)


def test_guidance_scale_for_both_or_for_each(pipeline):
    plain, motion, both = (call(pipeline, guidance_scale=scale) for scale in (1.0, (3.0, 1.0), 3.0))
    assert not torch.equal(plain.flow_i2v, motion.flow_i2v)
    assert torch.equal(motion.flow_i2v, both.flow_i2v)
    assert not torch.equal(motion.frames, both.frames)
    with pytest.raises(UserError, match="guidance scale -1"):
        call(pipeline, guidance_scale=-1.0)


def test_several_videos_of_a_picture(pipeline):
    frames = call(pipeline, num_videos_per_prompt=3).frames
    assert frames.shape == (3, FRAMES, 3, 16, 16)
    assert not torch.equal(frames[0], frames[1])
    with pytest.raises(UserError, match="num_videos_per_prompt 0"):
        call(pipeline, num_videos_per_prompt=0)


def test_a_callback_sees_every_step_and_may_change_it(pipeline):
    steps = []

    def watch(given, index, timestep, tensors):
        steps.append((given is pipeline, index, int(timestep), tensors["latents"].shape[2]))
        return tensors

    def erase(given, index, timestep, tensors):
        return {"latents": torch.zeros_like(tensors["latents"])}

    plain = call(pipeline)
    assert torch.equal(call(pipeline, callback_on_step_end=watch).frames, plain.frames)
    channels = [5, 5, 4, 4]  # two steps of motion, two of video
    assert [step[3] for step in steps] == channels
    assert [step[1] for step in steps] == [0, 1, 0, 1]
    assert all(step[0] for step in steps)
    erased = call(pipeline, callback_on_step_end=erase, output_type="latent")
    assert not erased.frames.any()
    with pytest.raises(UserError, match="prompt_embeds; there are only latents"):
        call(pipeline, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_given_latents_are_the_noise_of_the_video(pipeline):
    motion = Motion(*torch.zeros(5, 1, FRAMES, 1, 16, 16).split((1, 2, 2)))
    motion = Motion(*(torch.zeros(1, FRAMES, channels, 16, 16) for channels in (1, 2, 2)))
    noise = torch.randn(1, FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    drawn = call(pipeline, motion=motion, seed=5)
    assert torch.equal(call(pipeline, motion=motion, latents=noise, seed=1).frames, drawn.frames)
    with pytest.raises(UserError, match=r"latents \(1, 1, 4, 8, 8\): these videos need"):
        call(pipeline, latents=noise[:, :1])


def test_generators_one_or_one_a_video(pipeline):
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    options = {"num_frames": FRAMES, "num_inference_steps": 2, "output_type": "pt"}
    both = pipeline([PICTURE, PICTURE], generator=generators, **options).frames
    for index in range(2):
        alone = call(pipeline, seed=index).frames[0]
        torch.testing.assert_close(both[index], alone, atol=1e-5, rtol=0)  # sums over a batch


def test_the_progress_bar_is_configured(pipeline, monkeypatch, capsys):
    monkeypatch.setattr("movideo.progress.on_terminal", lambda: True)
    pipeline.set_progress_bar_config(delay=0, mininterval=0, leave=True, ncols=60)
    call(pipeline)
    assert "2/2" in capsys.readouterr().err
    pipeline.set_progress_bar_config(disable=True)
    call(pipeline)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloading_changes_nothing(offload):
    pipeline, plain = tiny_pipeline(), tiny_pipeline()
    getattr(pipeline, offload)(device="cpu:0")
    assert torch.equal(call(pipeline).frames, call(plain).frames)


def test_parts_of_another_pipeline(pipeline):
    again = MoVideoPipeline.from_pipe(pipeline)
    assert again.video_unet is pipeline.video_unet
    assert again.decoder is pipeline.decoder
    assert torch.equal(call(again).frames, call(pipeline).frames)


def test_loading_in_another_type(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    loaded = MoVideoPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    assert call(loaded).frames.dtype == torch.float32


def test_diffusers_own_loader_does_not_know_the_class(pipeline, tmp_path):
    """It would look for code in the folder, where there is none: `MoVideoPipeline` loads it."""
    pipeline.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.py"))
    with pytest.raises((AttributeError, ValueError, OSError)):
        DiffusionPipeline.from_pretrained(tmp_path, custom_pipeline=str(tmp_path))
    assert isinstance(MoVideoPipeline.from_pretrained(tmp_path), DiffusionPipeline)


def test_adapters_are_refused_in_one_line(pipeline):
    with pytest.raises(UserError, match="load_lora_weights: no part takes LoRA weights"):
        pipeline.load_lora_weights("somewhere")


def test_motion_strength_is_that_of_the_command(pipeline):
    plain, double = call(pipeline), call(pipeline, motion_strength=2.0)
    motion = Motion(plain.depth, plain.flow_i2v, plain.flow_v2i)
    expected = scale_motion(motion, FRAMES // 2, 2.0)
    assert torch.equal(double.flow_v2i, expected.flow_v2i)
    assert torch.equal(double.flow_i2v, expected.flow_i2v)
    with pytest.raises(UserError, match="motion_strength -1"):
        call(pipeline, motion_strength=-1.0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("picture.png", "image: a str; give PIL pictures, NumPy arrays or tensors"),
        ([], r"image \[\]: give one picture or more"),
        (np.zeros((3, 16, 16)), r"image \(3, 16, 16\): give arrays \(H, W, 3\)"),
        (torch.zeros(1, 16, 16), r"image \(1, 16, 16\): give \(3, H, W\)"),
        (torch.full((3, 16, 16), 255.0), "image: values 255 to 255; give bytes"),
        ([PICTURE, PICTURE.resize((8, 8))], "image: of different sizes"),
    ],
)
def test_what_is_no_picture_is_named(pipeline, image, message):
    with pytest.raises(UserError, match=message):
        call(pipeline, image)
