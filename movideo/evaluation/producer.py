"""What methods make of a batch, made once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from movideo.clips.batch import EvaluationBatch, key_frames
from movideo.diffusion import sample_generator
from movideo.errors import UserError
from movideo.estimators import DepthEstimator, FlowEstimator
from movideo.evaluation.methods import Method, MethodInput
from movideo.evaluation.samples import SampleFolder
from movideo.metrics.clips import MeasuredClips
from movideo.motion.labels import label_motion
from movideo.motion.space import Motion
from movideo.ops import normalize_depth
from movideo.shards.labels import label_clip
from movideo.storage.digest import hex_digest
from movideo.text_to_image import TextToImage, required
from movideo.video.decoding.pixels import quantize, to_float

Recipe = dict[str, Any]
FIELDS = ("depth", "flow_i2v", "flow_v2i")
# Kept beside the methods' videos, for estimating it takes time too; no method's folder is hidden.
TRUE_MOTION = ".true_motion"


@dataclass(frozen=True)
class SampleProducer:
    """Has methods make videos, and keeps these.

    What a method gives depends on its batch in the last digits (floating-point sums). So batches
    are made as a whole, also where only some of their samples are missing.

    Attributes:
        samples: where they are kept.
        depth_estimator: estimates the motion of true clips that come without labels.
        flow_estimator: likewise.
        text_to_image: draws the key frames of prompts.
        seed: of the noise; each sample's own depends on its name too.
        keeps_motion: whether metrics need to know the motion that videos were asked to have.
    """

    samples: SampleFolder
    depth_estimator: DepthEstimator
    flow_estimator: FlowEstimator
    text_to_image: TextToImage | None
    seed: int
    keeps_motion: bool

    @property
    def estimators(self) -> str:
        """What estimates the motion of true clips."""
        settings = self.depth_estimator.settings(), self.flow_estimator.settings()
        return ", ".join(json.dumps(each, sort_keys=True) for each in settings)

    def judged(
        self, methods: Mapping[str, Method], batch: EvaluationBatch
    ) -> Iterator[tuple[str, MeasuredClips]]:
        """The videos of each method, by its title, beside the truth.

        Raises:
            UserError: a method needs true clips and the data has none; a sample was made otherwise.
        """
        given, shared = _BatchInput(self, batch), dict[object, Tensor]()
        truth = None if given.video is None else to_float(quantize(given.video))
        for title, method in methods.items():
            if method.needs_clip and truth is None:
                raise UserError(
                    f"model.methods: {title} needs true clips, and the data has none; leave it out"
                )
            made = self._made(title, method, given)
            motion = None
            if self.keeps_motion and method.makes_motion:
                motion = _motion(made)
            elif self.keeps_motion and truth is not None:
                motion = given.motion
            yield (
                title,
                MeasuredClips(
                    names=batch["name"],
                    video=to_float(made["video"]),
                    fps=batch["fps"],
                    key_index=batch["key_index"],
                    truth=truth,
                    references=None if truth is None else batch.get("reference", batch["name"]),
                    prompts=batch.get("prompt"),
                    motion=motion,
                    shared=shared,
                ),
            )

    def _made(self, title: str, method: Method, given: _BatchInput) -> dict[str, Tensor]:
        fields = FIELDS if self.keeps_motion and method.makes_motion else ()

        def make() -> dict[str, Tensor]:
            made = method.make(given.for_method(method))
            motion = {name: getattr(made.motion, name).half() for name in fields}
            return {"video": quantize(made.video), **motion}

        def settings(index: int) -> Recipe:
            motion = {"motion_of_clips": given.motion_source(index)} if method.needs_clip else {}
            return method.settings() | motion

        return self.kept(title, settings, given, make, ("video", *fields))

    def kept(
        self,
        title: str,
        settings: Callable[[int], Recipe],
        given: _BatchInput,
        make: Callable[[], dict[str, Tensor]],
        fields: Sequence[str],
    ) -> dict[str, Tensor]:
        """What `make` gives for a batch, tensors `(B, ...)`; from the files where all are there.

        A file that lacks one of `fields` is made again: no metric needed it when it was made.
        """
        names = given.batch["name"]
        recipes = [given.recipe(i) | {"settings": settings(i)} for i in range(len(names))]

        def load() -> list[dict[str, Tensor] | None]:
            found = (self.samples.load(title, n, r) for n, r in zip(names, recipes, strict=True))
            return [row if row and row.keys() >= set(fields) else None for row in found]

        there = load()
        if None in there:
            made = make()
            for i, found in enumerate(there):
                if found is None:
                    sample = {key: value[i] for key, value in made.items()}
                    self.samples.save(title, names[i], recipes[i], sample)
            there = load()
        rows = [row for row in there if row is not None]
        device = given.batch["fps"].device
        return {key: torch.stack([row[key] for row in rows]).to(device) for key in fields}


class _BatchInput:
    """A batch, and what is made of it only where something is missing."""

    def __init__(self, producer: SampleProducer, batch: EvaluationBatch) -> None:
        self.producer = producer
        self.batch = batch
        self.video = batch.get("video")

    @property
    def num_frames(self) -> int:
        return self.batch["num_frames"] if self.video is None else self.video.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        if self.video is None:
            return self.batch["size"]
        return self.video.shape[-2], self.video.shape[-1]

    def motion_source(self, index: int) -> str:
        """Where the motion of a true clip comes from; other labels are told apart."""
        if "depth" not in self.batch:
            return self.producer.estimators
        fields = (self.batch[name][index] for name in FIELDS)  # type: ignore[literal-required]
        return f"labels {_digest(*fields)}"

    def recipe(self, index: int) -> Recipe:
        """What a sample depends on besides its method."""
        recipe: Recipe = {
            "seed": self.producer.seed,
            "num_frames": self.num_frames,
            "size": list(self.size),
            "fps": round(float(self.batch["fps"][index]), 6),
            "key_index": int(self.batch["key_index"][index]),
        }
        if self.video is not None:
            recipe["clip"] = _digest(quantize(self.video[index]))
        if "prompt" in self.batch:
            recipe["prompt"] = self.batch["prompt"][index]
        if self._draws:
            recipe["text_to_image"] = required(self.producer.text_to_image).settings
        return recipe

    @property
    def _draws(self) -> bool:
        """Whether key frames are drawn from prompts; the prompt of a clip says what to draw."""
        return "prompt" in self.batch

    @cached_property
    def image(self) -> Tensor:
        """The key frames `(B, 3, H, W)`."""
        if not self._draws:
            assert self.video is not None
            return key_frames(self.video, self.batch["key_index"])
        draw = self.producer.text_to_image
        assert draw is not None
        return draw.to(self.batch["fps"].device)(
            self.batch["prompt"], self.size, self._generators()
        )

    @cached_property
    def motion(self) -> Motion:
        """That of the true clips, at their size."""
        assert self.video is not None
        if "depth" in self.batch:
            return label_motion(self.batch)  # type: ignore[arg-type]
        estimators = {"estimators": self.producer.estimators}
        fields = self.producer.kept(TRUE_MOTION, lambda _: estimators, self, self._estimate, FIELDS)
        motion = _motion(fields)
        assert motion is not None
        return motion

    def _estimate(self) -> dict[str, Tensor]:
        assert self.video is not None
        depth = self.producer.depth_estimator.to(self.video.device)
        flow = self.producer.flow_estimator.to(self.video.device)
        labels = [
            label_clip(clip, int(key), depth, flow)
            for clip, key in zip(self.video, self.batch["key_index"], strict=True)
        ]
        aligned = torch.stack([row.aligned_depth for row in labels])
        return {
            "depth": normalize_depth(aligned).half(),
            "flow_i2v": torch.stack([row.flow_i2v for row in labels]).half(),
            "flow_v2i": torch.stack([row.flow_v2i for row in labels]).half(),
        }

    def for_method(self, method: Method) -> MethodInput:
        return MethodInput(
            image=self.image,
            fps=self.batch["fps"],
            key_index=self.batch["key_index"],
            num_frames=self.num_frames,
            generators=self._generators(),
            video=self.video,
            motion=self.motion if method.needs_clip else None,
        )

    def _generators(self) -> list[torch.Generator]:
        return [sample_generator(self.producer.seed, name) for name in self.batch["name"]]


def _motion(tensors: Mapping[str, Tensor]) -> Motion | None:
    if not set(FIELDS) <= set(tensors):
        return None
    depth, flow_i2v, flow_v2i = (tensors[name].float() for name in FIELDS)
    return Motion(depth, flow_i2v, flow_v2i)


def _digest(*tensors: Tensor) -> str:
    return hex_digest(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors))[:16]
