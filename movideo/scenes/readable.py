"""Scenes whose motion a picture tells.

A shape points where it goes and is lit from there; it is the warmer the faster it is, and the
larger and brighter the nearer it is. The background is a ramp of brightness that climbs where the
camera's pan takes it, the steeper the faster. Whatever else moves in `movideo.scenes.free`, stands
still here.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from movideo.scenes.layer import UNITS, Layer, Teardrop, draw_direction, draw_texture, make_poses

SLOW, FAST = 2.0, 12.0  # units a second, of a shape
PAN = 3.0  # units a second, of the background at most
CAMERA = 0.01  # the largest zoom and roll, a second
COLD, WARM = np.array([-0.6, -0.1, 0.6]), np.array([0.6, -0.1, -0.6])
GROUND = np.array([-0.25, 0.15, -0.25])  # green: shapes of middling speed are grey
FARTHEST, NEAREST = 0.3, 0.9  # inverse depth of shapes
BACKGROUND = 0.15
BRIGHTENING = 0.5  # of the nearest shape beside the farthest
STEEPEST = 2.0 / UNITS  # gradient of the background's brightness, a unit
LIT = np.array([0.05, 0.0])  # gradient of a shape's brightness, a unit: it is lit from ahead
# Of the texture: fine, so that no blurred picture will do, and fainter than what tells motion.
CONTRAST, FINENESS = 0.115, 0.3


def draw_readable(
    rng: np.random.Generator, seconds: Tensor, extent: np.ndarray, pixel: float
) -> list[Layer]:
    """Draws the background and two to four shapes, far to near; arguments as for `draw_free`."""
    zoom, roll = rng.uniform(-CAMERA, CAMERA, 2)
    layers = [_background(rng, seconds, extent, pixel, zoom, roll)]
    count = int(rng.integers(2, 5))
    for step in range(count):
        nearness = float(np.clip((step + rng.uniform(-0.3, 0.3)) / (count - 1), 0, 1))
        speed = rng.uniform(SLOW, FAST)
        angle = rng.uniform(0, 2 * np.pi)
        warmth = (speed - SLOW) / (FAST - SLOW)
        color = COLD + warmth * (WARM - COLD) + BRIGHTENING * (nearness - 0.5)
        layers.append(
            Layer(
                texture=draw_texture(
                    rng, pixel, color, gradient=LIT, contrast=CONTRAST, fineness=FINENESS
                ),
                inverse_depth=float(FARTHEST + nearness * (NEAREST - FARTHEST)),
                depth_slope=np.zeros(2),
                poses=make_poses(
                    center=extent * rng.uniform(0.15, 0.85, 2),
                    angle=angle,
                    velocity=speed * np.array([np.cos(angle), np.sin(angle)]),
                    zoom_rate=zoom,
                    turn_rate=roll,
                    seconds=seconds,
                ),
                outline=Teardrop(radius=float(6 + 5 * nearness)),
            )
        )
    return layers


def _background(
    rng: np.random.Generator,
    seconds: Tensor,
    extent: np.ndarray,
    pixel: float,
    zoom: float,
    roll: float,
) -> Layer:
    pan = rng.uniform(0, 1)
    direction = draw_direction(rng)
    return Layer(
        texture=draw_texture(
            rng,
            pixel,
            np.zeros(3),
            gradient=pan * STEEPEST * direction,
            contrast=CONTRAST,
            fineness=FINENESS,
        ),
        inverse_depth=BACKGROUND,
        depth_slope=np.zeros(2),
        poses=make_poses(
            center=extent / 2,
            angle=0.0,
            velocity=pan * PAN * direction,
            zoom_rate=zoom,
            turn_rate=roll,
            seconds=seconds,
        ),
        outline=None,
    )
