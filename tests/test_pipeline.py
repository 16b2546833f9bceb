"""The chain: a function of its seed, that saves and loads, and refuses what does not fit."""

import copy
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from movideo.errors import UserError
from movideo.hub.model_folder import INDEX
from movideo.motion.space import Motion
from movideo.ops import visible_mask
from movideo.pipeline import COMPONENTS, MoVideoPipeline
from movideo.text_to_image import TextToImage
from movideo.visualization.clips import result_visualization
from tests.stages.parts import FRAMES, tiny_pipeline
from tests.tiny_text_to_image import write_text_to_image

FIELDS = ("video", "depth", "flow_i2v", "flow_v2i", "visible")
IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def run(pipeline, seed=0, image=IMAGE, **options):
    options = {"num_frames": FRAMES, "num_inference_steps": 2, "fps": 5.0} | options
    return pipeline.generate(image, generator=torch.Generator().manual_seed(seed), **options)


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
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*COMPONENTS, "README.md", INDEX])
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
    apart = pipeline.generate(IMAGE, motion=motion, **options)
    whole = run(pipeline)
    for name in FIELDS:
        assert torch.equal(getattr(apart, name), getattr(whole, name))


def test_sheet_shows_every_row(pipeline):
    result = run(pipeline, image=IMAGE[:1])
    sheet = result_visualization(IMAGE[0], result.video, result.motion)
    # depth, two flows, mask, warped key frame and result, 96 pixels and a gap each
    assert sheet.shape == (3, 6 * 98, 96 + FRAMES * 98)
    assert sheet.abs().max() <= 1


# ------------------------------------------------------------------------- devices, types, memory


def test_decoding_in_chunks_gives_the_same_video(pipeline):
    # convolutions over batches of another size
    options = {"rtol": 0, "atol": 1e-5}
    for chunk in (1, 2, FRAMES + 1):
        torch.testing.assert_close(
            run(pipeline, decode_chunk_size=chunk).video, run(pipeline).video, **options
        )
    with pytest.raises(UserError, match="decode_chunk_size 0"):
        run(pipeline, decode_chunk_size=0)


