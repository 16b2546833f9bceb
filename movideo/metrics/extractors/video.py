"""Networks that look at whole videos.

TorchScript is code: a file can do on loading whatever the program may. So only a file whose SHA-256
was named, by us or by the user, is loaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from movideo.errors import UserError
from movideo.hub.needs import CachedFile, WeightSpec
from movideo.hub.weight_files import LOADING_ERRORS, cache_folder, fingerprint, first_line
from movideo.metrics.base import Description
from movideo.metrics.extractors.base import (
    Extractor,
    cached,
    fill,
    middle_frames,
    read_trusted,
)

I3D_FILE = "i3d_torchscript.pt"
I3D_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
C3D_FILE = "c3d_ucf101.pt"

Size = tuple[int, int]


class VideoNetwork(Extractor):
    """Any network that maps `(B, 3, F, H, W)` to `(B, D)`.

    Args:
        module: the network.
        frames: how many consecutive frames it is shown, from the middle of the clip; all by
            default.
        size: `(H, W)` that frames are resized to cover, bilinearly, and cut to at the centre; as
            they are by default.
        value_range: what black and white are to it.
    """

    least_frames = 1

    def __init__(
        self,
        module: nn.Module,
        frames: int | None = None,
        size: Size | None = None,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.module = module.eval()
        for parameter in module.parameters():  # TorchScript has no `requires_grad_`
            parameter.requires_grad_(False)
        self.frames = frames
        self.size = size
        self.value_range = value_range

    @torch.no_grad()
    @override
    def forward(self, video: Tensor) -> Tensor:
        video = middle_frames(video, self.frames, self.least_frames).float()
        if self.size is not None:
            resized = fill(video.flatten(0, 1), self.size, mode="bilinear", antialias=False)
            video = resized.unflatten(0, video.shape[:2])
        low, high = self.value_range
        return self.call((video.transpose(1, 2) + 1) / 2 * (high - low) + low)

    def call(self, video: Tensor) -> Tensor:
        """Runs the network on videos `(B, 3, F, H, W)` made ready for it."""
        features: Tensor = self.module(video)
        return features

    @override
    def protocol(self) -> Description:
        return {
            "extractor": self.extractor,
            "frames": "all" if self.frames is None else f"the middle {self.frames}",
            "resize": "none"
            if self.size is None
            else f"bilinear to cover {self.size[0]}x{self.size[1]}, centre crop",
        }

    @property
    def extractor(self) -> str:
        """The network by name and hash."""
        return f"{type(self.module).__name__}, weights {fingerprint(self.module)}"


class ScriptedNetwork(VideoNetwork):
    """A TorchScript file; without one the metrics that need it are unavailable.

    Raises:
        UserError: the file cannot be read or run, has another hash, or none was named.
    """

    file_name: str
    known_as: str

    def __init__(
        self, path: str | None, sha256: str | None, frames: int | None, **shown: Any
    ) -> None:
        if sha256 is not None:
            path = path or cached(self.file_name)
        if path is not None and sha256 is None:
            raise UserError(
                f"{path}: TorchScript is code, so say which file you trust: `sha256sum {path}` "
                "gives what to set as `sha256`"
            )
        module = nn.Identity() if path is None else _load_script(path, sha256 or "")
        super().__init__(module, frames, **shown)
        self.path = path
        self.sha256 = sha256

    @override
    def unavailable(self) -> str | None:
        if self.path is not None:
            return None
        known = "its `sha256` beside it" if self.sha256 is None else f"sha256 {self.sha256}"
        return (
            f"name {self.file_name} ({self.known_as}; {known}) as `path`, "
            f"or put it into {cache_folder()}"
        )

    @property
    @override
    def extractor(self) -> str:
        return f"{self.file_name}, sha256 {self.sha256}"


class I3D(ScriptedNetwork):
    """The I3D of Kinetics-400 that FVD is computed with, before its softmax.

    Shown at 224x224, all frames by default.

    Args:
        path: to `i3d_torchscript.pt`, 51,235,320 bytes, as StyleGAN-V's authors published it; by
            default where torch would keep it, if it is there.
        frames: see `VideoNetwork`; 10 at least.
        sha256: the file's.
    """

    weight_spec = WeightSpec(
        cached=CachedFile(I3D_FILE, "as StyleGAN-V's authors published it", 51_235_320)
    )

    file_name = I3D_FILE
    known_as = "51,235,320 bytes, published with StyleGAN-V"
    least_frames = 10

    def __init__(
        self, path: str | None = None, frames: int | None = None, sha256: str = I3D_SHA256
    ) -> None:
        super().__init__(path, sha256, frames, size=(224, 224))

    @override
    def call(self, video: Tensor) -> Tensor:
        features: Tensor = self.module(video, rescale=False, resize=False, return_features=True)
        return features


class C3D(ScriptedNetwork):
    """The C3D that knows the classes of UCF-101, with which the Inception Score of video is meant.

    The file that StyleGAN-V's authors published, after TGANv2's, takes bytes of any size, resizes
    them itself and gives probabilities.

    Args:
        path: to `c3d_ucf101.pt`, or another network of classes; likewise.
        sha256: the file's; must be given.
        frames: see `VideoNetwork`; 16 as it was trained.
        size: see `VideoNetwork`.
        value_range: see `VideoNetwork`.
    """

    weight_spec = WeightSpec(
        cached=CachedFile(
            C3D_FILE,
            "as StyleGAN-V's authors published it (give its sha256)",
            unless="classifier",  # of `InceptionScore`, which needs the same
        )
    )

    file_name = C3D_FILE
    known_as = "published with StyleGAN-V"

    def __init__(
        self,
        path: str | None = None,
        sha256: str | None = None,
        frames: int = 16,
        size: Size | None = None,
        value_range: tuple[float, float] = (0.0, 255.0),
    ) -> None:
        super().__init__(path, sha256, frames, size=size, value_range=value_range)


def _load_script(path: str, sha256: str) -> nn.Module:
    content = read_trusted(path, sha256)
    try:
        module: nn.Module = torch.jit.load(content, map_location="cpu")
    except LOADING_ERRORS as error:
        raise UserError(
            f"{path}: no TorchScript network ({first_line(error)}); name another file"
        ) from error
    return module
