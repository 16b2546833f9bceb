"""What others hand over, made to do harm: it does none, and the refusal is one line.

Harm is a file: `marker`, which code in a payload makes, or one outside of a folder that is read,
written or removed.
"""

import json
import os
import pickle
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from datamodules.shard_folder import ShardFolder
from movideo.cli.tools import export
from movideo.clips.lists.clip_list import ListRow, read_clip_list, write_clip_list
from movideo.clips.lists.journal import Journal
from movideo.clips.sources import find_videos
from movideo.errors import UserError, VideoError
from movideo.estimators import RAFT
from movideo.evaluation.samples import SampleFolder
from movideo.hub.checkpoint import FORMAT_VERSION, find_class
from movideo.hub.model_folder import INDEX, ModelFolder
from movideo.losses import VGG16Features
from movideo.models.decoder import load_decoder
from movideo.motion.files import load_motion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings, write_scenes
from movideo.shards.shard import METADATA_KEY, read_header, write_shard
from movideo.shards.store import LabelStore
from movideo.storage.atomic import remove_leftovers, whole_file
from movideo.storage.paths import check_links, inside
from movideo.video.read import probe, read_image
from stages import DepthFlowDiffusion
from stages.checkpoints import StepCheckpoint, WholeCheckpointIO
from stages.predictions import LIST, PredictionFolder
from tests.shards.test_shard import ESTIMATORS, make_clip, make_labels
from tests.stages.parts import (
    ClipData,
    autoencoder,
    motion_parts,
    tiny_pipeline,
    trainer,
    unet,
)
from tests.video.files import write_numbered


class Payload:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def evil_module(tmp_path, monkeypatch, marker):
    """A module `evil` beside the user, which makes the marker when it is imported."""
    (tmp_path / "evil.py").write_text(
        f"open({str(marker)!r}, 'w')\nfrom torch.optim import AdamW as Part\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "evil"


CHECKPOINT = {
    "format_version": FORMAT_VERSION,
    "stage": "LatentVideoDiffusion",
    "components": {},
    "state_dict": {},
    "ema": {},
    "global_step": 0,
    "epoch": 0,
    "pytorch-lightning_version": "2.6.0",
}


def in_zip(path, marker):
    """As torch writes checkpoints, whole but for one value that is code."""
    torch.save(CHECKPOINT | {"callbacks": Payload(marker)}, path)


def in_old_format(path, marker):
    torch.save(
        CHECKPOINT | {"hyper_parameters": Payload(marker)},
        path,
        _use_new_zipfile_serialization=False,
    )


def plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(Payload(marker)))


PICKLES = [in_zip, in_old_format, plain_pickle]


@pytest.mark.parametrize("write", PICKLES)
def test_the_payload_would_run(tmp_path, marker, write):
    """Or the tests below would show nothing."""
    write(tmp_path / "a.ckpt", marker)
    with suppress(RuntimeError):  # by then it is too late
        torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert marker.exists()


# ------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    "command",
    [
        ("fit", "--config", "stage2.yaml", "--ckpt_path", "a.ckpt"),
        ("fit", "--config", "stage2.yaml", "--ckpt_path", "a.ckpt", "--weights_only", "false"),
        ("fit", "--config", "stage2.yaml", "--model.init_from", "a.ckpt"),
        ("test", "--config", "stage2.yaml", "--ckpt_path", "a.ckpt"),
        ("export", "--out", "model", "--checkpoints", "[a.ckpt]"),
        ("export", "--out", "model", "--checkpoints", "[a.ckpt, a.ckpt]"),
    ],
    ids=lambda command: " ".join(command[::2]),
)
def test_a_checkpoint_with_a_payload(movideo, tmp_path, marker, monkeypatch, command):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # what torch's default obeys
    in_zip(tmp_path / "a.ckpt", marker)
    assert movideo(*command).error.startswith("a.ckpt: not a checkpoint")
    assert not marker.exists()


