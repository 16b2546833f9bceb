"""A metric: a number about a set of videos, in the tests of stages and in tables alike."""

from torch import Tensor

from movideo.metrics import MeasuredClips, VideoMetric


class Flicker(VideoMetric):
    """How much the mean brightness changes from frame to frame, in bytes. A frozen clip has 0."""

    name = "flicker"
    unit = "levels"
    higher_is_better = False
    frozen_clip_wins = True

    def measure(self, clips: MeasuredClips) -> Tensor:
        brightness = clips.video.mean(dim=(2, 3, 4)) * 127.5
        return brightness.diff(dim=1).abs().mean(dim=1)