def test_bfloat16_networks_give_float32_results(pipeline):
    expected = run(pipeline)
    half = copy.deepcopy(pipeline).to("cpu", torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert {p.dtype for n in half._networks() for p in n.parameters()} == {torch.bfloat16}
    result = run(half)
    assert {getattr(result, name).dtype for name in FIELDS} == {torch.float32}
    # eight bits of precision a layer, over a chain that was never trained
    error = (result.depth - expected.depth).abs().mean()
    assert 0 < error < 0.1 * (expected.depth - expected.depth.mean()).abs().mean()
    # flow of a sampler rounded to bfloat16 would have the bits of bfloat16
    moved = half.generate_motion(
        IMAGE, num_frames=FRAMES, num_inference_steps=1, generator=torch.Generator().manual_seed(0)
    )
    assert not torch.equal(moved.depth, moved.depth.bfloat16().float())


def test_offloading_keeps_one_network_on_the_device(pipeline, monkeypatch):
    offloaded = copy.deepcopy(pipeline)
    there, seen = set(), []
    for name, part in offloaded.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        move = part.to

        def moved(*args, name=name, move=move, **options):
            device = torch.device(args[0] if args else options["device"])
            (there.add if device.index == 0 else there.discard)(name)
            return move("cpu")

        monkeypatch.setattr(part, "to", moved)
        for layer in part.modules():
            layer.register_forward_pre_hook(lambda *_, name=name: seen.append((name, set(there))))
    offloaded.enable_model_cpu_offload(device="cpu:0")  # told apart from "cpu" by its index
    assert offloaded.device == torch.device("cpu:0")
    result = run(offloaded)
    assert torch.equal(result.video, run(pipeline).video)
    assert {name for name, _ in seen} == {
        "image_encoder", "autoencoder", "motion_unet", "video_unet", "decoder"
    }  # fmt: skip
    assert all(at_work == {name} for name, at_work in seen)
    assert not there
    offloaded.to("cpu")
    assert offloaded.device == torch.device("cpu")


# ----------------------------------------------------------------------------------------- sharing


def broken(whole, place, part, change):
    folder = shutil.copytree(whole, place)
    (weights,) = (folder / part).glob("*.safetensors")
    change(weights)
    return folder


PARTS = ("image_encoder", "autoencoder", "motion_unet", "video_unet", "decoder")


@pytest.mark.parametrize("part", PARTS)
def test_broken_weights_are_named_in_one_line(pipeline, tmp_path, monkeypatch, part):
    logged = []
    for name in ("modeling_utils", "model_loading_utils"):  # where it speaks of weights
        logger = logging.getLogger(f"diffusers.models.{name}")
        monkeypatch.setattr(logger, "handle", logged.append)
    whole = tmp_path / "whole"
    pipeline.save_pretrained(whole)

    def truncate(weights):
        weights.write_bytes(weights.read_bytes()[:-100])

    def pickled(weights):
        torch.save({"a": torch.zeros(1)}, weights.with_suffix(".bin"))
        torch.save({"a": torch.zeros(1)}, weights)

    def only_pickle(weights):
        tensors = load_file(weights)
        weights.unlink()
        torch.save(tensors, weights.with_suffix(".bin"))

    def surplus(weights):
        save_file({**load_file(weights), "surplus": torch.zeros(1)}, weights, {"format": "pt"})

    for change in (truncate, pickled, only_pickle, surplus):
        folder = broken(whole, tmp_path / change.__name__, part, change)
        with pytest.raises(UserError, match=rf"{change.__name__}.{part}") as caught:
            MoVideoPipeline.from_pretrained(folder)
        assert "\n" not in str(caught.value)
        if change is surplus:
            assert "surplus" in str(caught.value).split(part)[1]
    assert not logged


def test_the_folder_of_another_model_is_refused(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="no model here"):
        MoVideoPipeline.from_pretrained(tmp_path / "model" / "video_unet")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    (tmp_path / "model" / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match="names no autoencoder"):
        MoVideoPipeline.from_pretrained(tmp_path / "model")


def test_a_hub_id_is_asked_for_data_alone(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path / "snapshot")
    asked = {}

    def snapshot_download(repo_id, **options):
        asked.update(options, repo_id=repo_id)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("movideo.hub.model_folder.snapshot_download", snapshot_download)
    loaded = MoVideoPipeline.from_pretrained("owner/model", revision="v1")
    assert (asked["repo_id"], asked["revision"]) == ("owner/model", "v1")
    assert sorted(asked["allow_patterns"]) == ["*.json", "*.md", "*.safetensors"]
    assert torch.equal(run(loaded).video, run(pipeline).video)


def test_a_hub_that_is_offline_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^owner/nothing-there: no model here.*hub \(") as caught:
        MoVideoPipeline.from_pretrained("owner/nothing-there")
    assert "\n" not in str(caught.value)


def test_push_to_hub_sends_the_folder(pipeline, monkeypatch):
    calls = []

    class Hub:
        def __init__(self, token=None):
            calls.append(("login", token))

        def create_repo(self, repo_id, **options):
            calls.append(("create", repo_id, options))

        def upload_folder(self, repo_id, folder_path, **options):
            files = (p for p in Path(folder_path).rglob("*") if p.is_file())
            calls.append(
                ("upload", repo_id, options, {str(p.relative_to(folder_path)) for p in files})
            )
            return SimpleNamespace(commit_url="https://hub/commit")

    monkeypatch.setattr("movideo.hub.publish.HfApi", Hub)
    assert pipeline.push_to_hub("owner/model", private=True, token="t") == "https://hub/commit"
    login, create, (*_, options, files) = calls
    assert login == ("login", "t")
    assert create == ("create", "owner/model", {"private": True, "exist_ok": True})
    assert options["revision"] is None
    networks = {
        f"{name}/{kind}"
        for name in ("autoencoder", "motion_unet", "video_unet", "decoder")
        for kind in ("config.json", "diffusion_pytorch_model.safetensors")
    }
    assert files == networks | {
        "README.md",
        INDEX,
        "image_encoder/config.json",
        "image_encoder/model.safetensors",
        "motion_scheduler/scheduler_config.json",
        "video_scheduler/scheduler_config.json",
        "motion_space/config.json",
        "condition_transform/config.json",
        "visibility/config.json",
        "key_frame/config.json",
        "flow_scale/config.json",
        "motion_noise/config.json",
    }

    def refuse(*_, **__):
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"owner/model: cannot be published \(401 Unauthorized\)"):
        pipeline.push_to_hub("owner/model")


def test_a_card_stays_with_its_model(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("words of its own")
    MoVideoPipeline.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_text() == "words of its own"


def test_a_prompt_draws_its_key_frame_first(pipeline, tmp_path, monkeypatch):
    folder = str(write_text_to_image(tmp_path / "sd"))
    draw = TextToImage(folder)
    options = {"num_frames": FRAMES, "num_inference_steps": 1, "fps": 5.0}
    generator = torch.Generator().manual_seed(4)
    image = draw(["a dog"], (16, 16), generator)
    expected = pipeline.generate(image, generator=generator, **options)
    monkeypatch.setattr(pipeline, "text_to_image", draw)
    asked = {"height": 16, "width": 16, "output_type": "pt"} | options
    found = pipeline(prompt="a dog", generator=torch.Generator().manual_seed(4), **asked)
    # The picture went there and back between [0, 1] and [-1, 1]: the last digit of a float32.
    torch.testing.assert_close(found.frames * 2 - 1, expected.video, atol=1e-5, rtol=0)
    pipeline.save_pretrained(tmp_path / "model")
    assert "text_to_image" not in (tmp_path / "model" / INDEX).read_text()
    loaded = MoVideoPipeline.from_pretrained(tmp_path / "model", text_to_image=folder)
    again = loaded(prompt=["a dog"], generator=torch.Generator().manual_seed(4), **asked)
    torch.testing.assert_close(again.frames, found.frames, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "image, prompt: give one of them"),
        ({"image": IMAGE, "prompt": "a dog"}, "image, prompt: give one of them"),
        ({"prompt": "a dog", "height": 16, "width": 16}, "text_to_image: None, but there are"),
    ],
)
def test_image_or_prompt(pipeline, given, message):
    with pytest.raises(UserError, match=message):
        pipeline(**given)


def test_placing_says_nothing(pipeline, caplog):
    with caplog.at_level("INFO"):
        copy.deepcopy(pipeline).to(dtype=torch.bfloat16).to("cpu")
    assert not caplog.records


def test_each_stage_takes_its_own_steps(pipeline, monkeypatch):
    counts = {"motion_unet": 0, "video_unet": 0}

    def count(name):
        def hook(*_):
            counts[name] += 1

        return hook

    hooks = [getattr(pipeline, name).register_forward_hook(count(name)) for name in counts]
    image = torch.zeros(3, 16, 16)
    pipeline.generate(image, num_frames=FRAMES, num_inference_steps=(2, 3))
    assert counts == {"motion_unet": 2, "video_unet": 3}
    pipeline.generate_motion(image, num_frames=FRAMES, num_inference_steps=(2, 3))
    assert counts == {"motion_unet": 4, "video_unet": 3}
    monkeypatch.setattr(pipeline, "default_steps", (1, 5))
    pipeline.generate(image, num_frames=FRAMES)
    assert counts == {"motion_unet": 5, "video_unet": 8}
    for hook in hooks:
        hook.remove()
