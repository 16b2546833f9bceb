"""Resizing depth and flow, whose edges must not be averaged."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes a field with edges, such as depth, without making values there that nothing has.

    A side that shrinks takes the sample in the centre of each cell (`nearest-exact`). A side that
    grows continues every sample along its own slope, limited so that it does not reach across an
    edge: a plane comes back as a plane, an edge stays a step, and shrinking again gives back the
    samples.

    Args:
        x: `(…, C, h, w)`.
        size: `(H, W)`; one side may grow while the other shrinks.

    Returns:
        `(…, C, H, W)`.
    """
    height, width = x.shape[-2:]
    smaller = min(height, size[0]), min(width, size[1])
    flat = F.interpolate(x.reshape(-1, 1, height, width), smaller, mode="nearest-exact")
    grown = _grow(_grow(flat, size[0], dim=-2), size[1], dim=-1)
    return grown.reshape(*x.shape[:-2], *size)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes a flow field as `resize` does and its vectors by the ratio of each axis.

    Args:
        flow: `(…, 2, h, w)`, pixels of its grid.
        size: `(H, W)`.

    Returns:
        `(…, 2, H, W)`, pixels of the new grid.
    """
    ratio = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
    return resize(flow, size) * ratio[:, None, None]


def _grow(x: Tensor, length: int, dim: int) -> Tensor:
    """Lengthens one axis: a new place takes its cell's sample plus the slope times the distance."""
    old = x.shape[dim]
    if length == old:
        return x
    place = torch.arange(length, device=x.device)
    cell = (2 * place + 1) * old // (2 * length)
    # Distances count from where shrinking would sample: a cell of even size has no middle pixel.
    centre = (2 * cell + 1) * length // (2 * old)
    distance = (place - centre).to(x.dtype) * (old / length)
    distance = distance.view(-1, *(1,) * (-1 - dim))
    return x.index_select(dim, cell) + _limited_slope(x, dim).index_select(dim, cell) * distance


def _limited_slope(x: Tensor, dim: int) -> Tensor:
    """Change per cell (minmod): the smaller step to a neighbour, zero if the two differ in sign."""
    step = x.diff(dim=dim)
    border = torch.zeros_like(x.narrow(dim, 0, 1))
    before, after = torch.cat([border, step], dim), torch.cat([step, border], dim)
    smaller = torch.where(before.abs() < after.abs(), before, after)
    return smaller.where(before * after > 0, 0)
