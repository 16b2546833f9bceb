"""From the checkpoints of the stages to one model folder."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file

from movideo.cli.tools import export
from movideo.errors import UserError
from movideo.hub.card import read_training
from movideo.hub.checkpoint import Checkpoint
from movideo.hub.model_folder import save_part, starting_point
from movideo.models import FlowAugmentedDecoder, FrameDecoder, VideoAutoencoder
from movideo.pipeline import MoVideoPipeline
from stages import (
    DepthFlowDiffusion,
    FlowDecoderGAN,
    LatentAutoencoder,
    LatentVideoDiffusion,
    VideoGeneration,
)
from tests.stages.parts import (
    FRAMES,
    ClipData,
    autoencoder,
    batch,
    decoder_parts,
    image_encoder,
    motion_parts,
    scheduler,
    trainer,
    video_parts,
)

from_checkpoints = MoVideoPipeline.from_checkpoints


def other_autoencoder():
    changed = autoencoder()
    with torch.no_grad():
        changed.model.encoder.conv_in.weight.add_(1)
    return changed


def train(stage, path):
    runner = trainer(path.parent, 2)
    runner.fit(stage, datamodule=ClipData())
    runner.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoints of stages 1 and 2, trained over saved parts, and the stages themselves."""
    folder = tmp_path_factory.mktemp("export")
    autoencoder().save_pretrained(folder / "vae")
    image_encoder().save_pretrained(folder / "encoder")
    shared = {"image_encoder": image_encoder(str(folder / "encoder")), "allow_random": False}
    motion = DepthFlowDiffusion(**motion_parts(**shared))
    video = LatentVideoDiffusion(
        **video_parts(autoencoder=autoencoder(str(folder / "vae")), **shared)
    )
    paths = train(motion, folder / "motion.ckpt"), train(video, folder / "video.ckpt")
    return folder, motion, video, paths


@pytest.fixture(scope="module")
def decoder(made):
    """Stage 3 over the same autoencoder, and its checkpoint."""
    folder = made[0]
    saved = autoencoder(str(folder / "vae"))
    stage = FlowDecoderGAN(**decoder_parts(autoencoder=saved, allow_random=False))
    return stage, train(stage, folder / "decoder.ckpt")


def test_pipeline_has_the_averaged_weights_and_the_spread(made):
    _, motion, video, paths = made
    pipeline = from_checkpoints(paths[::-1])
    for stage, network in ((motion, pipeline.motion_unet), (video, pipeline.video_unet)):
        for name, value in network.named_parameters():
            assert torch.equal(value, stage.average.tensors[f"unet.{name}"])
    assert pipeline.motion_space.flow_std == motion.motion_space.flow_std
    assert pipeline.autoencoder.fingerprint() == video.autoencoder.fingerprint()


@torch.no_grad()
def test_stage_3_decodes_in_the_pipeline_and_from_its_folder(made, decoder, tmp_path):
    stage, path = decoder
    plain, whole = (
        from_checkpoints(made[3]),
        from_checkpoints([path, *made[3]]),
    )
    assert type(plain.decoder) is FrameDecoder
    assert type(whole.decoder) is FlowAugmentedDecoder
    with stage.averaged_weights():
        for name, value in whole.decoder.named_parameters():
            assert torch.equal(value, stage.decoder.get_parameter(name))
    whole.save_pretrained(tmp_path)
    loaded = MoVideoPipeline.from_pretrained(tmp_path)
    image = batch(1)["video"][:, 0]
    options = {"num_frames": FRAMES, "num_inference_steps": 2}

    def video(pipeline):
        return pipeline.generate(image, generator=torch.Generator().manual_seed(0), **options).video

    assert torch.equal(video(loaded), video(whole))
    assert not torch.equal(video(loaded), video(plain))


ELSEWHERE = """
import sys, torch
from safetensors.torch import load_file, save_file
from movideo import MoVideoPipeline

torch.set_num_threads(1)  # as here: threads sum in another order
folder, image, out = sys.argv[1:]
pipeline = MoVideoPipeline.from_pretrained(folder)
generator = torch.Generator().manual_seed(0)
options = {"num_frames": 3, "num_inference_steps": 2, "generator": generator}
result = pipeline.generate(load_file(image)["image"], **options)
save_file({n: getattr(result, n).contiguous() for n in ("video", "flow_i2v")}, out)
"""


