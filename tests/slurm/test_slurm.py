"""The shipped job scripts under a real SLURM: two nodes on this machine, a process on each.

Set SLURM_TRANSCRIPT to a file to keep what was asked of SLURM and what it and the jobs said.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from tests.event_files import losses
from tests.slurm.two_nodes import missing, read, two_nodes, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=f"SLURM: {missing()}; see make test-slurm"),
]

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "configs" / "cluster"
STEPS = 80
DATA = (
    "--data.videos=scenes",
    "--data.num_frames=5",
    "--data.split.val=0",
    "--data.split.test=0",
)
# Stage 2 from random weights over the embedded autoencoder and image encoder.
FIT = (
    "--config=stage2.yaml",
    *DATA,
    "--data.batch_size=1",
    "--model.motion_grid=[16,16]",
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    f"--trainer.max_steps={STEPS}",
    "--trainer.limit_val_batches=0",
    "--trainer.log_every_n_steps=1",
    "--trainer.logger.init_args.flush_secs=1",
    "--trainer.enable_model_summary=false",
)
HERE = {
    "array": "0-1",
    "ntasks-per-node": "1",
    "gpus-per-(?:node|task)": "0",
    "cpus-per-task": "1",
    "mem": "1G",
}
CHAIN = """\
data: {videos: scenes, num_frames: 5, split: {test: 0.3, val: 0}, batch_size: 1}
trainer:
  accelerator: cpu
  precision: 32-true
  max_steps: 2
  limit_val_batches: 0
  limit_test_batches: 1
  enable_model_summary: false
