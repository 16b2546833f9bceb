"""Scenes that move freely: nothing in a picture says where its shapes go, or how fast."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from movideo.scenes.layer import UNITS, Layer, Lobes, draw_direction, draw_texture, make_poses


def draw_free(
    rng: np.random.Generator, seconds: Tensor, extent: np.ndarray, pixel: float
) -> list[Layer]:
    """Draws the background and two to four shapes, far to near.

    Args:
        rng: the only source of randomness.
        seconds: `(F,)`, times of the frames, 0 at the key frame.
        extent: `(2,)`, width and height of the frame in units.
        pixel: side of a pixel in units.
    """
    count = int(rng.integers(3, 6))
    inverse_depths = np.linspace(0.15, 0.9, count) + rng.uniform(-0.05, 0.05, count)
    pan = draw_direction(rng) * rng.uniform(0, 6)
    zoom, roll = rng.uniform(-0.06, 0.06, 2)
    layers = []
    for index, inverse_depth in enumerate(inverse_depths):
        background = index == 0
        own_speed = 0.0 if background else rng.uniform(1, 7)
        velocity = pan * inverse_depth + draw_direction(rng) * own_speed
        liveliness = 0.0 if background else 1.0
        poses = make_poses(
            center=extent / 2 if background else extent * rng.uniform(0.15, 0.85, 2),
            angle=rng.uniform(0, 2 * np.pi),
            velocity=velocity,
            zoom_rate=zoom + liveliness * rng.uniform(-0.12, 0.12),
            turn_rate=roll + liveliness * rng.uniform(-0.35, 0.35),
            seconds=seconds,
        )
        layers.append(
            Layer(
                texture=draw_texture(rng, pixel, rng.uniform(-0.7, 0.7, 3)),
                inverse_depth=float(inverse_depth),
                depth_slope=draw_direction(rng) * rng.uniform(0, 0.04) / (UNITS / 2),
                poses=poses,
                outline=_outline(rng, background),
            )
        )
    return layers


def _outline(rng: np.random.Generator, background: bool) -> Lobes | None:
    radius = np.inf if background else float(rng.uniform(7, 15))
    outline = Lobes(
        radius=radius,
        stretch=float(rng.uniform(0.75, 1.33)),
        count=int(rng.integers(2, 6)),
        depth=float(rng.uniform(0, 0.25)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
    return None if background else outline