@torch.no_grad()
def test_another_process_makes_the_same_video_from_the_exported_folder(made, decoder, tmp_path):
    paths = [decoder[1], *made[3]]
    image = batch(1)["video"][:, 0].contiguous()
    options = {"num_frames": FRAMES, "num_inference_steps": 2}
    generator = torch.Generator().manual_seed(0)
    expected = from_checkpoints(paths).generate(image, generator=generator, **options)
    export(str(tmp_path / "model"), paths)
    save_file({"image": image}, tmp_path / "image.safetensors")
    places = (tmp_path / name for name in ("model", "image.safetensors", "out.safetensors"))
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, places)], check=True)
    found = load_file(tmp_path / "out.safetensors")
    assert torch.equal(found["video"], expected.video)
    assert torch.equal(found["flow_i2v"], expected.flow_i2v)
    assert expected.video.std() > 0.01


def test_stage_2_is_tested_through_stage_3(made, decoder, exported):
    folder = made[0]
    for place in (decoder[1], exported):
        stage = LatentVideoDiffusion(
            **video_parts(
                autoencoder=autoencoder(str(folder / "vae")), decoder_checkpoint=str(place)
            )
        )
        assert type(stage.decoder) is FlowAugmentedDecoder
        assert not any(key.startswith("decoder.") for key in stage.state_dict())
        for name, value in stage.decoder.named_parameters():
            assert torch.equal(value, decoder[0].average.tensors[f"decoder.{name}"])
        with pytest.raises(UserError, match="not the VideoAutoencoder"):
            LatentVideoDiffusion(
                **video_parts(autoencoder=other_autoencoder(), decoder_checkpoint=str(place))
            )


def test_rivals_come_from_checkpoints_and_from_models(made, decoder, exported):
    saved = autoencoder(str(made[0] / "vae"))
    baselines = {"file": str(decoder[1]), "folder": str(exported)}
    stage = FlowDecoderGAN(**decoder_parts(autoencoder=saved, baselines=baselines))
    stage.setup("test")
    for name, value in stage.baselines["file"].named_parameters():
        assert torch.equal(value, stage.baselines["folder"].get_parameter(name))


def test_a_decoder_of_other_latents_or_another_grid_is_refused(made, decoder, tmp_path):
    for change, message in (
        ({"autoencoder": {"fingerprint": "0"}}, "trained over another autoencoder"),
        ({"motion_space": {"config": {"grid": [4, 4]}}}, r"grid of \[4, 4\]"),
    ):
        content = torch.load(decoder[1], weights_only=True)
        for name, value in change.items():
            content["components"][name].update(value)
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(UserError, match=message):
            from_checkpoints([*made[3], tmp_path / "other.ckpt"])


def test_exported_folder_is_tested_and_predicts(made, tmp_path):
    paths = made[3]
    from_checkpoints(paths).save_pretrained(tmp_path / "model")
    stage = VideoGeneration(str(tmp_path / "model"), 2, out=str(tmp_path / "out"))
    data = ClipData()
    results = trainer(tmp_path, 1).test(stage, datamodule=data, verbose=False)
    assert {"test/psnr", "test/psnr_repeat", "test/occluded"} <= set(results[0])
    clips = batch(2)
    paths = stage.predict_step(clips, 0)
    assert len(set(paths)) == 2
    assert all(path.stat().st_size > 0 for path in paths)
    # each clip has noise of its own: its batch does not matter
    alone = stage.generate({k: v[1:] for k, v in clips.items()})
    together = stage.generate(clips)
    torch.testing.assert_close(together.depth[1:], alone.depth, atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="nothing to train"):
        trainer(tmp_path, 1).fit(stage, datamodule=data)
    assert MoVideoPipeline.from_pretrained(tmp_path / "model").motion_space.grid == (8, 8)
    assert together.video.shape[1] == FRAMES


