"""Videos made of scenes, and networks small enough to test with."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from movideo.metrics import MeasuredClips
from movideo.motion.space import Motion
from movideo.ops import warp
from movideo.scenes.render import render_scene

KEY = 4


class Judge(torch.nn.Module):
    """Takes what the I3D of FVD takes; its features are colours and how much they change."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert not rescale
        assert not resize
        assert return_features
        assert x.shape[1] == 3
        assert x.shape[2] >= 10
        assert x.shape[3] == 224
        assert x.shape[4] == 224
        change = (x[:, :, 1:] - x[:, :, :-1]).abs().mean(dim=(2, 3, 4))
        return torch.cat([x.mean(dim=(2, 3, 4)), change], dim=1)


class Classifier(torch.nn.Module):
    """Logits of three classes: the mean colours."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4))


def write_script(module: torch.nn.Module, path: Path) -> str:
    """Writes TorchScript; gives its sha256."""
    torch.jit.script(module).save(path)
    return sha256_of(path)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def random_clips(count: int, frames: int = 4, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(count, 1, 3, 1, 1, generator=generator)
    noise = torch.rand(count, frames, 3, side, side, generator=generator)
    return (base + noise - 1).clamp(-1, 1)


def judged(video: Tensor, **given: Any) -> MeasuredClips:
    count = len(video)
    names = given.pop("names", [f"video {i}" for i in range(count)])
    fields = {
        "fps": torch.full((count,), 8.0),
        "key_index": torch.full((count,), video.shape[1] // 2),
        "references": None if given.get("truth") is None else names,
    }
    return MeasuredClips(names=names, video=video, **(fields | given))


def part(clips: MeasuredClips, index: list[int]) -> MeasuredClips:
    """Some of them, in that order."""

    def chosen(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[index]
        if isinstance(value, Motion):
            return Motion(**{n: chosen(v) for n, v in value.fields().items()})
        return [value[i] for i in index] if isinstance(value, list) else value

    fields = {key: chosen(value) for key, value in vars(clips).items() if key != "shared"}
    return MeasuredClips(**fields)


@cache
def moving_scenes(count: int) -> dict[str, Any]:
    """True clips that move over 4 pixels, and their motion."""
    scenes, seed = [], 0
    while len(scenes) < count:
        scene = render_scene(seed, num_frames=9, size=(64, 64), key_index=KEY, fps=4)
        if scene.flow_i2v.norm(dim=1).amax() > 4:
            scenes.append(scene)
        seed += 1
    return {
        "truth": torch.stack([scene.video for scene in scenes]),
        "motion": Motion(
            *(
                torch.stack([getattr(scene, name) for scene in scenes])
                for name in ("depth", "flow_i2v", "flow_v2i")
            )
        ),
    }


def made_of(truth: Tensor, motion: Motion) -> dict[str, Tensor]:
    """What pure warping and ways to cheat make of clips, given their own motion."""
    key = truth[:, KEY : KEY + 1]
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {
        "warped": warp(key, motion.flow_i2v),
        "frozen": key.expand_as(truth),
        "grey": torch.zeros_like(truth),
        "noise": noise,
    }