@pytest.mark.parametrize("write", PICKLES)
def test_nobody_reads_a_payload(tmp_path, marker, monkeypatch, write):
    """Nor Lightning itself, and no decoder is taken from one for a test of stage 2 or 3."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "a.ckpt"
    write(path, marker)
    for read in (
        lambda: WholeCheckpointIO().load_checkpoint(path, weights_only=False),
        lambda: load_decoder(path, autoencoder()),
    ):
        with pytest.raises(UserError, match=r"a\.ckpt: not a checkpoint"):
            read()
    assert not marker.exists()


def test_a_checkpoint_chooses_no_class(movideo, tmp_path, marker, evil_module):
    """Lightning builds what a checkpoint's hyperparameters name."""
    chosen = {"class_path": f"{evil_module}.Part"}
    model = {"class_path": "stages.LatentVideoDiffusion", "init_args": {"optimizer": chosen}}
    torch.save(CHECKPOINT | {"hyper_parameters": model}, tmp_path / "a.ckpt")
    options = ("--config", "stage2.yaml", "--ckpt_path", "a.ckpt", "--data.videos", "nowhere")
    assert movideo("fit", *options).error.startswith("nowhere: no such file")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["best_model_path", "last_model_path"])
def test_going_on_removes_nothing_that_a_checkpoint_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()

    def fit(steps, **options):
        saver = StepCheckpoint("run", every_n_train_steps=1, save_top_k=1, save_last=True)
        runner = trainer(
            tmp_path,
            steps,
            callbacks=[saver],
            plugins=[WholeCheckpointIO()],
            enable_checkpointing=True,
        )
        runner.fit(DepthFlowDiffusion(**motion_parts()), datamodule=ClipData(), **options)

    fit(1)
    content = torch.load("run/last.ckpt", weights_only=True)
    (state,) = content["callbacks"].values()
    last = state["last_model_path"]
    for victim in (f"{state['dirpath']}/../mine", f"local://{tmp_path}/mine"):
        state[name] = victim
        torch.save(content, "stranger.ckpt")
        fit(3, ckpt_path="stranger.ckpt")
        assert (tmp_path / "mine" / "thesis.txt").exists()
    torch.save(content, "run/last.ckpt")
    loaded = WholeCheckpointIO().load_checkpoint("run/last.ckpt")
    (state,) = loaded["callbacks"].values()
    assert state["last_model_path"] == ("" if name == "last_model_path" else last)


def test_weights_with_a_payload(tmp_path, marker):
    path = tmp_path / "a.pth"
    for write in PICKLES:
        write(path, marker)
        for load in (VGG16Features, RAFT):
            with pytest.raises(UserError, match=r"a\.pth") as caught:
                load(pretrained=str(path))
            assert "\n" not in str(caught.value)
    assert not marker.exists()


# ----------------------------------------------------------------------------------- model folders


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def model(whole, tmp_path):
    """A whole model that a test may spoil, and a picture."""
    for path in whole.rglob("*"):
        copy = tmp_path / "model" / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            copy.write_bytes(path.read_bytes())
    Image.new("RGB", (16, 16)).save(tmp_path / "key.png")
    return tmp_path / "model"


GENERATE = ("generate", "--model", "model", "--image", "key.png", "--size", "[16, 16]")


