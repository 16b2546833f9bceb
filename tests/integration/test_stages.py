"""Every stage from an empty folder, then the whole chain from their checkpoints."""

import pytest
import torch
from PIL import Image

from movideo.scenes.files import SceneSettings, write_scenes
from movideo.video.read import probe

TINY = (
    "--data.scenes.count=6",
    "--data.test_scenes.count=2",
    "--data.batch_size=2",
    "--trainer.max_steps=2",
    "--trainer.val_check_interval=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)
FEW = tuple(f"--data.{part}num_frames=5" for part in ("", "scenes.", "test_scenes."))
QUICK = {
    0: (),
    1: ("--model.num_inference_steps=2", "--model.motion_grid=[16,16]", *FEW),
    2: ("--model.num_inference_steps=2", "--model.motion_grid=[16,16]", *FEW),
    3: ("--model.motion_grid=[16,16]", *FEW),
}
STAGES = tuple(QUICK)


def fit(movideo, stage, *options):
    done = movideo("fit", "--config", f"stage{stage}.yaml", *TINY, *QUICK[stage], *options)
    assert done.code == 0, done.err
    return done


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_alone_in_an_empty_folder(movideo, tmp_path, stage):
    done = fit(movideo, stage)
    run = tmp_path / "runs" / f"stage{stage}" / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert checkpoint.is_file()
    assert (run / "config.yaml").is_file()
    assert list(run.glob("events.*"))
    for noise in ("Tip", "LeafSpec", "many workers"):
        assert noise not in done.err + done.out
    options = (*TINY[:3], *QUICK[stage], f"--ckpt_path={checkpoint}")
    for command in ("validate", "test"):
        done = movideo(command, "--config", f"stage{stage}.yaml", *options)
        assert done.code == 0, done.err
        assert ("val/" if command == "validate" else "test/") in done.out
    other = f"stage{(stage + 1) % len(STAGES)}.yaml"
    error = movideo("test", "--config", other, f"--ckpt_path={checkpoint}").error
    assert error.startswith(f"{checkpoint}: a checkpoint of ")


def test_real_files_one_of_them_broken(movideo, tmp_path):
    folder = write_scenes(tmp_path / "videos", SceneSettings(count=5, num_frames=5))
    for shard in (folder / "labels").iterdir():
        shard.unlink()
    (folder / "broken.mp4").write_text("words")
    fit(movideo, 1, f"--data.videos={folder}")
    assert list((tmp_path / "data" / "labels").rglob("*.safetensors"))
    assert not list((tmp_path / "data").glob("scenes*"))


def test_a_single_video(movideo, tmp_path):
    folder = write_scenes(tmp_path / "videos", SceneSettings(count=1))
    fit(movideo, 0, f"--data.videos={folder}")


def test_an_error_inside_a_worker_is_one_line(movideo, tmp_path):
    fit(movideo, 1)
    (shard,) = (
        path for path in (tmp_path / "data").rglob("*_006.safetensors") if path.stat().st_size
    )
    whole = shard.read_bytes()
    # The header stays, what it describes does not: found only when a worker reads a clip.
    size = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + size].replace(b'"flow_v2i":{', b'"flow_v2x":{')
    shard.write_bytes(whole[:8] + header + whole[8 + size :])
    done = movideo("fit", "--config", "stage2.yaml", *TINY, *QUICK[2])
    assert str(shard).split("/")[-1] in done.error


def test_export_and_generate(movideo, tmp_path):
    for stage in (1, 2):
        fit(movideo, stage)
    checkpoints = [str(tmp_path / f"runs/stage{s}/version_0/checkpoints/last.ckpt") for s in (1, 2)]
    done = movideo("export", "--out", "model", f"--checkpoints=[{','.join(checkpoints)}]")
    assert done.code == 0, done.err
    assert (tmp_path / "model" / "model_index.json").is_file()
    Image.effect_noise((90, 70), 50).convert("RGB").save(tmp_path / "key.png")
    common = ("generate", "--model=model", "--image=key.png", "--steps=2", "--num_frames=5")
    for out, more in [
        ("a.mp4", ["--save_motion=m.safetensors", "--visualization=s.png"]),
        ("b.mp4", []),
        ("c.mp4", ["--seed=1"]),
        ("d.gif", ["--motion=m.safetensors"]),
    ]:
        done = movideo(*common, f"--out={out}", *more)
        assert done.code == 0, done.err
    assert len(probe(tmp_path / "a.mp4").times) == 5
    read = {name: (tmp_path / f"{name}.mp4").read_bytes() for name in "abc"}
    assert read["a"] == read["b"]
    assert read["a"] != read["c"]
    assert (tmp_path / "s.png").is_file()
    assert (tmp_path / "d.gif").is_file()
    wrong = movideo(*common[:4], "--num_frames=7", "--motion=m.safetensors").error
    assert wrong.startswith("m.safetensors: ")
    options = ("--model=stages.VideoGeneration", "--model.model=model", *TINY[:3], *FEW)
    done = movideo("test", *options, "--model.num_inference_steps=2")
    assert done.code == 0, done.err
    assert "test/" in done.out
    assert "nothing to train" in movideo("fit", *options, "--trainer.max_steps=1").error


def test_a_checkpoint_starts_another_run(movideo, tmp_path):
    fit(movideo, 1)
    checkpoint = tmp_path / "runs/stage1/version_0/checkpoints/last.ckpt"
    fit(movideo, 1, f"--model.init_from={checkpoint}")
    state = torch.load(tmp_path / "runs/stage1/version_1/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    error = movideo("fit", "--config=stage2.yaml", f"--model.init_from={checkpoint}").error
    assert error.startswith(f"{checkpoint}: a checkpoint of DepthFlowDiffusion")
