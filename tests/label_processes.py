"""`movideo precompute` in processes that can be killed, and a record of what each of them did."""

import hashlib
import os
import threading
from multiprocessing import get_context

import torch
from tqdm import tqdm

from movideo.cli import main
from movideo.clips.clip import read_clip
from movideo.estimators import ParallaxDepth
from movideo.shards import folder as label_folder

RECORD = "MOVIDEO_TEST_RECORD"  # names the file that a process writes its record to
SHARDS = 5  # so that few clips make shards of several
CONTEXT = get_context("forkserver")
# The modules that every process needs are imported once.
CONTEXT.set_forkserver_preload(["tests.label_processes", "movideo.cli.precompute"])


class RecordingDepth(ParallaxDepth):
    """Writes down every clip that is labelled, by what it shows."""

    def forward(self, video):
        depth = super().forward(video)
        with open(os.environ[RECORD], "a") as file:
            print(_digest(video), file=file)
        return depth


def _digest(video):
    return hashlib.sha256(video.numpy()).hexdigest()


def start(arguments, record):
    """Starts the command on one thread; gives the process."""
    process = CONTEXT.Process(target=_run, args=(arguments, str(record)))
    process.start()
    return process


def _run(arguments, record):
    os.environ[RECORD] = record
    label_folder.SHARDS = SHARDS
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process would leave
    torch.set_num_threads(1)
    main(
        [
            "precompute",
            "--data.labels.depth_estimator=tests.label_processes.RecordingDepth",
            *arguments,
        ]
    )


def keys_by_digest(clips):
    """What a record's lines mean."""
    return {_digest(read_clip(clip)): clip.key for clip in clips}


def recorded(record, keys):
    """Keys of the clips that a process has labelled, in order."""
    return [keys[line] for line in record.read_text().split()] if record.exists() else []
