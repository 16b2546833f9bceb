"""The job scripts without a SLURM: programs of its names that only note what they are asked."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "configs" / "cluster"
ALL = sorted([*SCRIPTS.glob("*.sbatch"), *SCRIPTS.glob("*.sh")])
JOB = {
    "SLURM_JOB_ID": "12345",
    "SLURM_JOB_NAME": "first",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS_PER_NODE": "8",
    "SLURM_CPUS_PER_TASK": "4",
}


@pytest.fixture
def run(tmp_path):
    """Runs a script with stand-ins for programs, and gives back what they were asked."""

    def run(script, *arguments, status=0, **programs):
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        for name, body in programs.items():
            program = bin_ / name
            program.write_text(f'#!/bin/bash\necho "{name} $*" >> "$NOTES"\n{body}\n')
            program.chmod(0o755)
        notes = tmp_path / "notes"
        done = subprocess.run(
            ["bash", SCRIPTS / script, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=30,
            env={"PATH": f"{bin_}:/usr/bin:/bin", "NOTES": str(notes), **JOB},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return notes.read_text().splitlines() if notes.exists() else [], done

    return run


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    assert len(ALL) == 5
    done = subprocess.run(["shellcheck", *ALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_given_goes_to_fit_word_by_word(run):
    asked, _ = run(
        "fit.sbatch",
        "--data.size",
        "[256, 256]",
        "--config",
        "a b.yaml",
        srun='printf "%s\\n" "$@" > words',
    )
    (command,) = asked
    assert command.startswith(
        "srun --output=logs/%x-%j.%t.log --open-mode=append --wait=60 movideo fit"
    )
    assert command.endswith(
        "--config cluster/ddp.yaml --config cluster/slurm.yaml "
        "--data.size [256, 256] --config a b.yaml "
        "--trainer.num_nodes 2 --trainer.devices 8 --trainer.logger.init_args.name first "
        "--trainer.logger.init_args.version 0 --ckpt_path auto"
    )


def test_the_words_of_a_path_stay_together(run, tmp_path):
    run("fit.sbatch", "--config", "a b.yaml", srun='printf "%s\\n" "$@" > words')
    assert "a b.yaml" in (tmp_path / "words").read_text().splitlines()


@pytest.mark.parametrize("status", [0, 1, 2, 137, 143])
def test_a_run_that_ended_otherwise_is_not_put_back(run, status):
    asked, done = run("fit.sbatch", srun=f"exit {status}", scontrol="", status=status)
    assert [line.split()[0] for line in asked] == ["srun"]
    assert f"status {status}" in done.stdout


def test_a_run_that_asks_to_come_again_is_put_back(run):
    asked, _ = run("fit.sbatch", srun="exit 75", scontrol="", status=75)
    assert asked[1:] == ["scontrol requeue 12345"]


def test_all_processes_are_told_where_to_meet(run, tmp_path):
    run(
        "fit.sbatch",
        srun='echo "$MASTER_ADDR $MASTER_PORT $SRUN_CPUS_PER_TASK" > met',
        hostname="echo n1",
    )
    assert (tmp_path / "met").read_text() == "n1 17345 4\n"


def test_labels_that_run_out_of_time_are_put_back(run):
    asked, _ = run(
        "labels.sbatch",
        "--videos",
        "x",
        movideo='kill -USR1 "$PPID"; sleep 0.2',
        scontrol="",
        status=75,
    )
    assert asked == ["movideo precompute --videos x", "scontrol requeue 12345"]


def test_labels_that_fail_fail(run):
    asked, _ = run("labels.sbatch", movideo="exit 2", scontrol="", status=2)
    assert asked == ["movideo precompute"]


def test_the_chain_waits_for_what_it_needs(run):
    number = 'echo $((100 + $(wc -l < "$NOTES")));'
    asked, done = run(
        "chain.sh", "first", "paper/stage", "paper/data.yaml", "mine.yaml", sbatch=number
    )
    jobs = {}
    for line in asked:
        words = line.split()
        options = dict(
            word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word
        )
        (script,) = (word for word in words if word.endswith(".sbatch"))
        jobs[options["job-name"]] = Path(script).name, options.get("dependency"), line
    common = "--config paper/data.yaml --config mine.yaml"
    assert {name: job[:2] for name, job in jobs.items()} == {
        "first-labels": ("labels.sbatch", None),
        "first-stage1": ("fit.sbatch", "afterok:101"),
        "first-stage2": ("fit.sbatch", "afterok:101"),
        "first-stage3": ("fit.sbatch", "afterok:101"),
        "first-export": ("export.sbatch", "afterok:102:103:104"),
        "first-test": ("test.sbatch", "afterok:105"),
    }
    assert jobs["first-labels"][2].endswith(f"labels.sbatch {common}")
    assert jobs["first-stage2"][2].endswith(f"fit.sbatch --config paper/stage2.yaml {common}")
    assert jobs["first-export"][2].endswith(
        "--out runs/first-model --checkpoints [runs/first-stage1/version_0/checkpoints/last.ckpt, "
        "runs/first-stage2/version_0/checkpoints/last.ckpt, "
        "runs/first-stage3/version_0/checkpoints/last.ckpt]"
    )
    assert jobs["first-test"][2].endswith(
        f"test.sbatch --config generation.yaml {common} --model.model runs/first-model"
    )
    assert done.stderr.splitlines()[0] == "first-labels: job 101"


def test_the_chain_says_how_it_is_used(run):
    _, done = run("chain.sh", "first", status=2)
    assert done.stderr.startswith("usage: bash chain.sh NAME STAGE")


def test_its_config_goes_under_a_stages_own(movideo):
    """It adds to the callbacks, where a stage's config would replace them."""
    done = movideo(
        "fit", "--config", "cluster/ddp.yaml", "--config", "stage2.yaml", "--print_config"
    )
    assert done.code == 0, done.err
    assert "class_path: stages.preemption.StopWithCheckpoint" in done.out
    assert "class_path: stages.checkpoints.StepCheckpoint" in done.out
    assert "strategy: ddp\n" in done.out
    assert "precision: bf16-mixed\n" in done.out
