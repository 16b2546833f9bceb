"""Pictures of what a model makes, good and bad: `docs/gallery.md` and what it shows.

python -m benchmarks.gallery [MODEL] [--out docs/gallery]

Videos of held-out scenes, and of held-out shots where `make film` has been run, are ranked by how
far they are above the key frame standing still; shown are the best two, the one in the middle and
the worst. Then one picture under camera paths, at three strengths, and at two frame rates.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmarks.film import CREDIT
from benchmarks.film_motion import UNSEEN, clips
from benchmarks.quality import over_the_still
from benchmarks.stage_one import SEED
from movideo.diffusion import sample_generator
from movideo.motion import CameraPath, ClipShape
from movideo.motion.space import Motion
from movideo.pipeline import MoVideoPipeline
from movideo.scenes.files import SceneSettings
from movideo.video.write import write_gif, write_image
from movideo.visualization.clips import motion_rows, warped_picture
from movideo.visualization.contact_sheet import contact_sheet

FRAMES, GAP = 17, 2
ZOOM = 2  # at which a page shows videos, whose files keep their pixels
CAMERAS = ("pan_left", "zoom_in", "dolly_in", "orbit_right")
STRENGTHS = (0.5, 1.0, 2.0)
RATES = (3.0, 24.0)
SCENES, FILM = "Scenes", "A film"


@dataclass(frozen=True)
class Shown:
    """A clip beside what was made of its key frame.

    Attributes:
        name: of the files.
        truth: `(F, 3, H, W)` in [-1, 1].
        video: likewise.
        motion: that was generated, of one clip.
        key_index: of the frame that was given.
        fps: frames per second.
    """

    name: str
    truth: Tensor
    video: Tensor
    motion: Motion
    key_index: int
    fps: float

    @property
    def gain(self) -> float:
        """PSNR over that of the key frame standing still, in dB, the key frame left out."""
        return over_the_still(self.video[None], self.truth[None], self.key_index)


def made(pipeline: MoVideoPipeline, name: str, truth: Tensor, key: int, fps: float) -> Shown:
    """The video of a clip's key frame."""
    result = pipeline.generate(
        truth[key],
        fps=fps,
        num_frames=len(truth),
        key_index=key,
        generator=sample_generator(0, name),
    )
    return Shown(name, truth, result.video[0], result.motion, key, fps)


def of_scenes(pipeline: MoVideoPipeline, count: int) -> Iterator[Shown]:
    """Held-out readable scenes at 3 to 8 frames a second, at which much moves."""
    settings = SceneSettings(10 * count, SEED, readable=1.0)
    scenes = (settings.render(index) for index in range(settings.count))
    slow = (scene for scene in scenes if scene.fps <= 8)
    for index, scene in zip(tqdm(range(count), desc="scenes"), slow, strict=False):
        yield made(pipeline, f"scene_{index:02}", scene.video, scene.key_index, float(scene.fps))


def of_shots(pipeline: MoVideoPipeline, folder: str, count: int) -> Iterator[Shown]:
    """Held-out shots of the film."""
    for index, clip in enumerate(tqdm(list(clips(folder, 1, labels=False))[:count], desc="shots")):
        key, fps = int(clip["key_index"]), float(clip["fps"])
        yield made(pipeline, f"film_{index:02}", clip["video"][0], key, fps)


