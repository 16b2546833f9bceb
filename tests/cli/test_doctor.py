"""`movideo doctor`, and that the configs of the paper's scale build with the published shapes."""

import json
import socket
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from movideo.cli.configs import find_config
from movideo.cli.doctor import doctor_parser, without_weights
from movideo.estimators import RAFT
from movideo.hub.needs import CachedFile, WeightSpec, needed_weights, pretrained_place
from movideo.models import VideoAutoencoder
from stages import DepthFlowDiffusion, FlowDecoderGAN, LatentVideoDiffusion
from tests.stages.parts import ClipData, decoder_parts, motion_parts, trainer, video_parts

# Parameters as published: Stable Diffusion 1.5's UNet, its autoencoder, the image tower of ViT-H/14
# (632,076,800 with the projection, 1280 x 1024, that is cut off here).
SD_UNET, SD_AUTOENCODER = 859_520_964, 83_653_863
VIT_H = 632_076_800 - 1280 * 1024


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))


def stage(name):
    parser = doctor_parser()
    return without_weights(parser, parser.parse_args(["--config", find_config(name)]))


def count(parameters):
    return sum(p.numel() for p in parameters)


def test_stage_1_of_the_paper():
    model = stage("paper/stage1.yaml")
    unet = model.unet
    assert next(unet.parameters()).is_meta
    assert (unet.config.in_channels, unet.config.out_channels) == (5 + 3 + 1280, 5)
    assert unet.spatial.config.block_out_channels == [160, 320, 640, 640]
    assert unet.config.image_token_dim == model.image_encoder.token_dim == 1280
    assert unet.is_gradient_checkpointing
    assert count(model.image_encoder.parameters()) == VIT_H
    # Half the widths everywhere is a quarter of the weights, up to biases, norms and the ends.
    assert count(unet.spatial_parameters()) == pytest.approx(SD_UNET / 4, rel=0.01)
    # What shows the key frame is one more convolution of 3x3 beside the first; what tells the scale
    # two linear layers, as of fps.
    shows, tells = (3 + 1280) * 160 * 9 + 160, (160 + 1) * 640 + (640 + 1) * 640
    assert count(unet.parameters()) == 274_207_653 + shows + tells


def test_stage_2_of_the_paper():
    model = stage("paper/stage2.yaml")
    unet = model.unet
    assert (unet.config.in_channels, unet.config.out_channels) == (10, 4)
    assert count(unet.spatial_parameters()) == SD_UNET
    assert count(unet.parameters()) == 1_095_202_180
    assert count(model.autoencoder.parameters()) == SD_AUTOENCODER
    groups = model.parameter_groups()
    assert [factor for _, factor in groups] == [0.1, 1.0]
    assert model.autoencoder.latent_size((256, 256)) == (32, 32)


def test_stage_3_of_the_paper():
    model = stage("paper/stage3.yaml")
    assert count(model.autoencoder.parameters()) == SD_AUTOENCODER
    assert model.decoder.config.autoencoder["block_out_channels"] == [128, 256, 512, 512]
    assert set(model.losses) == {"l1", "perceptual_2d", "perceptual_3d"}
    assert count(model.decoder.parameters()) == 91_506_243


@pytest.mark.parametrize(
    ("number", "kind", "parts"),
    [
        (1, DepthFlowDiffusion, motion_parts),
        (2, LatentVideoDiffusion, video_parts),
        (3, FlowDecoderGAN, decoder_parts),
    ],
)
def test_the_papers_optimisers_step_with_its_precision_and_clipping(tmp_path, number, kind, parts):
    config = find_config(f"paper/stage{number}.yaml")
    paper, options = stage(config), yaml.safe_load(Path(config).read_text())["trainer"]
    made = {"optimizer": paper.make_optimizer, "lr_scheduler": paper.make_lr_scheduler}
    if kind is FlowDecoderGAN:
        made["discriminator_optimizer"] = paper.make_discriminator_optimizer
    clipping = {name: options[name] for name in options if name.startswith("gradient_clip")}
    runner = trainer(tmp_path, 2, precision=options["precision"], **clipping)
    runner.fit(kind(**parts(**made)), datamodule=ClipData(2))
    assert runner.global_step == 2


def test_every_attention_is_torchs_own():
    unet = stage("paper/stage2.yaml").unet
    processors = [*unet.spatial.attn_processors.values()]
    processors += [layer.attention.processor for layer in unet.temporal_attentions]
    kinds = {type(processor).__mro__[-2].__name__ for processor in processors}
    assert kinds == {"AttnProcessor2_0"}


def test_without_a_config(movideo):
    done = movideo("doctor")
    assert done.code == 0
    assert "diffusers " in done.out
    assert "video_unet" in done.out


