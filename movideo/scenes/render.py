"""Synthetic scenes with exact depth, flow and visibility.

A scene is a stack of textured layers. Every layer has an inverse depth, translates, rotates and
zooms at its own rate, and is displaced by one camera whose pan shows parallax: near layers move
more. Since a layer is a plane under an affine map, the position of each of its points is known in
every frame, and with it both flows and what hides what.

Lengths are in *units*: 64 units span the shorter side of the frame, so that a scene is the same at
every size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

UNITS = 64.0
TILE = 160.0  # side of a layer's texture tile in units; beyond it the texture is mirrored
WAVELENGTHS = (40.0, 16.0, 6.5)  # units; nothing finer, so that bilinear warping can follow
FPS_CHOICES = np.unique(np.geomspace(3, 30, 12).round().astype(int))


@dataclass(frozen=True)
class Scene:
    """One rendered clip with its exact labels.

    Attributes:
        video: `(F, 3, H, W)`, RGB in [-1, 1].
        depth: `(F, 1, H, W)`, inverse depth in (0, 1], near is large.
        flow_i2v: `(F, 2, H, W)`, pixels, on the grid of each frame, pointing into the key frame.
        flow_v2i: `(F, 2, H, W)`, pixels, on the grid of the key frame, pointing into each frame.
        visible: `(F, 1, H, W)`, 1.0 where the point seen in frame f is also seen in the key frame.
        layer: `(F, 1, H, W)`, index of the layer seen, 0 is the background.
        fps: frames per second.
        key_index: index of the key frame.
    """

    video: Tensor
    depth: Tensor
    flow_i2v: Tensor
    flow_v2i: Tensor
    visible: Tensor
    layer: Tensor
    fps: int
    key_index: int


@dataclass(frozen=True)
class _Layer:
    """A textured plane. Its own coordinates are in units, with the origin at its centre."""

    texture: Tensor  # (3, T, T), RGB in [-1, 1]
    inverse_depth: float
    depth_slope: np.ndarray  # (2,), inverse depth per unit
    poses: Tensor  # (F, 2, 3), own coordinates to image coordinates, units
    radius: float  # infinite for the background
    stretch: float
    lobes: int
    lobe_depth: float
    lobe_phase: float

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
        if np.isinf(self.radius):
            return torch.ones(own.shape[:2])
        x, y = own[..., 0] / self.stretch, own[..., 1] * self.stretch
        outline = self.radius * (
            1 + self.lobe_depth * torch.cos(self.lobes * torch.atan2(y, x) + self.lobe_phase)
        )
        return (0.5 - (torch.hypot(x, y) - outline) / pixel).clamp(0, 1)

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


def render_scene(
    seed: int | tuple[int, ...],
    num_frames: int = 17,
    size: tuple[int, int] = (64, 64),
    key_index: int | None = None,
    fps: int | None = None,
) -> Scene:
    """Renders the scene of a seed.

    Args:
        seed: the scene's only source of randomness, one or more whole numbers from 0 up. Speeds
            are per second, so the same scene moves less at a higher frame rate.
        num_frames: F.
        size: `(H, W)` in pixels.
        key_index: the key frame, the centre frame `F // 2` by default.
        fps: frames per second, drawn from 3 to 30 by default.
    """
    rng = np.random.default_rng(seed)
    drawn_fps = int(rng.choice(FPS_CHOICES))
    fps = drawn_fps if fps is None else fps
    key = num_frames // 2 if key_index is None else key_index
    height, width = size
    pixel = UNITS / min(size)
    seconds = torch.arange(num_frames, dtype=torch.float64).sub(key).div(fps).float()
    layers = _draw_layers(rng, seconds, np.array([width * pixel, height * pixel]), pixel)

    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    points = torch.stack([xs, ys], -1).reshape(1, -1, 2).expand(num_frames, -1, -1) * pixel
    frames = torch.arange(num_frames)
    keys = torch.full_like(frames, key)

    own = [layer.to_own(points, frames) for layer in layers]
    top = _top_layer(layers, own, pixel)
    video, depth = _composite(layers, own, top, pixel)
    into_key = _follow(layers, own, points, top, frames, keys)
    own_key = [each[key].expand(num_frames, -1, -1) for each in own]
    from_key = _follow(layers, own_key, points, top[key].expand(num_frames, -1), keys, frames)
    own_there = [layer.to_own(into_key, keys) for layer in layers]
    extent = torch.tensor([width * pixel, height * pixel])
    inside = ((into_key >= 0) & (into_key <= extent)).all(-1)
    visible = inside & (_top_layer(layers, own_there, pixel) == top)

    def image(x: Tensor) -> Tensor:
        return x.reshape(num_frames, -1, height, width).contiguous()

    return Scene(
        video=image(video),
        depth=image(depth),
        flow_i2v=image(((into_key - points) / pixel).transpose(1, 2)),
        flow_v2i=image(((from_key - points) / pixel).transpose(1, 2)),
        visible=image(visible.float()),
        layer=image(top),
        fps=fps,
        key_index=key,
    )


def _draw_layers(
    rng: np.random.Generator, seconds: Tensor, extent: np.ndarray, pixel: float
) -> list[_Layer]:
    """Draws the background and two to four shapes, far to near."""
    count = int(rng.integers(3, 6))
    inverse_depths = np.linspace(0.15, 0.9, count) + rng.uniform(-0.05, 0.05, count)
    pan = _direction(rng) * rng.uniform(0, 6)
    zoom, roll = rng.uniform(-0.06, 0.06, 2)
    layers = []
    for index, inverse_depth in enumerate(inverse_depths):
        background = index == 0
        own_speed = 0.0 if background else rng.uniform(1, 7)
        velocity = pan * inverse_depth + _direction(rng) * own_speed
        liveliness = 0.0 if background else 1.0
        poses = _poses(
            center=extent / 2 if background else extent * rng.uniform(0.15, 0.85, 2),
            angle=rng.uniform(0, 2 * np.pi),
            velocity=velocity,
            zoom_rate=zoom + liveliness * rng.uniform(-0.12, 0.12),
            turn_rate=roll + liveliness * rng.uniform(-0.35, 0.35),
            seconds=seconds,
        )
        layers.append(
            _Layer(
                texture=_draw_texture(rng, pixel),
                inverse_depth=float(inverse_depth),
                depth_slope=_direction(rng) * rng.uniform(0, 0.04) / (UNITS / 2),
                poses=poses,
                radius=np.inf if background else float(rng.uniform(7, 15)),
                stretch=float(rng.uniform(0.75, 1.33)),
                lobes=int(rng.integers(2, 6)),
                lobe_depth=float(rng.uniform(0, 0.25)),
                lobe_phase=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return layers


def _direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _poses(
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


def _draw_texture(rng: np.random.Generator, pixel: float) -> Tensor:
    """A colour with band-limited noise around it, `(3, T, T)` in [-1, 1]."""
    side = round(TILE / pixel)
    texture = torch.from_numpy(rng.uniform(-0.7, 0.7, (3, 1, 1))).float().expand(3, side, side)
    for wavelength in WAVELENGTHS:
        amplitude = 0.35 * (wavelength / WAVELENGTHS[0]) ** 0.4
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


def _top_layer(layers: list[_Layer], own: list[Tensor], pixel: float) -> Tensor:
    """Index `(N, P)` of the nearest layer that covers each point, given in every layer's own way.

    Args:
        layers: far to near.
        own: the points in the own coordinates of each layer, `(N, P, 2)`.
        pixel: side of a pixel in units.
    """
    top = torch.zeros(own[0].shape[:2], dtype=torch.long)
    for index, (layer, points) in enumerate(zip(layers, own, strict=True)):
        top = torch.where(layer.coverage(points, pixel) >= 0.5, index, top)
    return top


def _composite(
    layers: list[_Layer], own: list[Tensor], top: Tensor, pixel: float
) -> tuple[Tensor, Tensor]:
    """Paints the layers from far to near.

    Returns:
        RGB `(N, 3, P)`, and the inverse depth of the layer on top `(N, 1, P)`.
    """
    count, points = top.shape
    video, depth = torch.zeros(count, 3, points), torch.zeros(count, 1, points)
    for index, (layer, places) in enumerate(zip(layers, own, strict=True)):
        coverage = layer.coverage(places, pixel)[:, None]
        video = video + coverage * (layer.color(places) - video)
        depth = torch.where((top == index)[:, None], layer.depth(places)[:, None], depth)
    return video, depth


def _follow(
    layers: list[_Layer],
    own: list[Tensor],
    points: Tensor,
    top: Tensor,
    source: Tensor,
    target: Tensor,
) -> Tensor:
    """Where `points (N, P, 2)`, seen on layers `top` in frames `source`, are in `target`."""
    moved = points.clone()
    for index, (layer, places) in enumerate(zip(layers, own, strict=True)):
        moved = torch.where((top == index)[..., None], layer.to_image(places, target), moved)
    # A frame maps onto itself exactly; the affine round trip would leave rounding errors there.
    return torch.where((source == target)[:, None, None], points, moved)
