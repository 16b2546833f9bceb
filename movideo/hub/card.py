"""The page that goes with a published model: what it is, how it was trained, how it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from movideo.hub import EMBEDDED
from movideo.hub.checkpoint import Checkpoint
from movideo.storage.digest import hex_digest

HEADER = """\
---
library_name: movideo
pipeline_tag: image-to-video
tags:
- movideo
- image-to-video
- depth
- optical-flow
---
"""
USE = """\
## Use

```python
import torch
from diffusers.utils import export_to_video, load_image
from movideo import MoVideoPipeline

pipeline = MoVideoPipeline.from_pretrained("FOLDER_OR_HUB_ID").to("cuda")
image = load_image("picture.jpg")
# The size that the stages were trained at.
result = pipeline(image, height=64, width=64, fps=8, generator=torch.Generator().manual_seed(0))
export_to_video(result.frames[0], "video.mp4", fps=8)
```

or `movideo generate --model FOLDER_OR_HUB_ID --image picture.jpg --out video.mp4`.
"""
LIMITS = """\
## Limits

- A model works at the size, frame rates and kind of video that it was trained on.
- A key frame does not say how fast things move; the scale of the motion is recovered from depth,
  and is uncertain where things hardly move.
- Quality is bound by the estimators that made the depth and flow labels.
- Generated video can be misused to deceive: say that it is generated.
"""
LICENCE = """\
## Licence

movideo and its embedded weights are under Apache-2.0. Weights that came from elsewhere (see the
frozen parts above) stay under their own licence, and so does what was trained from them; who
publishes this model adds a `license` to the head of this page.
"""
PACKAGES = ("movideo", "torch", "diffusers", "open_clip_torch")


@dataclass(frozen=True)
class Training:
    """What is known of the run that made a checkpoint.

    Attributes:
        stage: the LightningModule's class name.
        step: optimiser steps taken.
        digest: of the classes and configs of its parts: the same for runs of the same networks.
        frozen: where each part that it did not train came from.
        data: the data section of the run's config, empty where none lies beside the checkpoint.
        metrics: its `metrics.json`, likewise.
    """

    stage: str
    step: int
    digest: str
    frozen: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_training(checkpoint: Checkpoint) -> Training:
    """Gathers what a checkpoint says, and what the run left in its folder or the one above."""
    configs = {
        name: (part["class_path"], part["config"]) for name, part in checkpoint.components.items()
    }
    text = json.dumps(configs, sort_keys=True, default=str)
    config = _beside(checkpoint.path, "config.yaml")
    return Training(
        stage=checkpoint.stage,
        step=checkpoint.step,
        digest=hex_digest(text)[:12],
        frozen={
            name: _without_folders(part["pretrained"] or "random weights")
            for name, part in checkpoint.components.items()
            if "pretrained" in part
        },
        data=_without_folders(config.get("data") or {}),
        metrics={
            name: value
            for name, value in _beside(checkpoint.path, "metrics.json").items()
            if isinstance(value, int | float)
        },
    )


def model_card(parts: Mapping[str, Any], trainings: Sequence[Training] = ()) -> str:
    """Writes the page, Markdown with the hub's YAML header.

    Args:
        parts: the model's, by name.
        trainings: of its stages, as far as known.
    """
    sections = [
        f"{HEADER}\n# A movideo model\n\nA video is made from one picture by generating its motion "
        "first, depth and two optical\nflows, and then the video under that motion "
        "([MoVideo](https://arxiv.org/abs/2311.11325)).\n",
        USE,
        "## Parts\n\n" + "\n".join(_parts_table(parts)) + "\n",
        *([] if not trainings else ["## Training\n\n" + "\n".join(_training(trainings)) + "\n"]),
        *([f"## Measured\n\n{table}\n"] if (table := "\n".join(_measured(trainings))) else []),
        LIMITS,
        LICENCE,
        "## Versions\n\n" + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + "\n",
    ]
    return "\n".join(sections)


def _parts_table(parts: Mapping[str, Any]) -> Iterator[str]:
    yield "| part | class | parameters |"
    yield "| --- | --- | --- |"
    for name, part in parts.items():
        count = (
            f"{sum(p.numel() for p in part.parameters()):,}" if isinstance(part, nn.Module) else "–"
        )
        yield f"| `{name}` | `{type(part).__name__}` | {count} |"


def _training(trainings: Sequence[Training]) -> Iterator[str]:
    yield "| stage | steps | networks' digest | frozen parts |"
    yield "| --- | --- | --- | --- |"
    for one in trainings:
        frozen = ", ".join(f"{name}: {place}" for name, place in one.frozen.items()) or "–"
        yield f"| `{one.stage}` | {one.step:,} | `{one.digest}` | {frozen} |"
    for one in trainings:
        if one.data:
            section = yaml.safe_dump(dict(one.data), sort_keys=False).rstrip()
            yield f"\nData of `{one.stage}`:\n\n```yaml\n{section}\n```"


def _measured(trainings: Sequence[Training]) -> Iterator[str]:
    if any(one.metrics for one in trainings):
        yield "| stage | metric | value |"
        yield "| --- | --- | --- |"
    for one in trainings:
        for name, value in one.metrics.items():
            yield f"| `{one.stage}` | {name} | {value:.4g} |"


def _beside(checkpoint: Path, name: str) -> dict[str, Any]:
    """A YAML or JSON file of the run: in the checkpoint's folder or the one above."""
    for folder in checkpoint.parents[:2]:
        try:
            content = yaml.safe_load((folder / name).read_text("utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue
        if isinstance(content, dict):
            return content
    return {}


def _without_folders(value: Any) -> Any:
    """Local paths down to their last name: a page for all says nothing of the machine."""
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_folders(v) for v in value]
    if isinstance(value, str) and value != EMBEDDED and (Path(value).is_absolute()):
        return Path(value).name
    return value