def test_what_a_paper_config_lacks(movideo):
    done = movideo("doctor", "--config", "paper/stage2.yaml", "--config=paper/data.yaml")
    assert done.code == 1
    lines = {
        line.split()[0]: line for line in done.out.splitlines() if line[:5] in ("model", "data.")
    }
    assert set(lines) == {
        "model.autoencoder",
        "model.unet",
        "model.image_encoder",
        "data.labels.depth_estimator",
        "data.labels.flow_estimator",
    }
    assert "CreativeML OpenRAIL-M" in lines["model.unet"]
    revision = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
    repository = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    files = "unet/config.json unet/diffusion_pytorch_model.safetensors"
    assert f"hf download {repository} {files} --revision {revision}" in done.out
    assert "1,095,202,180" in done.out


@pytest.mark.parametrize(
    "name", ["stage0.yaml", "stage1.yaml", "stage2.yaml", "stage3.yaml", "predict.yaml"]
)
def test_shipped_configs_lack_nothing(movideo, name):
    done = movideo("doctor", "--config", name)
    assert done.code == 0, done.out


def test_what_a_table_lacks(movideo, tmp_path):
    done = movideo("doctor", "--config=eval/davis_i2v.yaml")
    assert done.code == 1, done.err
    rows = {line.split("  ")[0]: line for line in done.out.splitlines()}
    for metric, file in (("FVD", "i3d_torchscript.pt"), ("FID", "weights-inception-2015-12-05")):
        row = rows[f"model.metrics {metric}"]
        assert " NO " in row
        assert str(tmp_path / "torch" / "checkpoints" / file) in row
    assert "VGG16_Weights.IMAGENET1K_V1" in done.out
    assert " yes " in rows["model.model"]
    place = tmp_path / "torch" / "checkpoints" / "i3d_torchscript.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"here")
    again = movideo("doctor", "--config=eval/davis_i2v.yaml").out
    assert next(line for line in again.splitlines() if " FVD " in line).count(" yes ") == 1


def test_a_model_that_is_not_there_yet(movideo, tmp_path):
    done = movideo("doctor", "--config", "generation.yaml")
    assert done.code == 1
    assert "movideo export" in done.out
    assert movideo("doctor", "--config", "generation.yaml", "--model.model=embedded").code == 0


def test_a_config_that_is_wrong(movideo):
    assert movideo("doctor", "--config", "stage1.yaml", "--model.sed=1").code == 2
    assert "no such config" in movideo("doctor", "--config", "none.yaml").error


def test_a_cached_repository_is_found_at_its_revision(tmp_path, monkeypatch):
    """The layout of huggingface_hub's cache, as its documentation has it."""
    revision = "a" * 40
    folder = tmp_path / "hub" / "models--owner--name" / "snapshots" / revision / "vae"
    folder.mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", tmp_path / "hub")
    arguments = {"pretrained": "owner/name", "subfolder": "vae", "revision": revision}
    assert not pretrained_place(VideoAutoencoder.weight_spec, arguments).present
    (folder / "config.json").write_text(json.dumps({}))
    assert not pretrained_place(VideoAutoencoder.weight_spec, arguments).present
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(bytes(1000))
    place = pretrained_place(VideoAutoencoder.weight_spec, arguments)
    assert (place.present, place.where, place.size) == (True, str(folder), 1002)
    other = pretrained_place(VideoAutoencoder.weight_spec, arguments | {"revision": "b" * 40})
    assert not other.present


def test_local_places(tmp_path):
    def place(kind, name):
        spec = getattr(kind, "weight_spec", WeightSpec())
        return pretrained_place(spec, {"pretrained": str(name)})

    assert not place(RAFT, tmp_path / "raft.pth").present
    (tmp_path / "raft.pth").write_bytes(bytes(10))
    assert place(RAFT, tmp_path / "raft.pth").size == 10
    (tmp_path / "vae").mkdir()
    lacking = place(VideoAutoencoder, tmp_path / "vae")
    assert not lacking.present
    assert "put config.json, diffusion_pytorch_model.safetensors into it" in lacking.fetch
    cached = place(RAFT, "Raft_Large_Weights.C_T_SKHT_V2")
    assert Path(cached.where).name == "raft_large_C_T_SKHT_V2-ff5fadd5.pth"
    assert cached.size == pytest.approx(20.129 * 2**20, abs=1)


class Theirs:
    """Somebody's own part, which says what it needs."""

    weight_spec = WeightSpec(
        files=("theirs.safetensors",),
        cached=CachedFile("theirs.pt", "from their page", 7),
        checkpoints={"start": "their command"},
    )


def test_a_part_of_somebody_elses_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    part = {
        "class_path": f"{__name__}.Theirs",
        "init_args": {"pretrained": str(tmp_path), "start": "a.ckpt"},
    }
    needs = list(needed_weights({"model": {"part": part}}))
    assert [(need.option, need.name, need.place.present) for need in needs] == [
        ("model.part", str(tmp_path), False),
        ("model.part Theirs", "theirs.pt", False),
        ("model.part.start", "a.ckpt", False),
    ]
    assert "theirs.safetensors" in needs[0].place.fetch
    assert needs[1].place.fetch.startswith("put theirs.pt, from their page, into ")
    assert needs[2].place.fetch == "make it: their command"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "theirs.pt").write_bytes(bytes(7))
    assert list(needed_weights({"part": part}))[1].place.present
