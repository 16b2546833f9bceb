"""Training, validation and test sets: whole videos, never parts of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from movideo.clips.clip import Clip
from movideo.storage.digest import hex_digest

TRAIN = "train"


def split_by_video(
    sources: Sequence[Sequence[Clip]], fractions: Mapping[str, float], seed: int
) -> dict[str, list[list[Clip]]]:
    """Divides the clips of several sources by the video that they come from.

    Each part gets its share of the videos, rounded, at least one while a video is left for
    training, and all that are left for a share of 1. The videos' order is a hash of seed and
    content: it depends neither on names nor on folders, and one more video moves no more than one
    other out of each part, as the shares demand.

    Args:
        sources: the clips of each source.
        fractions: share of the videos, 0 to 1, by name of the part.
        seed: decides the order of the videos.

    Returns:
        For `train` and each named part its clips of each source.
    """
    hashes = {clip.content_hash for clips in sources for clip in clips}
    part_of = _part_of(hashes, fractions, seed)
    return {
        part: [[clip for clip in clips if part_of[clip.content_hash] == part] for clips in sources]
        for part in (TRAIN, *fractions)
    }


def _part_of(
    content_hashes: Iterable[str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    def rank(content_hash: str) -> str:
        return hex_digest(f"{seed}:{content_hash}")

    videos = sorted(content_hashes, key=rank)
    part_of = dict.fromkeys(videos, TRAIN)
    taken = 0
    for name, fraction in fractions.items():
        share = max(1, round(fraction * len(videos))) if fraction > 0 else 0
        share = min(share, len(videos) - taken - (fraction < 1))
        part_of.update(dict.fromkeys(videos[taken : taken + share], name))
        taken += max(share, 0)
    return part_of
