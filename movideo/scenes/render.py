"""Synthetic scenes with exact depth, flow and visibility.

A scene is a stack of textured layers. Every layer has an inverse depth, translates, rotates and
zooms at its own rate, and is displaced by one camera whose pan shows parallax: near layers move
more. Since a layer is a plane under an affine map, the position of each of its points is known in
every frame, and with it both flows and what hides what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from movideo.scenes.free import draw_free
from movideo.scenes.layer import UNITS, Layer
from movideo.scenes.readable import draw_readable

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


def render_scene(
    seed: int | tuple[int, ...],
    num_frames: int = 17,
    size: tuple[int, int] = (64, 64),
    key_index: int | None = None,
    fps: int | None = None,
    readable: bool = False,
    origin: int | None = None,
) -> Scene:
    """Renders the scene of a seed.

    Args:
        seed: the scene's only source of randomness, one or more whole numbers from 0 up. Speeds
            are per second, so the same scene moves less at a higher frame rate.
        num_frames: F.
        size: `(H, W)` in pixels.
        key_index: the key frame, the centre frame `F // 2` by default.
        fps: frames per second, drawn from 3 to 30 by default.
        readable: a picture of it tells its motion (see `movideo.scenes.readable`).
        origin: the frame that shapes are placed in, the key frame by default. The video depends on
            it, and not on the key frame.
    """
    rng = np.random.default_rng(seed)
    drawn_fps = int(rng.choice(FPS_CHOICES))
    fps = drawn_fps if fps is None else fps
    key = num_frames // 2 if key_index is None else key_index
    height, width = size
    pixel = UNITS / min(size)
    start = key if origin is None else origin
    seconds = torch.arange(num_frames, dtype=torch.float64).sub(start).div(fps).float()
    draw_layers = draw_readable if readable else draw_free
    layers = draw_layers(rng, seconds, np.array([width * pixel, height * pixel]), pixel)

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


def _top_layer(layers: list[Layer], own: list[Tensor], pixel: float) -> Tensor:
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
    layers: list[Layer], own: list[Tensor], top: Tensor, pixel: float
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
    layers: list[Layer],
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