"""
ON_CPUS = ("--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def folder():
    """Where jobs run: scenes without labels, on a path that SLURM's other user may enter."""
    place = Path(tempfile.mkdtemp(prefix="movideo-slurm-"))
    place.chmod(0o755)
    movideo(place, "scenes", "--out=scenes", "--clips=9", "--num_frames=5")
    shutil.rmtree(place / "scenes" / "labels")
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def slurm(folder):
    """The command in the path, and SLURM up."""
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    transcript = Path(os.environ.get("SLURM_TRANSCRIPT", folder / "transcript.txt"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", paths)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        with two_nodes(folder / "slurm", transcript) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def labels(folder, slurm):
    """Labels, by two tasks of a job array."""
    job = slurm.run(
        "sbatch", "--parsable", f"--chdir={folder}", "--array=0-1", "--gpus-per-task=0",
        "--cpus-per-task=1", SCRIPTS / "labels.sbatch", "--config=stage2.yaml", *DATA,
    )  # fmt: skip
    for task in (f"{job}_0", f"{job}_1"):
        assert slurm.wait(task, 180)["ExitCode"] == "0:0"
    return folder / "data" / "labels"


@pytest.fixture(scope="module")
def uninterrupted(folder, labels):
    """The losses of two processes of torchrun, which nothing stops."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    subprocess.run(
        [
            *launcher, "--nproc-per-node=2", "-m", "movideo", "fit", "--config=cluster/ddp.yaml",
            *FIT, "--trainer.devices=2", "--trainer.logger.init_args.name=whole",
            "--trainer.logger.init_args.version=0",
        ],
        cwd=folder, check=True, env=without_slurm(), timeout=600,
    )  # fmt: skip
    return losses(folder / "runs" / "whole")


def test_the_tasks_of_the_array_share_the_labels(folder, labels):
    told = movideo(folder, "precompute", "--config=stage2.yaml", *DATA, "--verify")
    assert "9 clips" in told
    for task in (0, 1):
        (output,) = folder.glob(f"labels-*-{task}.out")
        assert f"share {task + 1} of 2" in read(output)


def test_a_job_put_back_into_the_queue_ends_as_one_that_was_not(folder, slurm, uninterrupted):
    job = submit(slurm, folder, "requeued")
    wait_for(lambda: len(losses(folder / "runs" / "requeued")) >= 5, 240, "the first steps")
    slurm.run("squeue")
    slurm.run("scontrol", "requeue", job)
    ended = slurm.wait(job, 400)
    slurm.run("sinfo")
    check(slurm, folder, "requeued", ended, uninterrupted)


def test_a_job_whose_time_is_up_saves_and_comes_again(folder, slurm, uninterrupted):
    """Its time is made short once it has begun to learn, and long again before it comes back."""
    pause = ("--trainer.callbacks+=tests.slurm.pause.Pause",)
    job = submit(slurm, folder, "deadline", "--signal=USR1@100", words=pause)
    wait_for(lambda: len(losses(folder / "runs" / "deadline")) >= 5, 240, "the first steps")
    hours, minutes, _ = map(int, slurm.job(job)["RunTime"].split(":"))
    # One to two minutes from now. SLURM looks every 30 s, and is as much early.
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")
    wait_for(lambda: slurm.job(job)["Restarts"] == "1", 180, "it to be put back")
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    ended = slurm.wait(job, 400)
    check(slurm, folder, "deadline", ended, uninterrupted)
    assert "ended with status 75" in read(folder / f"deadline-{job}.out")


def test_two_processes_on_one_node_learn_as_two_on_two(folder, slurm, uninterrupted):
    job = submit(slurm, folder, "one-node", "--nodes=1", "--ntasks-per-node=2")
    assert slurm.wait(job, 400)["JobState"] == "COMPLETED"
    assert losses(folder / "runs" / "one-node") == uninterrupted  # to the bit
    assert len(list((folder / "logs").glob(f"one-node-{job}.*.log"))) == 2


def test_two_nodes_with_two_processes_each_learn_as_four_of_torchrun(folder, slurm, labels):
    few = "--trainer.max_steps=6"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    subprocess.run(
        [
            *launcher, "--nproc-per-node=4", "-m", "movideo", "fit", "--config=cluster/ddp.yaml",
            *FIT, few, "--trainer.devices=4", "--trainer.logger.init_args.name=four",
            "--trainer.logger.init_args.version=0",
        ],
        cwd=folder, check=True, env=without_slurm(), timeout=600,
    )  # fmt: skip
    job = submit(slurm, folder, "two-each", "--ntasks-per-node=2", words=(few,))
    assert slurm.wait(job, 400)["JobState"] == "COMPLETED"
    found = losses(folder / "runs" / "two-each")
    assert sorted(found) == list(range(6))
    assert found == losses(folder / "runs" / "four")  # to the bit
    ranks = {path.name.split(".")[-2] for path in (folder / "logs").glob(f"two-each-{job}.*.log")}
    assert ranks == {"0", "1", "2", "3"}


def test_a_job_whose_node_dies_comes_again_when_there_are_two(folder, slurm, uninterrupted):
    job = submit(
        slurm, folder, "dead-node", words=("--trainer.callbacks+=tests.slurm.pause.Pause",)
    )
    checkpoint = folder / "runs" / "dead-node" / "version_0" / "checkpoints" / "last.ckpt"
    wait_for(lambda: len(losses(folder / "runs" / "dead-node")) >= 5, 240, "the first steps")
    slurm.kill_node("n2", folder / "slurm")
    wait_for(lambda: slurm.job(job)["Restarts"] == "1", 300, "it to be put back")
    slurm.run("sinfo")
    assert not checkpoint.exists() or torch.load(checkpoint, weights_only=True)  # whole or none
    slurm.start_node("n2")
    ended = slurm.wait(job, 400)
    # What came after the last checkpoint is computed again, and is the same again.
    check(slurm, folder, "dead-node", ended, uninterrupted, repeats=True)


def test_the_chain_ends_with_metrics_of_the_whole_model(folder, slurm, labels):
    """The scripts with other #SBATCH lines, as a user edits them; two steps a stage."""
    scripts = folder / "cluster"
    shutil.copytree(SCRIPTS, scripts)
    for script in scripts.glob("*.sbatch"):
        text = script.read_text()
        for option, value in HERE.items():
            text = re.sub(rf"^(#SBATCH --{option})=.*$", rf"\g<1>={value}", text, flags=re.M)
        script.write_text(text)
    (folder / "videos.yaml").write_text(CHAIN)
    told = subprocess.run(
        ["bash", "cluster/chain.sh", "first", "stage", "videos.yaml"],
        cwd=folder, env=slurm.environment, check=True, capture_output=True, text=True, timeout=60,
    ).stderr  # fmt: skip
    slurm.note(f"$ bash cluster/chain.sh first stage videos.yaml\n{told}")
    slurm.run("squeue", "--format=%.4i %.14j %.10T %.30E")
    jobs = dict(re.findall(r"^first-(\S+): job (\d+)$", told, flags=re.M))
    assert list(jobs) == ["labels", "stage1", "stage2", "stage3", "export", "test"]
    assert slurm.wait(jobs["test"], 600)["JobState"] == "COMPLETED"
    metrics = json.loads(
        (folder / "runs" / "first-test" / "version_0" / "metrics.json").read_text()
    )
    assert metrics
    assert all(math.isfinite(metric) for metric in metrics.values())


def submit(slurm, folder, name, *options, words=()):
    return slurm.run(
        "sbatch", "--parsable", f"--chdir={folder}", f"--job-name={name}", *ON_CPUS, *options,
        SCRIPTS / "fit.sbatch", *FIT, *words,
    )  # fmt: skip


def check(slurm, folder, name, ended, uninterrupted, repeats=False):
    """The job was started more than once, in one folder, and learned as if it had not been."""
    run = folder / "runs" / name
    for output in (*folder.glob(f"{name}-*.out"), *(folder / "logs").glob(f"{name}-*.log")):
        slurm.note(f"{output.name}:\n{read(output)}")
    assert ended["JobState"] == "COMPLETED"
    assert int(ended["Restarts"]) >= 1
    starts = list(run.rglob("events.*"))
    assert len(starts) == int(ended["Restarts"]) + 1  # written by one of the processes
    assert {path.parent for path in starts} == {run / "version_0"}
    assert [path.name for path in (run / "version_0" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert len(list((folder / "logs").glob(f"{name}-*.log"))) == 2
    found = losses(run, repeats)
    for step, loss in sorted(found.items()):
        slurm.note(f"{name}: step {step}: loss {loss!r}, uninterrupted {uninterrupted[step]!r}")
    assert sorted(found) == list(range(STEPS))  # none is lost
    assert found == uninterrupted  # to the bit
    last, whole = (
        torch.load(path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
        for path in (run, folder / "runs" / "whole")
    )
    for key in ("state_dict", "ema"):
        assert all(torch.equal(whole[key][part], last[key][part]) for part in whole[key])


def movideo(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "movideo", *arguments],
        cwd=folder, capture_output=True, text=True, env=without_slurm(), timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def without_slurm():
    """The environment, with the checkout importable and one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
