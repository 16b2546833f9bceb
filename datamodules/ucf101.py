"""UCF-101: one sentence a class, and its classes' clips."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from datamodules.evaluation import Description, EvaluationDataModule, Sample, TrueClip
from datamodules.listings import read_lines
from datamodules.proportions import share_out
from movideo.errors import UserError

_LINE = re.compile(r"(?P<path>(?P<class>\w+)/(?P<video>\w+)\.avi)(?: \d+)?")

WORDS = {
    "ApplyEyeMakeup": "applying eye makeup",
    "ApplyLipstick": "applying lipstick",
    "BlowDryHair": "blow-drying hair",
    "BlowingCandles": "blowing out candles",
    "BoxingPunchingBag": "boxing with a punching bag",
    "BoxingSpeedBag": "boxing with a speed bag",
    "BreastStroke": "swimming breaststroke",
    "CuttingInKitchen": "cutting food in a kitchen",
    "FrontCrawl": "swimming front crawl",
    "Haircut": "a haircut",
    "HammerThrow": "a hammer throw",
    "HandstandPushups": "handstand push-ups",
    "JugglingBalls": "juggling balls",
    "JumpRope": "jumping rope",
    "Mixing": "mixing batter",
    "MoppingFloor": "mopping a floor",
    "PlayingDhol": "playing the dhol drum",
    "PullUps": "pull-ups",
    "Punch": "a boxing match with punches",
    "PushUps": "push-ups",
    "RockClimbingIndoor": "indoor rock climbing",
    "ShavingBeard": "shaving a beard",
    "Shotput": "shot put",
    "SkateBoarding": "skateboarding",
    "Skijet": "riding a jet ski",
    "SkyDiving": "skydiving",
    "SoccerPenalty": "a soccer penalty kick",
    "Swing": "playing on a swing",
    "ThrowDiscus": "throwing a discus",
    "WalkingWithDog": "walking with a dog",
    "WallPushups": "wall push-ups",
    "WritingOnBoard": "writing on a board",
    "YoYo": "playing with a yo-yo",
}
"""Classes whose names do not read as words once they are taken apart."""


class UCF101(EvaluationDataModule):
    """Samples of all classes, as often as the classes are among the listed clips.

    Each sample has its class's sentence as its prompt and one of its class's clips beside it: some
    of them, evenly spaced, where the class has more clips than samples, and else all in turn. Only
    classes of which no clip is long enough are left out; the protocol names them.

    That samples follow the classes of the training clips, 10,000 of them, is how Make-A-Video
    (Singer et al. 2022) measures IS and FVD; of what clips FVD is measured against it says nothing.

    Args:
        folder: holds `UCF-101/<Class>/v_<Class>_g01_c01.avi` and `ucfTrainTestlist/trainlist01.txt`
            and so on, as its owners pack it.
        split: whose clips stand beside the samples, and whose classes are counted.
        fold: 1, 2 or 3, which of the official lists.
        template: the sentence; `{}` is replaced by the class in words.
        limit: how many samples.
        **options: as for `EvaluationDataModule`.

    Raises:
        UserError: a number is out of range, or the template has no place for the class.
    """

    data_set = "UCF-101"
    layout = "UCF-101/<Class>/<video>.avi and ucfTrainTestlist/<train or test>list01.txt (02, 03)"

    def __init__(
        self,
        folder: str = "UCF101",
        split: Literal["train", "test"] = "train",
        fold: Literal[1, 2, 3] = 1,
        template: str = "a video of {}",
        limit: int = 10_000,
        **options: Any,
    ) -> None:
        if template.count("{}") != 1:
            raise UserError(f"data.template: {template}; give a sentence with {{}} for the class")
        self.folder = Path(folder)
        self.split = split
        self.fold = fold
        self.template = template
        super().__init__(limit=limit, **options)

    @override
    def videos(self) -> dict[str, Path]:
        listing = self.folder / "ucfTrainTestlist" / f"{self.split}list{self.fold:02d}.txt"
        videos: dict[str, Path] = {}
        for line in read_lines(listing, self.layout):
            match = _LINE.fullmatch(line)
            if match is None:
                raise UserError(f"{listing}: {line} is no <Class>/<video>.avi; unpack it again")
            videos[match["video"]] = self.folder / "UCF-101" / match["path"]
        return videos

    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        """`limit` of them, class by class."""
        assert self.limit is not None
        by_class: dict[str, list[TrueClip]] = {}
        for clip in clips.values():
            by_class.setdefault(clip.path.parent.name, []).append(clip)
        listed = Counter(path.parent.name for path in self.videos().values())
        self._without_clip = sorted(set(listed) - set(by_class))
        counts = share_out(self.limit, [listed[name] for name in by_class])
        return [
            Sample(f"{name}/{index:04d}", self.template.format(words(name)), clip)
            for name, count in zip(by_class, counts, strict=True)
            for index, clip in enumerate(_taken(by_class[name], count))
        ]

    @override
    def described(self) -> Description:
        return {
            "split": f"{self.split}list{self.fold:02d}",
            "prompts": self.template.format("<class in words>"),
            "samples a class": "in proportion to its listed clips",
            "classes left out": ", ".join(self._without_clip) or "none",
        }


def words(name: str) -> str:
    """A class in words: `PlayingCello` is `playing the cello`."""
    if name in WORDS:
        return WORDS[name]
    apart = re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
    return re.sub(r"^playing ", "playing the ", apart)


def _taken(clips: list[TrueClip], count: int) -> list[TrueClip]:
    """So many: evenly spaced ones, or all in turn."""
    if count < len(clips):
        return [clips[index * len(clips) // count] for index in range(count)]
    return [clips[index % len(clips)] for index in range(count)]