def test_a_model_says_how_many_steps_it_takes(made, exported, tmp_path):
    def default_steps(place):
        return MoVideoPipeline.from_pretrained(place).default_steps

    assert default_steps(exported) is None
    export(str(tmp_path / "few"), [str(exported), str(made[3][0])], steps=(3, 2))
    assert default_steps(tmp_path / "few") == (3, 2)
    # A stage that is exchanged may have another solver.
    export(str(tmp_path / "again"), [str(made[3][1]), str(tmp_path / "few")])
    assert default_steps(tmp_path / "again") is None
    few = MoVideoPipeline.from_pretrained(tmp_path / "few")
    assert MoVideoPipeline.from_pipe(few).default_steps == (3, 2)
    other = MoVideoPipeline.from_pipe(few, video_scheduler=few.motion_scheduler)
    assert other.default_steps is None
    with pytest.raises(UserError, match=r"--steps \[3, 0\]: give 1 or more of either"):
        export(str(tmp_path / "none"), [str(exported), str(made[3][0])], steps=(3, 0))
    with pytest.raises(UserError, match="give a whole model, not one stage's share"):
        export(str(tmp_path / "none"), [str(made[3][0])], steps=(3, 2))
    index = tmp_path / "few" / "model_index.json"
    for wrong in ([3, 2], {"motion": 3}, {"motion": 3, "video": 0}):
        index.write_text(json.dumps(json.loads(index.read_text()) | {"num_inference_steps": wrong}))
        with pytest.raises(UserError, match=r"model_index.json: num_inference_steps .*; give"):
            MoVideoPipeline.from_pretrained(tmp_path / "few")


def test_what_goes_into_no_model_is_refused(made, tmp_path):
    runner = trainer(tmp_path, 0)
    runner.fit(LatentAutoencoder(autoencoder()), datamodule=ClipData())
    runner.save_checkpoint(tmp_path / "stage0.ckpt")
    with pytest.raises(UserError, match=r"stage0\.ckpt: of LatentAutoencoder, which goes into no"):
        from_checkpoints([tmp_path / "stage0.ckpt", *made[3]])
    with pytest.raises(UserError, match="give one or more"):
        export(str(tmp_path / "model"), [])


def test_missing_and_doubled_stages_are_named(made):
    *_, (motion, video) = made
    with pytest.raises(UserError, match=r"none of a video stage among .*motion\.ckpt"):
        from_checkpoints([motion])
    with pytest.raises(UserError, match=r"video\.ckpt: a second checkpoint"):
        from_checkpoints([motion, video, video])


def test_stages_over_different_encoders_are_refused(made, tmp_path):
    content = torch.load(made[3][0], weights_only=True)
    content["components"]["image_encoder"]["fingerprint"] = "0"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="trained over another image_encoder"):
        from_checkpoints([tmp_path / "other.ckpt", made[3][1]])


def test_stages_of_different_motion_grids_are_refused(made, tmp_path):
    content = torch.load(made[3][1], weights_only=True)
    content["components"]["motion_space"]["config"]["grid"] = [16, 16]
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(
        UserError, match=r"grid of \[16, 16\], but .*motion\.ckpt makes it on \[8, 8\]"
    ):
        from_checkpoints([made[3][0], tmp_path / "other.ckpt"])


# ---------------------------------------------------------------------------- back into the stages


@pytest.fixture(scope="module")
def exported(made, decoder):
    folder = made[0] / "model"
    from_checkpoints([*made[3], decoder[1]]).save_pretrained(folder)
    return folder


def test_every_stage_starts_from_a_model_folder(made, decoder, exported):
    folder, motion, video, _ = made
    shared = {"image_encoder": image_encoder(str(folder / "encoder")), "init_from": str(exported)}
    vae = autoencoder(str(folder / "vae"))
    fresh = (
        (DepthFlowDiffusion(**motion_parts(**shared)), motion),
        (LatentVideoDiffusion(**video_parts(autoencoder=vae, **shared)), video),
        (FlowDecoderGAN(**decoder_parts(autoencoder=vae, init_from=str(exported))), decoder[0]),
    )
    for stage, trained in fresh:
        stage.setup("fit")
        found = dict(stage.named_parameters())
        assert trained.average.tensors
        for name, value in trained.average.tensors.items():
            assert torch.equal(found[name], value), name
    assert fresh[0][0].motion_space.flow_std == motion.motion_space.flow_std


