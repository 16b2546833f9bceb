"""Key frames from text: diffusers' own pictures, a function of the seed, and clear refusals."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch.nn import functional

from movideo.errors import UserError
from movideo.text_to_image import TextToImage, required
from tests.tiny_text_to_image import SIDE, write_text_to_image

PROMPTS = ["a dog", "two cats"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_text_to_image(tmp_path_factory.mktemp("tiny") / "sd")


@pytest.fixture(scope="module")
def draw(folder):
    return TextToImage(str(folder), num_inference_steps=2)


def test_prompts_need_one(draw):
    assert required(draw) is draw
    with pytest.raises(UserError, match=r"model\.text_to_image: null, but there are prompts; give"):
        required(None)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_pictures_are_those_of_diffusers(folder, draw):
    theirs = StableDiffusionPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    drawn = theirs(
        PROMPTS, num_inference_steps=2, generator=generators(3, 4), output_type="pt"
    ).images
    ours = draw(PROMPTS, (SIDE, SIDE), generators(3, 4))
    assert torch.equal(ours, drawn * 2 - 1)
    assert ours.shape == (2, 3, SIDE, SIDE)
    assert ours.std() > 0.05


def test_seed_and_prompt_alone_decide(draw):
    size = (SIDE, SIDE)
    first, second = (draw(PROMPTS, size, generators(3, 4)) for _ in range(2))
    assert torch.equal(first, second)
    # Each prompt has a generator of its own; sums over other batches round differently.
    alone = draw(PROMPTS[1:], size, generators(4))
    torch.testing.assert_close(alone[0], first[1], atol=1e-4, rtol=0)
    other_seed, other_prompt = draw(["a dog", "a dog"], size, generators(5, 4))
    assert (other_seed - first[0]).abs().max() > 0.01
    assert (other_prompt - first[1]).abs().max() > 0.001


def test_other_sizes_are_resized_and_cropped(draw):
    whole = draw(PROMPTS[:1], (SIDE, SIDE), generators(0))
    wide = draw(PROMPTS[:1], (SIDE, 2 * SIDE), generators(0))
    assert wide.shape == (1, 3, SIDE, 2 * SIDE)
    double = functional.interpolate(
        whole, scale_factor=2, mode="bilinear", align_corners=False, antialias=True
    )
    centre = double[:, :, SIDE // 2 : SIDE // 2 + SIDE]
    torch.testing.assert_close(wide, centre, atol=1e-5, rtol=0)  # rounding


def test_settings_reach_the_pipeline(folder):
    drawn = TextToImage(
        str(folder), num_inference_steps=1, guidance_scale=1.0, draw_size=(2 * SIDE, SIDE)
    )
    assert drawn(["a dog"], (2 * SIDE, SIDE), generators(0)).shape == (1, 3, 2 * SIDE, SIDE)
    plain = TextToImage(str(folder), num_inference_steps=1)
    one, other = (p(["a dog"], (SIDE, SIDE), generators(0)) for p in (drawn, plain))
    assert not torch.equal(one, other)
    assert drawn.settings["draw_size"] == [2 * SIDE, SIDE]
    with pytest.raises(UserError, match="refuses its settings"):
        TextToImage(str(folder), draw_size=(SIDE + 3, SIDE))(["a dog"], (SIDE, SIDE))


def cut_short(folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def pickled(folder, part, old, new):
    file = folder / part / old
    file.unlink()
    torch.save({"weight": torch.zeros(1)}, folder / part / new)


def of_another_kind(folder):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "MoVideoPipeline"}))


SPOILT = {
    "cut short": cut_short,
    "pickled": lambda folder: pickled(
        folder, "unet", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
    ),
    "pickled text encoder": lambda folder: pickled(
        folder, "text_encoder", "model.safetensors", "pytorch_model.bin"
    ),
    "another kind": of_another_kind,
    "one part": lambda folder: (folder / "model_index.json").unlink(),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_is_no_such_pipeline_is_told_in_one_line(folder, tmp_path, kind):
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    SPOILT[kind](spoilt)
    with pytest.raises(UserError) as refused:
        TextToImage(str(spoilt))
    message = str(refused.value)
    assert message.startswith(f"{spoilt}: no text-to-image pipeline could be loaded (")
    assert "\n" not in message
    assert message.endswith("with its weights in safetensors")