def ranked(found: list[Shown]) -> dict[str, Shown]:
    """The best two, the middle and the worst, by title."""
    order = sorted(found, key=lambda shown: -shown.gain)
    places = {"best": 0, "second": 1, "middle": len(order) // 2, "worst": len(order) - 1}
    return {title: order[place] for title, place in places.items()}


def side_by_side(*videos: Tensor) -> Tensor:
    """Videos `(F, 3, H, W)` in a row."""
    *first, last = (video.clamp(-1, 1) for video in videos)
    return torch.cat([*(F.pad(video, (0, GAP), value=1.0) for video in first), last], dim=-1)


def shown_at(place: str, *videos: Tensor) -> str:
    """A GIF of videos in a row, as the page shows it."""
    return f'<img src="{place}" width="{ZOOM * side_by_side(*videos).shape[-1]}">'


def write_shown(folder: Path, shown: Shown) -> None:
    """A GIF of the truth beside the video, and a sheet of all that lies between."""
    write_gif(folder / f"{shown.name}.gif", side_by_side(shown.truth, shown.video), shown.fps)
    rows = {
        "true clip": shown.truth,
        **motion_rows(shown.motion, 0),
        "warped key": warped_picture(shown.truth[shown.key_index], shown.motion, 0),
        "result": shown.video,
    }
    write_image(folder / f"{shown.name}.jpg", contact_sheet(rows, columns=5, cell_height=64))


def varied(pipeline: MoVideoPipeline, folder: Path, name: str, image: Tensor) -> list[str]:
    """One picture under camera paths, at strengths, and at frame rates; lines of the page."""
    size = (image.shape[-2], image.shape[-1])

    def options(fps: float) -> dict[str, Any]:
        generator = sample_generator(0, name)
        return {"fps": fps, "num_frames": FRAMES, "generator": generator}

    def video(fps: float, motion: Motion | None = None, strength: float = 1.0) -> Tensor:
        result = pipeline.generate(image, motion=motion, motion_strength=strength, **options(fps))
        return result.video[0]

    stage_1 = partial(pipeline.generate_motion, image[None], **options(8.0))

    shape = ClipShape(FRAMES, FRAMES // 2, size, 8.0)
    moved = [video(8.0, CameraPath(camera).motion(shape, stage_1)) for camera in CAMERAS]
    write_gif(folder / f"{name}_cameras.gif", side_by_side(*moved), 8.0)
    strong = [video(4.0, strength=strength) for strength in STRENGTHS]
    write_gif(folder / f"{name}_strengths.gif", side_by_side(*strong), 4.0)
    rates = [video(fps) for fps in RATES]
    for fps, result in zip(RATES, rates, strict=True):
        write_gif(folder / f"{name}_{fps:.0f}fps.gif", side_by_side(result), fps)
    return [
        f"Under the camera paths {', '.join(f'`{camera}`' for camera in CAMERAS)}:\n",
        shown_at(f"{folder.name}/{name}_cameras.gif", *moved) + "\n",
        f"`motion_strength` {', '.join(map(str, STRENGTHS))}, 4 frames a second:\n",
        shown_at(f"{folder.name}/{name}_strengths.gif", *strong) + "\n",
        "17 frames at 3 and at 24 frames a second:\n",
        " ".join(shown_at(f"{folder.name}/{name}_{fps:.0f}fps.gif", image[None]) for fps in RATES)
        + "\n",
    ]


def section(title: str, found: list[Shown], folder: Path) -> list[str]:
    """A set of clips: its figures, and the good and the bad of it; lines of the page."""
    gains = torch.tensor([shown.gain for shown in found])
    lines = [
        f"## {title}\n",
        *([f"{CREDIT}\n"] if title == FILM else []),
        f"{len(found)} clips; {gains.mean():+.2f} dB over the still in the mean, "
        f"{(gains > 0).float().mean():.0%} of them above it.\n",
    ]
    for place, shown in ranked(found).items():
        write_shown(folder, shown)
        where = f"{folder.name}/{shown.name}"
        lines += [
            f"{place.capitalize()}, {shown.gain:+.1f} dB, {shown.fps:.3g} frames a second:\n",
            shown_at(f"{where}.gif", shown.truth, shown.video) + "\n",
            "<details><summary>depth, flows, mask, warped key frame</summary>\n",
            f"![]({where}.jpg)\n\n</details>\n",
        ]
    return lines


def main() -> None:
    """Writes the page and its pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--count", type=int, default=24, help="scenes, and shots, to rank")
    parser.add_argument("--film", default=UNSEEN, help="left out where it is not there")
    options = parser.parse_args()
    pipeline = MoVideoPipeline.from_pretrained(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    sets = {SCENES: list(of_scenes(pipeline, options.count))}
    if any(Path(options.film).glob("*.mp4")):
        sets[FILM] = list(of_shots(pipeline, options.film, options.count))
    page = [
        "# Gallery\n",
        f"What the model `{options.model}` makes of one picture, the middle frame of clips that no "
        "training has seen: on the left the true clip, on the right the video. Of each set the "
        "best two, the middle and the worst, by PSNR over the picture standing still. "
        f"`python -m benchmarks.gallery`, {date.today()}.\n",
    ]
    for title, found in sets.items():
        page += section(title, found, options.out)
    for title, found in sets.items():
        best = ranked(found)["best"]
        page += [f"## One picture, moved ({title.lower()})\n"]
        page += varied(pipeline, options.out, best.name, best.truth[best.key_index])
    (options.out.parent / f"{options.out.name}.md").write_text("\n".join(page), "utf-8")


if __name__ == "__main__":
    main()
