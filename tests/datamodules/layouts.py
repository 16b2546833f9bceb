"""Small data sets in the layouts of UCF-101 and MSR-VTT: each frame shows a number.

Frames of the first video show 0, 1, …, those of the second 100, 101, … and so on. DAVIS's layout is
written by `benchmarks.davis_layout`.
"""

import json
from itertools import count

import torch

from tests.video.files import numbered_frame, write_frames

BASE = 100
SIDE = 64


def write_video(path, number, frames, fps, codec):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = [numbered_frame(BASE * number + index, SIDE, SIDE) for index in range(frames)]
    write_frames(path, pixels, range(frames), f"1/{fps}", codec=codec)


def numbered_frames(number, frames):
    """`(3, H, W)` in [-1, 1]."""
    for index in range(frames):
        pixels = torch.from_numpy(numbered_frame(BASE * number + index, SIDE, SIDE))
        yield pixels.permute(2, 0, 1) / 127.5 - 1


def write_ucf101(folder, classes, fps=25, split="train", fold=1):
    """Writes MPEG-4 in AVI, as there. `classes` names the frames of each clip of each class."""
    numbers, lines = count(), []
    for label, (name, clips) in enumerate(classes.items(), start=1):
        for clip, frames in enumerate(clips, start=1):
            inside = f"{name}/v_{name}_g01_c{clip:02d}.avi"
            write_video(folder / "UCF-101" / inside, next(numbers), frames, fps, "mpeg4")
            lines.append(f"{inside} {label}" if split == "train" else inside)
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}list{fold:02d}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_msrvtt(folder, captions, name="test_videodatainfo.json", videos="TestVideo", **splits):
    """Writes a test set of 40 frames at 10 fps. `captions` names those of each video.

    `splits` names videos of other splits, which have one caption and no file.
    """
    rows, sentences, numbers = [], [], count(start=7)
    for number, (video, said) in enumerate(captions.items()):
        write_video(folder / videos / f"{video}.mp4", number, 40, 10, "libx264")
        rows.append({"video_id": video, "split": "test", "category": 1, "url": ""})
        sentences += [{"sen_id": next(numbers), "video_id": video, "caption": c} for c in said]
    for video, split in splits.items():
        rows.append({"video_id": video, "split": split})
        sentences.append({"sen_id": next(numbers), "video_id": video, "caption": "not asked for"})
    listed = {"info": {"year": "2017"}, "videos": rows, "sentences": sentences[::-1]}
    (folder / name).write_text(json.dumps(listed))
    return folder
