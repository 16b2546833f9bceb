"""The pictures that the demo makes videos of, of clips that no training has seen.

python -m benchmarks.demo_pictures FOLDER

`FOLDER/scene.png` is the middle frame of a scene of the frozen set, `FOLDER/film.png` that of a
shot of a film, which is laid into `FOLDER/real_unseen`.
"""

import sys
from pathlib import Path

from benchmarks import sample_clips
from datamodules.video_clips import FROZEN_SCENES
from movideo.video.read import probe, read_frames
from movideo.video.write import write_image

SCENE = 13  # of two shapes that move far


def main(place: str) -> None:
    """Writes both, and the clips that they are of."""
    folder = Path(place)
    unseen = folder / "real_unseen"
    sample_clips.copy(str(unseen), sample_clips.HELD_OUT)
    scene = FROZEN_SCENES.render(SCENE)
    write_image(folder / "scene.png", scene.video[scene.key_index])
    (film,) = unseen.iterdir()
    times = probe(film).times
    write_image(folder / "film.png", read_frames(film, [times[len(times) // 2]])[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
