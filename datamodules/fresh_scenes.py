"""Scenes that are rendered where they are wanted: no clip is ever seen twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from datamodules.sampler import Place
from movideo.clips.key_places import KeyFramePlaces
from movideo.scenes.files import SceneSettings
from movideo.shards.shard import identity_alignment
from movideo.video.decoding.pixels import quantize


@dataclass(frozen=True)
class FreshScenes:
    """A new scene at every place of every epoch, with its exact labels.

    Attributes:
        settings: of the scenes; those of the files, whose indices come first, are never among them.
        epoch_length: places of an epoch.
        key_frames: where their key frames stand.
    """

    settings: SceneSettings
    epoch_length: int
    key_frames: KeyFramePlaces

    def __call__(self, place: Place) -> dict[str, Any]:
        """A `StoredBatch` without its leading B; a function of the place and the settings alone."""
        index = self.settings.count + place.epoch * self.epoch_length + place.position
        name = f"{self.settings.folder_name}/{index}"
        key_index = self.key_frames.draw(self.settings.num_frames, name)
        scene = self.settings.render(index, key_index=key_index)
        return {
            "video": quantize(scene.video),
            "fps": torch.tensor(scene.fps, dtype=torch.float32),
            "key_index": torch.tensor(scene.key_index),
            "name": name,
            "depth": scene.depth.half(),
            "flow_i2v": scene.flow_i2v.half(),
            "flow_v2i": scene.flow_v2i.half(),
            "depth_alignment": identity_alignment(len(scene.video)),
        }