def rename_class(folder, part, entry):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {part: entry}))


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["evil", "Part"],
        ["movideo.models.unet", "UNet2DConditionModel"],  # not its own
        ["movideo.cli", "main"],
        ["diffusers", "DiffusionPipeline"],
        ["diffusers", "AutoModel"],
        ["diffusers.schedulers.scheduling_ddim", "ConfigMixin"],
        ["movideo.\0", "Part"],
        {"class_path": "os.system"},
    ],
)
def test_a_model_chooses_no_class(movideo, marker, model, evil_module, entry):
    rename_class(model, "video_scheduler", entry)
    # what diffusers' own pipelines would import
    own = {"_class_name": ["evil", "Part"], "_diffusers_version": "0.42.1"}
    (model / "video_scheduler" / INDEX).write_text(json.dumps(own))
    (model / "video_scheduler" / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    error = movideo(*GENERATE).error
    assert "not loaded" in error or "not in the versions installed" in error
    assert not marker.exists()


def test_the_schedulers_of_diffusers_and_own_parts_are_allowed():
    for name in ("diffusers.DDIMScheduler", "diffusers.DPMSolverMultistepScheduler"):
        assert find_class(name).__name__ in name
    assert find_class("movideo.models.unet.SpatioTemporalUNet") is type(unet(4))


def test_a_model_without_safetensors_is_not_unpickled(movideo, marker, model):
    part = model / "video_unet"
    (part / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Payload(marker)}, part / "diffusion_pytorch_model.bin")
    assert movideo(*GENERATE).error.startswith("model/video_unet: no SpatioTemporalUNet")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["README.md", "video_unet/config.json", "autoencoder", "image_encoder/model.safetensors"],
)
def test_a_link_out_of_a_model(movideo, model, tmp_path, name):
    path = model / name
    path.rename(tmp_path / "secret")
    path.symlink_to("../secret" if path.parent == model else "../../secret")
    assert movideo(*GENERATE).error.startswith(f"model/{name}: a link out of model")
    with pytest.raises(UserError, match="a link out of"):
        export(str(tmp_path / "another"), [model])
    with pytest.raises(UserError, match="a link out of"):  # nor is it written through
        MoVideoPipeline.from_pretrained("embedded").save_pretrained(model)


def test_shards_of_a_model_lie_beside_their_index(movideo, model, tmp_path):
    part = model / "video_unet"
    name = "diffusion_pytorch_model.safetensors"
    (part / name).rename(tmp_path / name)
    index = {"metadata": {}, "weight_map": {"conv_in.weight": f"../../{name}"}}
    (part / f"{name}.index.json").write_text(json.dumps(index))
    save_file({"nothing": torch.zeros(1)}, part / "other.safetensors")
    assert f"index.json: names ../../{name}" in movideo(*GENERATE).error


def test_a_model_sends_nobody_to_the_hub(movideo, model):
    config = {"model_cfg": {"text_cfg": {"hf_model_name": "stranger/model"}}}
    (model / "image_encoder" / "open_clip_config.json").write_text(json.dumps(config))
    assert "open_clip_config.json: not of a model" in movideo(*GENERATE).error
    content = json.loads((model / "video_unet" / "config.json").read_text())
    (model / "video_unet" / "config.json").write_text(
        json.dumps(content | {"pretrained": "stranger/model"})
    )
    ModelFolder(model).load("video_unet")  # without a look at `pretrained`


def test_the_links_of_a_hub_cache_are_allowed(model, tmp_path):
    repository = tmp_path / "models--owner--name"
    (repository / "blobs").mkdir(parents=True)
    (repository / "snapshots").mkdir()
    blob = (model / "README.md").rename(repository / "blobs" / "1f")
    snapshot = model.rename(repository / "snapshots" / "abc")
    (snapshot / "README.md").symlink_to("../../blobs/1f")
    assert ModelFolder(snapshot).card() == blob.read_text()
    (snapshot / "notes.md").symlink_to("../../../key.png")
    with pytest.raises(UserError, match=r"notes\.md: a link out of"):
        ModelFolder(snapshot)


@pytest.mark.parametrize("length", [2**63, 2**62, 10**9, 200])
def test_absurd_heads_of_safetensors(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a":' * 10)
    for read in (
        lambda: read_header(path),
        lambda: load_motion(path, 3, (8, 8)),
        lambda: VGG16Features(pretrained=str(path)),
    ):
        with pytest.raises(UserError, match=r"a\.safetensors") as caught:
            read()
        assert len(str(caught.value)) < 500


# ---------------------------------------------------------------------------------- lists of videos


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """A folder for lists, and a video outside of it."""
    write_numbered(tmp_path / "outside.mp4", 30, 25)
    write_numbered(tmp_path / "theirs.mp4", 31, 25).rename(tmp_path / "inside.mp4")
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "inside.mp4").rename(folder / "inside.mp4")
    (folder / "link.mp4").symlink_to("../outside.mp4")
    (folder / "up").symlink_to("..")
    return folder


