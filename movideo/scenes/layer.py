"""A textured plane: what a scene is a stack of.

Lengths are in *units*: 64 units span the shorter side of the frame, so that a scene is the same at
every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

UNITS = 64.0
TILE = 160.0  # side of a layer's texture tile in units; beyond it the texture is mirrored
WAVELENGTHS = (40.0, 16.0, 6.5)  # units; nothing finer, so that bilinear warping can follow


class Outline(Protocol):
    """The shape of a layer, around the origin of its own coordinates."""

    def distance(self, own: Tensor) -> Tensor:
        """How far own points `(N, P, 2)` are outside, in units along the ray from the origin."""


@dataclass(frozen=True)
class Lobes:
    """A blob with lobes: its look says nothing of its motion."""

    radius: float
    stretch: float
    count: int
    depth: float
    phase: float

    def distance(self, own: Tensor) -> Tensor:
        """See `Outline`."""
        x, y = own[..., 0] / self.stretch, own[..., 1] * self.stretch
        waves = torch.cos(self.count * torch.atan2(y, x) + self.phase)
        return torch.hypot(x, y) - self.radius * (1 + self.depth * waves)


@dataclass(frozen=True)
class Teardrop:
    """A disc and its tangents from a point on its own x axis.

    Attributes:
        radius: of the disc.
        reach: how far the point is from the centre, as a multiple of the radius.
    """

    radius: float
    reach: float = 2.0

    def distance(self, own: Tensor) -> Tensor:
        """See `Outline`."""
        x, y = own.unbind(-1)
        # From the point two tangents touch the disc, this far off the axis.
        touches = math.acos(1 / self.reach)
        off_tangent = (touches - torch.atan2(y, x).abs()).clamp(min=0)
        return torch.hypot(x, y) - self.radius / torch.cos(off_tangent)


@dataclass(frozen=True)
class Layer:
    """A textured plane. Its own coordinates are in units, with the origin at its centre."""

    texture: Tensor  # (3, T, T), RGB in [-1, 1]
    inverse_depth: float
    depth_slope: np.ndarray  # (2,), inverse depth per unit
    poses: Tensor  # (F, 2, 3), own coordinates to image coordinates, units
    outline: Outline | None  # None for the background, which is everywhere

    def to_own(self, points: Tensor, frames: Tensor) -> Tensor:
        """Maps image points `(N, P, 2)` of the given frames `(N,)` to own coordinates."""
        pose = self.poses[frames]
        return _turn(points - pose[:, None, :, 2], torch.linalg.inv(pose[:, :, :2]))

    def to_image(self, own: Tensor, frames: Tensor) -> Tensor:
        """Maps own points `(N, P, 2)` to image coordinates in the given frames `(N,)`."""
        pose = self.poses[frames]
        return _turn(own, pose[:, :, :2]) + pose[:, None, :, 2]

    def coverage(self, own: Tensor, pixel: float) -> Tensor:
        """Share of a square of `pixel` units at own points `(N, P, 2)` that the shape covers."""
        if self.outline is None:
            return torch.ones(own.shape[:2])
        return (0.5 - self.outline.distance(own) / pixel).clamp(0, 1)

    def color(self, own: Tensor) -> Tensor:
        """Texture at the own points `(N, P, 2)`, as `(N, 3, P)`."""
        grid = (own / (TILE / 2))[:, :, None]
        texture = self.texture.expand(len(own), -1, -1, -1)
        color: Tensor = F.grid_sample(texture, grid, padding_mode="reflection", align_corners=False)
        return color[..., 0]

    def depth(self, own: Tensor) -> Tensor:
        """Inverse depth at own points `(N, P, 2)`: a slope, level beyond half a frame's side."""
        x, y = own.clamp(-UNITS / 2, UNITS / 2).unbind(-1)
        return self.inverse_depth + float(self.depth_slope[0]) * x + float(self.depth_slope[1]) * y


def _turn(points: Tensor, matrix: Tensor) -> Tensor:
    """`matrix (N, 2, 2)` applied to `points (N, P, 2)`; written out, for `@` is slow on 2 x 2."""
    x, y = points.unbind(-1)
    rows = matrix[..., None].unbind(1)
    return torch.stack([row[:, 0] * x + row[:, 1] * y for row in rows], -1)


def draw_direction(rng: np.random.Generator) -> np.ndarray:
    """A unit vector `(2,)`, all directions alike."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def make_poses(
    center: np.ndarray,
    angle: float,
    velocity: np.ndarray,
    zoom_rate: float,
    turn_rate: float,
    seconds: Tensor,
) -> Tensor:
    """Poses `(F, 2, 3)` of a layer that moves evenly; `center` is where it is in the key frame."""
    scale = torch.exp(zoom_rate * seconds)
    turn = angle + turn_rate * seconds
    cos, sin = scale * torch.cos(turn), scale * torch.sin(turn)
    place = torch.tensor(center, dtype=torch.float32) + seconds[:, None] * torch.tensor(
        velocity, dtype=torch.float32
    )
    rows = [torch.stack([cos, -sin, place[:, 0]], -1), torch.stack([sin, cos, place[:, 1]], -1)]
    return torch.stack(rows, 1)


def draw_texture(
    rng: np.random.Generator,
    pixel: float,
    color: np.ndarray,
    gradient: np.ndarray | None = None,
    contrast: float = 0.35,
    fineness: float = -0.4,
) -> Tensor:
    """A colour with band-limited noise around it, `(3, T, T)` in [-1, 1].

    Args:
        rng: of the noise.
        pixel: side of a pixel in units.
        color: `(3,)`, RGB in [-1, 1].
        gradient: `(2,)`, of all three along x and y, a unit.
        contrast: amplitude of the noise's longest waves.
        fineness: power of the wavenumber with which the amplitude of the noise grows.
    """
    side = round(TILE / pixel)
    texture = torch.from_numpy(color).float()[:, None, None].expand(3, side, side)
    if gradient is not None:
        place = torch.linspace(-TILE / 2, TILE / 2, side)
        texture = texture + float(gradient[0]) * place + float(gradient[1]) * place[:, None]
    for wavelength in WAVELENGTHS:
        amplitude = contrast * (WAVELENGTHS[0] / wavelength) ** fineness
        cells = max(2, round(2 * TILE / wavelength))
        luminance = rng.normal(0, amplitude, (1, cells, cells))
        chroma = rng.normal(0, amplitude / 3, (3, cells, cells))
        enlarge = _bicubic(cells, side)
        texture = texture + enlarge @ torch.from_numpy(luminance + chroma).float() @ enlarge.T
    return torch.tanh(texture)


@lru_cache
def _bicubic(cells: int, side: int) -> Tensor:
    """Bicubic enlargement of one axis as a matrix `(side, cells)`: faster than torch's own."""
    # The width stays as it is, and so each unit vector shows its weights.
    unit = torch.eye(cells)[None, None]
    return F.interpolate(unit, (side, cells), mode="bicubic", align_corners=False)[0, 0]
