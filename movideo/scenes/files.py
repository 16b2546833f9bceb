"""Scenes on disk: mp4 files, and shards of their exact labels beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from movideo.clips.clip import Clip, ClipSettings, draw_clips
from movideo.clips.key_places import KeyFramePlaces, place_key_frame
from movideo.errors import UserError
from movideo.progress import Progress
from movideo.scenes.render import Scene, render_scene
from movideo.shards.shard import (
    ClipLabels,
    DamagedShard,
    identity_alignment,
    read_header,
    write_shard,
)
from movideo.storage.atomic import remove_leftovers
from movideo.storage.digest import content_hash, json_digest
from movideo.storage.paths import inside
from movideo.video.read import probe
from movideo.video.write import write_mp4

LABELS = "labels"  # subfolder of a folder of videos whose shards hold these videos' labels
SHARD_SIZE = 64
SMALLEST = 8  # pixels; x264 wants a macroblock's worth
READABLE_STREAM = 1  # of randomness: which scenes are readable changes nothing else in them
_PLACES = {"key_frames": asdict(KeyFramePlaces())}  # of the labels beside those of the centre
QUALITY = 6  # x264: close to lossless, so that exact flow still finds the pixels it was made for


@dataclass(frozen=True)
class SceneSettings:
    """A set of scenes, a pure function of these values.

    Attributes:
        count: number of scenes, one clip each.
        seed: sets with different seeds share no scene.
        num_frames: frames a scene.
        size: `(H, W)` in pixels.
        readable: share of scenes whose motion a picture tells, 0 to 1; the rest moves freely.

    Raises:
        UserError: one of them is too small.
    """

    count: int = 256
    seed: int = 0
    num_frames: int = 17
    size: tuple[int, int] = (64, 64)
    readable: float = 0.85

    def __post_init__(self) -> None:
        least = {"count": 1, "seed": 0, "num_frames": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"scenes: {name} {getattr(self, name)}; give {low} or more")
        if not 0 <= self.readable <= 1:
            raise UserError(f"scenes: readable {self.readable}; give a share from 0 to 1")
        if min(self.size) < SMALLEST:
            raise UserError(f"scenes: size {self.size}; give {SMALLEST} pixels or more")

    @property
    def folder_name(self) -> str:
        """A name that two different sets do not share."""
        return f"scenes-{json_digest(asdict(self))[:8]}"

    def render(self, index: int, key_index: int | None = None, origin: int | None = None) -> Scene:
        """The scene of that index, the same whatever the count.

        Args:
            index: from 0 up.
            key_index: the key frame, the centre by default.
            origin: as for `render_scene`.
        """
        return render_scene(
            (self.seed, index),
            num_frames=self.num_frames,
            size=self.size,
            key_index=key_index,
            readable=self.is_readable(index),
            origin=origin,
        )

    def is_readable(self, index: int) -> bool:
        """Whether a picture of the scene of that index tells its motion."""
        draw = np.random.default_rng((self.seed, index, READABLE_STREAM)).random()
        return bool(draw < self.readable)


def write_scenes(folder: str | Path, settings: SceneSettings) -> Path:
    """Renders the set into `folder` as mp4, and its exact labels into `folder/labels`.

    Labels are those of the key frame in the centre, and of the one that training draws by default.
    What is there already stays, except for shards that are damaged and what killed runs left.

    Returns:
        The folder.

    Raises:
        UserError: the folder cannot be written, or its labels are a link out of it.
    """
    folder = Path(folder)
    inside(folder, LABELS)
    shards = [
        range(i, min(i + SHARD_SIZE, settings.count)) for i in range(0, settings.count, SHARD_SIZE)
    ]
    for each in (folder, folder / LABELS):
        remove_leftovers(each)
    missing = [indices for indices in shards if not _is_written(folder, settings, indices)]
    try:
        (folder / LABELS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    with (
        _one_thread(),
        Progress(
            total=sum(map(len, missing)),
            desc=f"rendering scenes into {folder}",
            unit="scene",
        ) as bar,
    ):
        for indices in missing:
            rows = []
            for index in indices:
                rows += _write_scene(_video_path(folder, index), settings, index)
                bar.update()
            clips, labels = zip(*rows, strict=True)
            write_shard(
                _shard_path(folder, settings, indices),
                list(clips),
                list(labels),
                {"scenes": asdict(settings), **_PLACES},
            )
    return folder


@contextmanager
def _one_thread() -> Iterator[None]:
    """A scene is many tiny operations: on a busy machine, threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _write_scene(path: Path, scenes: SceneSettings, index: int) -> list[tuple[Clip, ClipLabels]]:
    scene = scenes.render(index)
    write_mp4(path, scene.video, scene.fps, quality=QUALITY, pix_fmt="yuv444p")
    settings = ClipSettings(num_frames=scenes.num_frames, size=scenes.size)
    # A scene holds exactly one clip's frames: whoever draws one of that length draws this one.
    (clip,) = draw_clips(probe(path), content_hash(path), settings)
    rows = [(clip, _labels(scene))]
    drawn = place_key_frame(clip, KeyFramePlaces())
    if drawn != clip:
        seen = scenes.render(index, key_index=drawn.key_index, origin=clip.key_index)
        rows.append((drawn, _labels(seen)))
    return rows


def _labels(scene: Scene) -> ClipLabels:
    return ClipLabels(
        depth=scene.depth,
        flow_i2v=scene.flow_i2v,
        flow_v2i=scene.flow_v2i,
        depth_alignment=identity_alignment(len(scene.video)),
    )


def _video_path(folder: Path, index: int) -> Path:
    return folder / f"scene_{index:06d}.mp4"


def _shard_path(folder: Path, settings: SceneSettings, indices: range) -> Path:
    return (
        folder
        / LABELS
        / f"{settings.folder_name}_{indices.start:06d}_{len(indices):03d}.safetensors"
    )


def _is_written(folder: Path, settings: SceneSettings, indices: range) -> bool:
    videos = (_video_path(folder, index) for index in indices)
    return _is_whole(_shard_path(folder, settings, indices)) and all(
        video.exists() for video in videos
    )


def _is_whole(shard: Path) -> bool:
    if not shard.exists():
        return False
    try:
        made = read_header(shard)["estimators"]
    except DamagedShard:
        return False
    return bool(made.items() >= _PLACES.items())  # those of earlier versions have the centre alone