WAYS_OUT = [
    "../outside.mp4",
    "{}/outside.mp4",
    "link.mp4",
    "up/outside.mp4",
    "x/../../outside.mp4",
]
ROW = ListRow("", "0" * 64, 0.0, 12.5, 3, 32, 32, 1)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", "-clips.csv", "-clips.jsonl"])
def test_a_list_leads_nowhere_else(tmp_path, lists, suffix):
    path = lists / f"list{suffix}"
    (lists / "x").mkdir()
    for name in (way.format(tmp_path) for way in WAYS_OUT):
        write_list(path, name)
        with pytest.raises(VideoError, match="not below the list's own folder") as caught:
            find_videos(path)
        assert str(caught.value).startswith(f"{path}:")
        assert len(find_videos(path, allow_outside=True)) == 2


def write_list(path, name):
    suffix = path.name.removeprefix("list")
    if suffix == ".txt":
        path.write_text(f"inside.mp4\n{name}\n")
    elif suffix == ".csv":
        path.write_text(f"video\ninside.mp4\n{name}\n")
    elif suffix == ".jsonl":
        rows = [json.dumps({"video": each}) for each in ("inside.mp4", name)]
        path.write_text("\n".join(rows))
    else:
        write_clip_list(path, [replace(ROW, video="inside.mp4"), replace(ROW, video=name)])


def test_a_list_is_trusted_only_where_the_user_says_so(movideo, tmp_path, lists):
    path = lists / "list.txt"
    write_list(path, "../outside.mp4")
    shape = ("--data.num_frames=3", "--data.size=[32,32]")
    error = movideo("precompute", "--videos", path, *shape).error
    assert error.startswith(f"{path}:2: ../outside.mp4; not below the list's own folder")
    assert not (tmp_path / "data").exists()
    trusted = movideo("precompute", "--videos", path, *shape, "--data.allow_outside=true")
    assert trusted.code == 0, trusted.err


def test_a_file_that_is_missing_outside_reads_as_one_that_is_there(tmp_path, lists):
    """Or a list could ask what there is."""
    for name in ("../outside.mp4", "../nothing.mp4"):
        (lists / "l.txt").write_text(name)
        with pytest.raises(VideoError, match="own folder"):
            find_videos(lists / "l.txt")


def test_a_list_reached_through_a_link_is_where_it_was_named(tmp_path, lists):
    (tmp_path / "short").symlink_to(lists)
    write_clip_list(lists / "l.csv", [replace(ROW, video="inside.mp4")])
    (clip,) = read_clip_list(tmp_path / "short" / "l.csv")
    assert clip.video == str(tmp_path / "short" / "inside.mp4")


def test_a_playlist_plays_no_other_files(tmp_path, lists):
    write_numbered(tmp_path / "secret.ts", 30, 25)
    assert len(probe(tmp_path / "secret.ts").times) == 30
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:1.2,", "../secret.ts", "#EXT-X-ENDLIST"]
    (lists / "a.m3u8").write_text("\n".join(lines))
    (lists / "b.ffconcat").write_text("ffconcat version 1.0\nfile secret.ts\n")
    for name in ("a.m3u8", "b.ffconcat"):
        with pytest.raises(VideoError, match="not a video"):
            probe(lists / name)


# ------------------------------------------------------------------------------------------ labels


def test_a_link_out_of_a_label_folder(tmp_path):
    folder = tmp_path / "labels"
    write_shard(tmp_path / "a.safetensors", [make_clip(0)], [make_labels(0)], ESTIMATORS)
    folder.mkdir()
    (folder / "a.safetensors").symlink_to("../a.safetensors")
    with pytest.raises(UserError, match=r"a\.safetensors: leads out of"):
        LabelStore(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": None},
        {"rows": [{"video": "a.mp4"}]},
        {"rows": [{"key": "../../../../etc/passwd"}]},
        {"rows": [{"key": ["a"]}]},
        {"failed": ["a"]},
        {"failed": {"a": 1}},
        {"grid": 3},
        {"grid": ["a", "b"]},
        {"estimators": "a"},
    ],
    ids=str,
)
def test_a_shard_that_says_nonsense_of_itself(tmp_path, change):
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_clip(0)], [make_labels(0)], ESTIMATORS)
    header = json.dumps(read_header(path) | change)
    save_file({"depth": torch.zeros(1)}, path, {METADATA_KEY: header})
    with pytest.raises(UserError, match=r"a\.safetensors: not a readable shard"):
        LabelStore(tmp_path)


