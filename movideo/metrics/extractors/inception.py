"""The Inception network of FID."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.needs import CachedFile, WeightSpec
from movideo.hub.weight_files import LOADING_ERRORS, cache_folder, first_line
from movideo.metrics.base import Description
from movideo.metrics.extractors.base import (
    Extractor,
    cached,
    read_trusted,
    spread_frames,
)
from movideo.video.decoding.pixels import quantize

if TYPE_CHECKING:
    from torch import nn

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
PUBLISHED = f"github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"


class InceptionV3(Extractor):
    """The Inception of FID, before its last layer: 2048 features a frame.

    torch-fidelity's network, which resizes to 299x299 as TensorFlow 1 did.

    Args:
        path: to its weights; by default where torch would keep them, if they are there.
        frames: how many frames a video it is shown, spread evenly. At 4, the features of
            all test captions of MSR-VTT are 2 GB, and at the end each process has some copies.
        sha256: the file's.

    Raises:
        UserError: the file cannot be read, or has another hash.
    """

    weight_spec = WeightSpec(cached=CachedFile(FILE, f"from https://{PUBLISHED}", 95_600_000))

    def __init__(self, path: str | None = None, frames: int = 4, sha256: str = SHA256) -> None:
        super().__init__()
        if frames < 1:
            raise UserError(f"frames: {frames}; Inception needs at least 1 a video")
        self.path = path or cached(FILE)
        self.frames = frames
        self.sha256 = sha256
        self.network: nn.Module | None = None
        if self.unavailable() is None and self.path is not None:
            self.network = _load(self.path, sha256)

    @override
    def unavailable(self) -> str | None:
        if find_spec("torch_fidelity") is None:
            return "needs the package torch-fidelity: pip install torch-fidelity"
        if self.path is None:
            return (
                f"name {FILE} (sha256 {self.sha256}, from {PUBLISHED}) as `path`, "
                f"or put it into {cache_folder()}"
            )
        return None

    @torch.no_grad()
    @override
    def forward(self, video: Tensor) -> Tensor:
        assert self.network is not None, self.unavailable()
        shown = spread_frames(video, self.frames)
        as_bytes = quantize(shown)
        features: Tensor
        (features,) = self.network(as_bytes.flatten(0, 1))
        return features.view(*shown.shape[:2], -1)

    @override
    def protocol(self) -> Description:
        return {
            "extractor": f"{FILE}, sha256 {self.sha256}, 2048 features",
            "frames": f"{self.frames} a video, evenly spread",
            "resize": "bilinear to 299x299 as in TensorFlow 1",
        }


def _load(path: str, sha256: str) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    content = read_trusted(path, sha256)
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
        with TemporaryDirectory() as folder:  # its own reading would run what a pickle holds
            plain = Path(folder, FILE)
            torch.save(state, plain)
            network: nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], str(plain))
    except LOADING_ERRORS as error:
        raise UserError(
            f"{path}: not the weights of Inception ({first_line(error)}); name another file"
        ) from error
    return network
