"""Forward splatting, and with it the inverse of a flow."""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 0.05  # pixels of the source by which footprints overlap: flow that is not affine cracks
MAX_STRETCH = 8.0  # pixels of the target that one pixel may cover; what stretches more is torn
_NOTHING = torch.iinfo(torch.int64).min


@torch.no_grad()
def splat(x: Tensor, flow: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Carries a field along a flow; where several points land, the nearest is seen.

    A pixel is a small plane, on which field and flow continue along their own slopes: it lands as a
    parallelogram, so what turns, grows or shrinks has no cracks, and affine motion is followed
    exactly. A slope is the smaller of the steps to both neighbours, so that it does not reach
    across an edge. Pixels that the flow turns over or tears are left out.

    The same bytes every time, on any device; computed in float32, without gradients.

    Args:
        x: `(…, C, H, W)`. Leading dimensions broadcast: a key frame `(1, C, H, W)` is carried along
            `(F, 2, H, W)`.
        flow: `(…, 2, H, W)`, pixels, on the grid of `x`: where its points go.
        depth: `(…, 1, H, W)` on the grid of `x`, near is large. Of points equally near, the first
            in reading order is seen.

    Returns:
        The field where it lands, `(…, C, H, W)`, 0 in holes; and `(…, 1, H, W)`, false in
        holes.

    Raises:
        ValueError: channels, heights or widths do not fit.
    """
    size = flow.shape[-2:]
    if (flow.shape[-3], depth.shape[-3]) != (2, 1) or not size == x.shape[-2:] == depth.shape[-2:]:
        raise ValueError(
            f"x {tuple(x.shape)}, flow {tuple(flow.shape)} and depth {tuple(depth.shape)}: "
            "need (…, C, H, W), (…, 2, H, W) and (…, 1, H, W)"
        )
    lead = torch.broadcast_shapes(*(field.shape[:-3] for field in (x, flow, depth)))
    field, flow, depth = (
        each.float().expand(*lead, -1, -1, -1).reshape(-1, *each.shape[-3:])
        for each in (x, flow, depth)
    )
    # Centre, and what a step right and a step down lead to: the Jacobian of the motion.
    unit_x, unit_y = torch.eye(2, device=flow.device)[:, :, None, None]
    slope_x, slope_y = _slopes(flow)
    footprint = torch.stack([_places(flow) + flow, unit_x + slope_x, unit_y + slope_y], dim=1)
    source = _nearest_source(footprint, depth)
    covered = (source >= 0)[:, None]
    source = source.clamp_min(0)
    seen = _take(footprint, source)
    along_x, along_y = _own_offset(_places(flow), seen).unsqueeze(2).unbind(1)
    field_x, field_y = (_take(slope, source) for slope in _slopes(field))
    landed = _take(field, source) + along_x * field_x + along_y * field_y
    landed = landed.where(covered, 0)
    return landed.reshape(*lead, -1, *size).to(x.dtype), covered.reshape(*lead, 1, *size)


@torch.no_grad()
def invert_flow(flow_v2i: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """The flow back from each frame to the key frame, and the depth that each frame sees.

    Holes show what the key frame hides. They take flow and depth of the far side: of the first
    points beside the hole to the left, to the right, above and below, the one farthest away.

    Args:
        flow_v2i: `(…, 2, H, W)`, pixels, on the grid of the key frame, pointing into each frame.
        depth: `(…, 1, H, W)` on the grid of the key frame, near is large: of the key frame, or one
            for each frame, if points come nearer. Leading dimensions broadcast.

    Returns:
        flow_i2v `(…, 2, H, W)`, pixels, on the grid of each frame, pointing into the key frame: 0
        exactly where nothing moves; and the depth on that grid, `(…, 1, H, W)`.
    """
    lead = torch.broadcast_shapes(flow_v2i.shape[:-3], depth.shape[:-3])
    flow, near, places = (
        each.float().expand(*lead, -1, -1, -1) for each in (flow_v2i, depth, _places(flow_v2i))
    )
    moved, covered = splat(torch.cat([places, near], dim=-3), flow, near)
    moved = moved - torch.cat([places, torch.zeros_like(near)], dim=-3)
    for _ in range(2):  # a corner sees only what the first pass has filled
        moved, covered = _fill_from_far_side(moved, covered)
    # A frame that sees nothing of the key frame: each way back is the opposite of the way there.
    moved = torch.where(covered, moved, torch.cat([-flow, near], dim=-3))
    return moved[..., :2, :, :].to(flow_v2i.dtype), moved[..., 2:, :, :].to(depth.dtype)


def _nearest_source(footprint: Tensor, depth: Tensor) -> Tensor:
    """For each place of the target the pixel seen there, counted in reading order; -1 in holes.

    Args:
        footprint: `(N, 3, 2, H, W)`, the centre and the two sides of each pixel's parallelogram.
        depth: `(N, 1, H, W)`.

    Returns:
        `(N, H, W)`.
    """
    height, width = depth.shape[-2:]
    pixels = height * width
    centre, right, down = footprint.unbind(1)
    extent = right.abs() + down.abs()
    whole = (_cross(right, down) > 0) & (extent <= MAX_STRETCH).all(dim=1)
    reach = (extent.amax(dim=1) * (0.5 + MARGIN) + 0.5).where(whole, -1).long().flatten()
    # Each a row of all pixels `(2, N * H * W)`: x and y.
    rows = [side.movedim(1, 0).flatten(1) for side in (centre, right, down)]
    first = torch.arange(len(depth), device=depth.device).repeat_interleave(pixels) * pixels
    rank = _rank(depth.flatten(1)).flatten()
    highest = torch.full_like(rank, _NOTHING)
    for ring in range(int(reach.max()) + 1):
        # Few parallelograms are large: of each only the places that it reaches are looked at.
        near = (reach >= ring).nonzero()[:, 0]
        (x, y), (ax, ay), (bx, by) = (row[:, near] for row in rows)
        x0, y0 = (x + 0.5).floor(), (y + 0.5).floor()
        area = ax * by - ay * bx
        own_first, own_rank = first[near], rank[near]
        for dx, dy in _ring(ring):
            px, py = x0 + dx, y0 + dy
            gx, gy = px - x, py - y
            inside = ((gx * by - gy * bx) / area).abs() <= 0.5 + MARGIN
            inside &= ((ax * gy - ay * gx) / area).abs() <= 0.5 + MARGIN
            inside &= (px >= 0) & (px < width) & (py >= 0) & (py < height)
            hit = inside.nonzero()[:, 0]
            target = own_first[hit] + (py[hit] * width + px[hit]).long()
            # The highest whole number does not depend on the order in which they come.
            highest.scatter_reduce_(0, target, own_rank[hit], "amax")
    index = pixels - 1 - (highest & 0xFFFFFFFF)
    return torch.where(highest == _NOTHING, -1, index).reshape(-1, height, width)


def _ring(radius: int) -> list[tuple[int, int]]:
    """The steps (x, y) whose longer one is `radius`."""
    steps = range(-radius, radius + 1)
    return [(dx, dy) for dy in steps for dx in steps if max(abs(dx), abs(dy)) == radius]


def _rank(depth: Tensor) -> Tensor:
    """Whole numbers `(N, P)` that sort by depth, then by place from the last to the first."""
    # The bits of float32 sort like whole numbers of which the negative ones run backwards; adding
    # zero turns -0 into 0.
    bits = (depth + 0.0).view(torch.int32).long()
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    place = torch.arange(depth.shape[1] - 1, -1, -1, device=depth.device)
    return ordered * 2**32 + place


def _own_offset(place: Tensor, footprint: Tensor) -> Tensor:
    """Where places `(…, 2, H, W)` lie in footprints `(N, 3, 2, H, W)`: pixels of the source."""
    centre, right, down = footprint.unbind(1)
    gap = place - centre
    offset = torch.stack([_cross(gap, down), _cross(right, gap)], dim=1)
    return offset / _cross(right, down)[:, None]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0, :, :] * b[..., 1, :, :] - a[..., 1, :, :] * b[..., 0, :, :]


def _slopes(field: Tensor) -> tuple[Tensor, Tensor]:
    return _slope(field, -1), _slope(field, -2)


def _slope(field: Tensor, dim: int) -> Tensor:
    """Change per pixel: the smaller of the steps to both neighbours, at borders the only one."""
    if field.shape[dim] == 1:
        return torch.zeros_like(field)
    step = field.diff(dim=dim)
    before = torch.cat([step.narrow(dim, 0, 1), step], dim)
    after = torch.cat([step, step.narrow(dim, -1, 1)], dim)
    return torch.where(before.abs() <= after.abs(), before, after)


def _places(like: Tensor) -> Tensor:
    """The coordinates (x, y) of every pixel, `(2, H, W)`, float32."""
    height, width = like.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device),
        torch.arange(width, device=like.device),
        indexing="ij",
    )
    return torch.stack([x, y]).float()


def _take(field: Tensor, source: Tensor) -> Tensor:
    """The values of `field (N, …, H, W)` at the pixels `source (N, H, W)`."""
    channels = field.flatten(1, -3)
    index = source.flatten(1)[:, None].expand(-1, channels.shape[1], -1)
    return channels.flatten(2).gather(2, index).reshape(field.shape)


def _fill_from_far_side(field: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
    """Fills holes from their row and column; the last channel of `field` is the depth.

    Args:
        field: `(…, C, H, W)`.
        covered: `(…, 1, H, W)`, false in holes.

    Returns:
        The field with holes filled, and what is covered now.
    """
    height, width = field.shape[-2:]
    pixels = height * width
    flat = field.reshape(-1, field.shape[-3], pixels)
    known = covered.reshape(-1, height, width)
    own = torch.arange(pixels, device=field.device).reshape(height, width)
    clip, hole = (~known.flatten(1)).nonzero().unbind(1)
    # (4, M): in each direction the index of the first known pixel, for every hole.
    directions = [index for dim in (1, 2) for index in _first_known(own, known, dim)]
    found = torch.stack([index.flatten(1)[clip, hole] for index in directions])
    exists = (found >= 0) & (found < pixels)
    found = found.where(exists, 0)
    depth = flat[clip, -1, found].where(exists, torch.inf)
    distance = (found // width - hole // width).abs() + (found % width - hole % width).abs()
    distance = distance.where(depth == depth.amin(dim=0), pixels)
    chosen = found.gather(0, distance.argmin(dim=0, keepdim=True))[0]
    filled, seen = flat.clone(), known.flatten(1).clone()
    filled[clip, :, hole] = flat[clip, :, chosen]
    seen[clip, hole] = exists.any(dim=0)
    return filled.reshape(field.shape), seen.reshape(covered.shape)


def _first_known(own: Tensor, known: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Index of the last known pixel up to each, and of the first from it on, along `dim`.

    Args:
        own: index of each pixel, `(H, W)`, which rises along both.
        known: `(N, H, W)`.
        dim: 1 or 2.

    Returns:
        Two of `(N, H, W)`; -1 or H W where there is none.
    """
    before = own.where(known, -1).cummax(dim).values
    after = own.where(known, own.numel()).flip(dim).cummin(dim).values.flip(dim)
    return before, after