def test_a_shard_with_fewer_rows_than_it_names(tmp_path):
    path = tmp_path / "a.safetensors"
    write_shard(path, [make_clip(0), make_clip(1)], [make_labels(0)] * 2, ESTIMATORS)
    header, short = read_header(path), vars(make_labels(0))
    save_file({name: value[None] for name, value in short.items()}, path, {
        METADATA_KEY: json.dumps(header)
    })  # fmt: skip
    store = LabelStore(tmp_path)
    store.get(make_clip(0))
    with pytest.raises(UserError, match="fewer rows than it names"):
        store.get(make_clip(1))


# ----------------------------------------------------------------------------------------- writing


def test_nothing_is_written_through_a_link(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / ".a.txt.part.txt").symlink_to(mine)
    (folder / "a.txt").symlink_to(mine)
    with whole_file(folder / "a.txt") as temporary:
        temporary.write_text("new")
    assert (folder / "a.txt").read_text() == "new"
    (folder / ".b.txt.part.txt").symlink_to(tmp_path / "not there")
    remove_leftovers(folder)
    (folder / ".l.csv.journal").symlink_to(mine)
    with Journal(folder / ".l.csv.journal", {}) as journal:
        journal.add("a.mp4", (1, 1), [])
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "theirs"]


def test_folders_of_others_lead_nowhere_else(tmp_path):
    (tmp_path / "mine").mkdir()
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "labels").symlink_to("../mine")

    class Maker:
        kind = type(make_labels(0))
        settings = ESTIMATORS

    with pytest.raises(UserError, match="leads out of"):
        ShardFolder(folder, Maker()).make([])
    with pytest.raises(UserError, match="leads out of"):
        write_scenes(folder, SceneSettings(count=1))
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("name", ["../../../mine", "/mine", "link/mine"])
def test_names_of_videos_make_no_files_elsewhere(tmp_path, name):
    name = name.replace("/mine", f"{tmp_path}/mine") if name.startswith("/") else name
    out = tmp_path / "a" / "out"
    (out / "method").mkdir(parents=True)
    for place in (out, out / "method"):
        (place / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of"):
        SampleFolder(out).save("method", name, {}, {"video": torch.zeros(1)})
    with pytest.raises(UserError, match="leads out of"):
        PredictionFolder(out).announce({name: {"fps": 3}})
    (out / LIST).write_text(json.dumps({"file": f"{name}.mp4"}) + "\n")
    with pytest.raises(UserError, match="leads out of"):
        PredictionFolder(out).announce({"good": {"fps": 3}})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_inside(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "near").symlink_to("a")
    for name in ("a", "near/b", "a/../b", "."):
        assert inside(tmp_path, name) == tmp_path / name
    for name in ("..", f"../{tmp_path.name}-", "a/../../b", "/"):
        with pytest.raises(UserError, match="leads out of"):
            inside(tmp_path, name)
    check_links(tmp_path)
    (tmp_path / "a" / "far").symlink_to("../..")
    with pytest.raises(UserError, match="a link out of"):
        check_links(tmp_path)


# ---------------------------------------------------------------------------------------- pictures


def test_a_picture_is_not_given_to_a_program(tmp_path, marker, monkeypatch):
    """Pillow has EPS drawn by Ghostscript, which executes it, whatever the file's suffix."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho run >> {marker}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    lines = ["%!PS-Adobe-3.0 EPSF-3.0", "%%BoundingBox: 0 0 8 8", "%%EndComments", "showpage", ""]
    (tmp_path / "a.png").write_text("\n".join(lines))
    with pytest.raises(VideoError, match=r"a\.png: not an image"):
        read_image(tmp_path / "a.png")
    assert not marker.exists()


@pytest.mark.parametrize("side", [11_600, 100_000])
def test_a_decompression_bomb(tmp_path, side):
    """Of more than 2^27 pixels; Pillow itself would refuse the second alone."""

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = (
        chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(side))) + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(VideoError, match=r"a\.png: over 134,217,728 pixels"):
        read_image(tmp_path / "a.png")
