"""The command's manners: help, configs, and one clear line for every mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from movideo.cli import _one_line, main
from movideo.cli.configs import with_config_paths
from movideo.cli.parser import explain
from movideo.errors import UserError
from tests.video.files import write_audio, write_numbered

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--data.num_frames=3", "--data.size=[32,32]")


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def broken(path, kind):
    """A file that is no video of three frames."""
    if kind == "corrupt":
        whole = write_numbered(path, 30, 25).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video\n" * 50)
    elif kind == "audio":
        write_audio(path)
    else:
        write_numbered(path, {"one frame": 1, "too short": 2}[kind], 25)
    return path


REASONS = {
    "corrupt": "damaged",
    "empty": "empty file",
    "text": "not a video",
    "audio": "no video stream",
    "one frame": "too short",
    "too short": "too short",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_broken_video(movideo, tmp_path, kind):
    video = broken(tmp_path / "video.mp4", kind)
    before = files(tmp_path)
    error = movideo("precompute", "--videos", video, "--labels", "labels", *SMALL).error
    assert error.startswith(f"{video}: ")
    assert REASONS[kind] in error
    assert "; " in error
    assert files(tmp_path) == before


def test_a_missing_and_an_empty_folder(movideo, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, reason in [("nowhere", "no such file or folder"), ("empty", "no video in this")]:
        error = movideo("precompute", "--videos", name, *SMALL).error
        assert error.startswith(f"{name}: {reason}")
    assert files(tmp_path) == set()


def test_a_broken_video_among_good_ones_is_listed(movideo, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(3):
        write_numbered(folder / f"{index}.mp4", 30 + index, 25)
    for kind in ("empty", "text"):
        broken(folder / f"{kind}.mp4", kind)
    command = [sys.executable, "-m", "movideo", "precompute", "--videos", folder, *SMALL]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert "skipped 2 of 5 videos:" in done.stderr
    assert f"{folder / 'empty.mp4'}: empty file" in done.stderr
    made = {path: path.stat().st_mtime_ns for path in files(tmp_path / "data")}
    assert len(made) == 3  # so few clips go into a shard each
    again = movideo("precompute", "--videos", folder, *SMALL)
    assert again.code == 0
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path / "data")} == made


def test_precompute_takes_a_stage_config(movideo, tmp_path):
    video = write_numbered(tmp_path / "video.mp4", 30, 25)
    done = movideo("precompute", "--config", "stage1.yaml", "--videos", video, *SMALL)
    assert done.code == 0, done.err
    assert "labels in data/labels/" in done.out
    assert len(files(tmp_path / "data")) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense: no such command; choose one of fit"),
        (["precompute", "--videos"], "expected one argument"),
        (
            ["precompute", "--data.vidoes=x"],
            "data.vidoes: no such option; did you mean data.videos?",
        ),
        (["precompute", "--data.batch_size=x"], "data.batch_size: expected int, got x; "),
        (
            ["precompute", "--data.batch_size=0"],
            "data.batch_size: 0 is out of range; give 1 or more",
        ),
        (["precompute", "--data.scenes.count=0"], "scenes: count 0; give 1 or more"),
        (["precompute", "--config", "no.yaml"], "no.yaml: no such config here, nor among those"),
        (["precompute", "--config=text.yaml"], "text.yaml: no config"),
        (["precompute", "--config=broken.yaml"], "broken.yaml: not YAML"),
        (["precompute", "--config=unknown.yaml"], "data.batchsize: no such option; did you mean"),
        (["scenes", "--out=x", "--clips=0"], "scenes: count 0; give 1 or more"),
        (["scenes", "--clips=1"], "arguments are required: out"),
        (["export", "--out=x", "--checkpoints=[text.yaml]"], "text.yaml: not a checkpoint; "),
        (["export", "--out=x", "--checkpoints=[none.ckpt]"], "none.ckpt: no such checkpoint; "),
        (["generate", "--model=x", "--image=text.yaml"], "text.yaml: not an image"),
        (["generate", "--model=x", "--image=none.png"], "none.png: no such file"),
        (["generate"], "--image None --prompt None --text_to_image None: give either"),
        (["generate", "--prompt=x", "--text_to_image=y", "--image=z"], "--image z --prompt x"),
        (["generate", "--prompt=x"], "--prompt x --text_to_image None: give either"),
        (["generate", "--prompt=x", "--text_to_image=."], ".: no text-to-image pipeline could be"),
        (["predict", "--config=predict.yaml"], "data.images: None, data.prompts: None; give one"),
        (["predict", "--config=predict.yaml", "--data.images=none"], "none: no such file or"),
        (["predict", "--config=predict.yaml", "--data.image=x"], "did you mean data.images?"),
        (["generate", "--model=x", "--image=good.png"], "x: no model here"),
        (["generate", "--model=x", "--image=good.png", "--out=a.txt"], "--out a.txt: end it in"),
        (["generate", "--model=x", "--image=good.png", "--device=tin"], "--device tin: not on"),
        (["generate", "--model=x", "--image=good.png", "--steps=0"], "--steps 0"),
        (["generate", "--image=good.png", "--decode_chunk=0"], "--decode_chunk 0: give 1"),
        (["generate", "--image=good.png", "--motion=pan_left"], "pan_left: no such motion; "),
        (["generate", "--image=good.png", "--motion=camera:pan"], "camera:pan: no such camera"),
        (["generate", "--image=good.png", "--motion=camera:dolly_in:2"], "amount 2; give 0 to 0.9"),
        (["generate", "--image=good.png", "--motion_strength=-1"], "--motion_strength -1.0: give"),
        (["generate", "--image=good.png", "--key_index=17"], "key_index 17: not one of the 17"),
    ],
)
def test_a_mistake_in_the_arguments(movideo, tmp_path, arguments, says):
    (tmp_path / "text.yaml").write_text("just words\n")
    (tmp_path / "broken.yaml").write_text("a: [b\n")
    (tmp_path / "unknown.yaml").write_text("data: {batchsize: 3}\n")
    from PIL import Image

    Image.new("RGB", (80, 64)).save(tmp_path / "good.png")
    before = files(tmp_path)
    assert says in movideo(*arguments).error
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trainer.max_steps=abc"], "trainer.max_steps: expected int, got abc; "),
        (["--trainer.max_steps=-7"], "trainer: "),
        (
            ["--trainer.max_stpes=1"],
            "trainer.max_stpes: no such option; did you mean trainer.max_st",
        ),
        (["--model.kl_wieght=1"], "model.kl_wieght: no such option; did you mean model.kl_weight?"),
        (["--model.autoencoder.pretrained=/no/where"], "/no/where"),
        (["--ckpt_path=none.ckpt"], "none.ckpt: no such checkpoint; "),
        (["--ckpt_path=text.ckpt"], "text.ckpt: not a checkpoint; "),
        (["--model.init_from=text.ckpt"], "text.ckpt: not a checkpoint; "),
        (["--data.videos=nowhere"], "nowhere: no such file or folder; "),
        (["--data.videos=text.mp4"], "text.mp4: not a video"),
        (["--config=unknown.yaml"], "data.batchsize: no such option; did you mean data.batch_size"),
    ],
)
def test_a_mistake_in_a_fit(movideo, tmp_path, arguments, says):
    (tmp_path / "text.ckpt").write_text("words")
    (tmp_path / "text.mp4").write_text("words")
    (tmp_path / "unknown.yaml").write_text("data: {batchsize: 3}\n")
    before = files(tmp_path)
    assert says in movideo("fit", "--config", "stage0.yaml", *arguments).error
    assert files(tmp_path) == before


def test_a_fit_needs_a_model(movideo):
    assert "required: fit.model" in movideo("fit").error


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_help_is_quick_and_lists_configs(movideo):
    start = time.monotonic()
    command = [sys.executable, "-X", "importtime", "-m", "movideo", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert time.monotonic() - start < 20  # a busy machine; 0.1 s on a quiet one
    assert "torch" not in done.stderr
    for word in ("fit", "precompute", "generate", "stage0.yaml", "stage2.yaml"):
        assert word in done.stdout
    help_ = movideo("fit", "--help").out
    assert "stage1.yaml" in help_
    assert "usage: movideo" in help_
    assert "--videos" in movideo("precompute", "--help").out


def test_scenes(movideo, tmp_path):
    done = movideo("scenes", "--out", "s", "--clips", 2, "--num_frames", 3, "--size", "[16, 24]")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "s").glob("*.mp4"))) == 2
    assert len(list((tmp_path / "s" / "labels").iterdir())) == 1


def test_ctrl_c(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("movideo.cli._run_tool", interrupt)
    with pytest.raises(SystemExit) as ended:
        main(["scenes", "--out", "x"])
    assert ended.value.code == 130

    def as_lightning_does(*_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("movideo.cli._run_tool", as_lightning_does)
    with pytest.raises(SystemExit) as ended:
        main(["scenes", "--out", "x"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_for_real(tmp_path):
    command = [sys.executable, "-m", "movideo", "scenes", "--out", "s", "--clips", "100000"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        # a shell's background jobs, and what they start, ignore the signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("s/*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"Traceback" not in err
    assert not list(tmp_path.glob("s/labels/*"))


def test_an_error_of_a_worker_is_one_line():
    wrapped = (
        "Caught VideoError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1\nmovideo.video.read.VideoError: a.mp4: damaged; remove it\n'
    )
    assert _one_line(wrapped) == "a.mp4: damaged; remove it"


def test_explain_leaves_the_key_and_the_reason():
    union = (
        'Parser key "model":\n  Does not validate against any of the Union subtypes\n'
        "  Subtypes: [<class 'a.A'>, <class 'NoneType'>]\n  Errors:\n    - Parser key \"lr\":\n"
        "        Expected a <class 'float'>. Got value: x\n    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'dict'>"
    )
    assert explain(union) == "model.lr: expected float, got x; see the command's --help"
    assert explain("unrecognized arguments: --data.fps=3", ["data.fps_range", "fps"]) == (
        "data.fps: no such option; see the command's --help"
    )
    assert explain("Group 'data' does not accept option 'sise'", ["data.size"]) == (
        "data.sise: no such option; did you mean data.size?"
    )


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (("--model.lr_scheduler.warmup_step", "1"), "model.lr_scheduler.warmup_step"),
        (("--model.image_encoder.pretrainedd", "x"), "model.image_encoder.pretrainedd"),
        (("--model.unet.init_args.nonsense", "1"), "model.unet.nonsense"),
        ({"lr_scheduler": {"init_args": {"warmup_step": 3}}}, "model.lr_scheduler.warmup_step"),
        ({"unet": {"init_args": {"down_blok": 3}}}, "model.unet.down_blok"),
        ({"image_encoder": {"init_args": {"confg": 3}}}, "model.image_encoder.confg"),
    ],
)
def test_a_misspelled_key_is_told_with_all_that_is_above_it(movideo, tmp_path, given, key):
    if isinstance(given, dict):
        (tmp_path / "c.yaml").write_text(json.dumps({"model": {"init_args": given}}))
        given = ("--config", "c.yaml")
    error = movideo("fit", "--config", "stage2.yaml", *given).error
    assert error.startswith(f"{key}: no such option")


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_size_that_the_autoencoder_cannot_take_is_refused_at_once(movideo, tmp_path, stage):
    options = ("--config", f"stage{stage}.yaml", "--data.size=[66, 66]")
    assert movideo("fit", *options).error.startswith("size 66x66: the autoencoder")
    assert not list(tmp_path.iterdir())


def test_a_bucket_that_the_autoencoder_cannot_take_is_refused_at_once(movideo, tmp_path):
    bucket = "--data.training.buckets=[[17, 48, 90]]"
    assert "size 48x90" in movideo("fit", "--config", "stage2.yaml", bucket).error
    assert not list(tmp_path.iterdir())


def test_an_untrained_network_is_not_measured(movideo):
    done = movideo("test", "--config", "stage2.yaml")
    assert done.code == 2
    assert "pass --ckpt_path" in done.error


def test_devices_that_do_not_fit_the_job(movideo, monkeypatch):
    job = {
        "JOB_NAME": "job",
        "JOB_ID": 5,
        "NTASKS": 2,
        "NTASKS_PER_NODE": 2,
        "NNODES": 1,
        "PROCID": 0,
        "LOCALID": 0,
        "NODEID": 0,
        "NODELIST": "n1",
    }
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    done = movideo(
        "fit",
        "--config=stage2.yaml",
        "--trainer.accelerator=cpu",
        "--trainer.devices=3",
        "--trainer.strategy=ddp",
    )
    assert "You set `devices=3`" in done.error


def test_a_config_says_only_what_differs_from_its_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("base: shared.yaml\nseed_everything: 1\n")
    Path("shared.yaml").write_text("seed_everything: 2\n")
    expected = ["fit", "--config=shared.yaml", "--config=mine.yaml", "--x=1"]
    for form in (["--config", "mine.yaml"], ["--config=mine.yaml"], ["-c", "mine.yaml"]):
        assert list(with_config_paths(["fit", *form, "--x=1"])) == expected
    Path("mine.yaml").write_text("base: nowhere.yaml\n")
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such config"):
        list(with_config_paths(["--config=mine.yaml"]))


def test_stages_1_and_2_share_their_base():
    """What both say stands in one place: neither config repeats a leaf of it."""
    folder = ROOT / "configs"
    base = dict(leaves(yaml.safe_load((folder / "base" / "diffusion.yaml").read_text())))
    for stage in (1, 2):
        own = dict(leaves(yaml.safe_load((folder / f"stage{stage}.yaml").read_text())))
        assert own["base"] == "base/diffusion.yaml"
        repeated = {name for name, value in own.items() if base.get(name) == value}
        assert repeated <= {"model.class_path"}


def leaves(values, name=""):
    for key, value in values.items():
        inner = f"{name}.{key}".lstrip(".")
        yield from leaves(value, inner) if isinstance(value, dict) else [(inner, value)]


@pytest.mark.parametrize(
    ("arguments", "now"),
    [
        (("fit", "--config=stage0.yaml", "--data.with_labels=false"), "data.labels.enabled"),
        (("fit", "--config=stage0.yaml", "--data.val_fraction=0.1"), "data.split.val"),
        (("fit", "--config=stage3.yaml", "--model.rivals={a: b.ckpt}"), "model.baselines"),
        (("fit", "--config=stage1.yaml", "--model.pictures=1"), "model.visualized_clips"),
        (("generate", "--image=a.png", "--sheet=b.png"), "visualization"),
    ],
)
def test_an_option_of_an_earlier_version_says_its_name_of_today(movideo, arguments, now):
    error = movideo(*arguments).error
    assert error.endswith(f": no such option any more; did you mean {now}?")