def test_a_start_over_other_latents_has_to_be_allowed(made, exported):
    encoder = image_encoder(str(made[0] / "encoder"))

    def start(**options):
        stage = LatentVideoDiffusion(
            **video_parts(
                autoencoder=other_autoencoder(),
                image_encoder=encoder,
                init_from=str(exported),
                **options,
            )
        )
        stage.setup("fit")
        return stage

    with pytest.raises(UserError, match=r"model: model\.autoencoder: not the VideoAutoencoder.*"):
        start()
    adapted = start(allow_other_parts=True)
    name, value = next(iter(made[2].average.tensors.items()))
    assert torch.equal(adapted.get_parameter(name), value)


def test_a_decoder_of_another_kind_does_not_fit(made, tmp_path):
    from_checkpoints(made[3]).save_pretrained(tmp_path)  # without stage 3: the 2-D decoder
    vae = autoencoder(str(made[0] / "vae"))
    stage = FlowDecoderGAN(**decoder_parts(autoencoder=vae, init_from=str(tmp_path)))
    with pytest.raises(UserError, match="the checkpoint does not fit"):
        stage.setup("fit")


def test_a_model_holds_no_weights_of_stage_0(exported):
    with pytest.raises(
        UserError, match=r"model: a model has no weights of stages of role autoencoder"
    ):
        starting_point(exported, "autoencoder")


@torch.no_grad()
def test_the_embedded_model_makes_a_video_and_starts_stages_1_to_3():
    pipeline = MoVideoPipeline.from_pretrained("embedded")
    image = torch.zeros(3, 64, 64)
    result = pipeline.generate(
        image, num_frames=3, num_inference_steps=1, generator=torch.Generator().manual_seed(0)
    )
    assert result.video.shape == (1, 3, 3, 64, 64)
    assert result.video.isfinite().all()
    networks = {
        "motion": ("unet", pipeline.motion_unet),
        "video": ("unet", pipeline.video_unet),
        "decoder": ("decoder", pipeline.decoder),
    }
    assert isinstance(pipeline.decoder, FlowAugmentedDecoder)
    for role, (own, network) in networks.items():
        start = starting_point("embedded", role)
        for name, value in network.state_dict().items():
            assert torch.equal(start.weights()[f"{own}.{name}"], value), name
        for part in ("image_encoder", "autoencoder"):
            if part in start.components:
                found = getattr(pipeline, part).fingerprint()
                assert start.components[part]["fingerprint"] == found


# -------------------------------------------------------------------------------------- hand-over


def test_a_model_gives_the_stages_that_no_checkpoint_does(made, decoder, exported, tmp_path):
    _, motion, video, paths = made
    again = from_checkpoints([exported, paths[0]])
    whole = from_checkpoints([*paths, decoder[1]])
    for name in ("motion_unet", "video_unet", "decoder"):
        for key, value in getattr(whole, name).named_parameters():
            assert torch.equal(getattr(again, name).get_parameter(key), value)
    assert again.motion_space.flow_std == motion.motion_space.flow_std
    # the checkpoint goes first, wherever it stands
    content = torch.load(paths[1], weights_only=True)
    content["ema"] = {key: value + 1 for key, value in content["ema"].items()}
    torch.save(content, tmp_path / "later.ckpt")
    mixed = from_checkpoints([exported, tmp_path / "later.ckpt"])
    for key, value in mixed.video_unet.named_parameters():
        assert torch.equal(value, video.average.tensors[f"unet.{key}"] + 1)


@pytest.mark.parametrize("stage", [0, 1])
def test_one_checkpoint_gives_its_stages_share(made, stage, tmp_path):
    _, motion, video, paths = made
    export(str(tmp_path / "share"), [paths[stage]])
    trained = (motion, video)[stage]
    start = starting_point(tmp_path / "share", trained.role())
    for name, value in trained.average.tensors.items():
        assert torch.equal(start.weights()[name], value)
    with pytest.raises(UserError, match="names no"):
        MoVideoPipeline.from_pretrained(tmp_path / "share")
    with pytest.raises(UserError, match="names no"):
        starting_point(tmp_path / "share", ("video", "motion")[stage])
    if stage == 0:
        export(str(tmp_path / "model"), [tmp_path / "share", paths[1]])
        loaded = MoVideoPipeline.from_pretrained(tmp_path / "model")
        assert loaded.motion_space.flow_std == motion.motion_space.flow_std


