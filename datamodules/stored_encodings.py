"""Training on what frozen encoders made of clips, in place of the clips themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from datamodules.clip_dataset import ClipDataset
from datamodules.shard_folder import ShardFolder
from datamodules.split import TRAIN
from movideo.errors import UserError
from movideo.hub.pretrained import PretrainedModule

logger = logging.getLogger(__name__)


def with_encodings(
    dataset: ClipDataset,
    folders: Mapping[str, ShardFolder[Any]],
    parts: Mapping[str, PretrainedModule],
    may_make: bool,
) -> ClipDataset:
    """Those of the clips that have encodings, and the encodings; also the video if it is needed.

    Args:
        dataset: training clips.
        folders: of encodings, by the names of what made them.
        parts: the parts of a stage that are frozen and see nothing but the clip, by these names.
        may_make: whether encodings that are missing are made.

    Raises:
        UserError: the folders are of none of the parts, or made by others than these; or encodings
            are missing and may not be made.
    """
    served = [name for name in folders if name in parts]
    if not served:
        raise UserError(
            "data.encoders: given, but this stage trains on the video itself; leave it out"
        )
    for name in served:
        _check_same_encoder(name, folders[name], parts[name])
    left = [name for name in parts if name not in served]
    if left:
        logger.warning("data.encoders: without %s; videos are read for it", " and ".join(left))
    sources, stores = dataset.by_source(), []
    for folder in (folders[name] for name in served):
        clips = [clip for source in sources for clip in source]
        if may_make:
            folder.make(clips)
        store = folder.store()
        folder.check_all_made(clips, store)
        sources = folder.with_rows(sources, store, TRAIN)
        stores.append(store)
    return ClipDataset(sources, dataset.labels, stores, bool(left), dataset.exact_colours)


def _check_same_encoder(name: str, folder: ShardFolder[Any], part: PretrainedModule) -> None:
    kept, own = folder.producer.settings[name], part.fingerprint()
    if kept != own:
        raise UserError(
            f"data.encoders.{name}: weights {kept[:8]}, but model.{name} has {own[:8]}; "
            "name the same weights in both"
        )