@pytest.mark.parametrize("place", ["folder", "file"])
def test_weights_that_predict_something_else_have_to_be_allowed(made, exported, place):
    folder, *_, paths = made
    epsilon = DDIMScheduler.from_config(
        scheduler().config, prediction_type="epsilon", rescale_betas_zero_snr=False
    )
    start = str(exported if place == "folder" else paths[0])

    def begin(**options):
        encoder = image_encoder(str(folder / "encoder"))
        stage = DepthFlowDiffusion(
            **motion_parts(
                image_encoder=encoder, noise_scheduler=epsilon, init_from=start, **options
            )
        )
        stage.setup("fit")

    message = f"{start}: trained with prediction_type v_prediction, but .* has epsilon; set"
    with pytest.raises(UserError, match=message):
        begin()
    begin(allow_other_parts=True)


def test_weights_that_lack_keys_or_have_more_are_named(made, exported, tmp_path):
    content = torch.load(made[3][0], weights_only=True)
    for part in ("state_dict", "ema"):
        content[part]["unet.surplus"] = content[part].pop("unet.null_token")
    torch.save(content, tmp_path / "odd.ckpt")
    encoder = image_encoder(str(made[0] / "encoder"))
    stage = DepthFlowDiffusion(
        **motion_parts(image_encoder=encoder, init_from=str(tmp_path / "odd.ckpt"))
    )
    with pytest.raises(UserError, match=r"odd\.ckpt.*unet\.null_token.*unet\.surplus"):
        stage.setup("fit")


# ----------------------------------------------------------------------------------------- the card


def test_the_card_says_what_is_known(made, decoder, tmp_path):
    motion, video = made[3]
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(
        yaml.safe_dump({"model": {}, "data": {"videos": "/home/someone/clips", "fps": [3, 30]}})
    )
    (run / "metrics.json").write_text(json.dumps({"test/psnr": 23.5678, "test/odd": None}))
    moved = run / "checkpoints" / "last.ckpt"
    moved.write_bytes(video.read_bytes())
    export(str(tmp_path / "model"), [motion, moved, decoder[1]])
    card = (tmp_path / "model" / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["library_name"] == "movideo"
    assert header["pipeline_tag"] == "image-to-video"
    for path in (motion, moved, decoder[1]):
        training = read_training(Checkpoint.read(path))
        assert f"| `{training.stage}` | {training.step} | `{training.digest}` |" in body
    assert "| `LatentVideoDiffusion` | test/psnr | 23.57 |" in body
    assert "test/odd" not in body
    section = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert section == {"videos": "clips", "fps": [3, 30]}
    assert "/home" not in body
    assert str(tmp_path) not in body
    assert "image_encoder: encoder, autoencoder: vae" in body
    parameters = sum(p.numel() for p in made[2].unet.parameters())
    assert f"| `video_unet` | `SpatioTemporalUNet` | {parameters:,} |" in body
    for title in ("Use", "Parts", "Training", "Measured", "Limits", "Licence", "Versions"):
        assert f"\n## {title}\n" in body


def test_the_digest_is_that_of_the_networks(made, tmp_path):
    motion, video = (read_training(Checkpoint.read(path)) for path in made[3])
    assert motion.digest != video.digest
    content = torch.load(made[3][0], weights_only=True)
    content["components"]["unet"]["config"]["image_token_dim"] += 1
    torch.save(content, tmp_path / "other.ckpt")
    assert read_training(Checkpoint.read(tmp_path / "other.ckpt")).digest != motion.digest
    content["components"]["unet"]["config"]["image_token_dim"] -= 1
    torch.save(content, tmp_path / "same.ckpt")
    assert read_training(Checkpoint.read(tmp_path / "same.ckpt")).digest == motion.digest


def test_where_a_part_was_loaded_from_is_not_written_down(made, tmp_path):
    export(str(tmp_path / "model"), made[3])
    again = VideoAutoencoder(str(tmp_path / "model" / "autoencoder"))
    assert again.model.config["_name_or_path"]
    for part in (again, MoVideoPipeline.from_pretrained(tmp_path / "model").motion_unet):
        save_part(part, tmp_path / "again")
        assert "_name_or_path" not in json.loads((tmp_path / "again" / "config.json").read_text())
