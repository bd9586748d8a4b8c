"""Bilinear upsampling in two passes: along the width, then along the height.

Torch's decomposition, which Inductor compiles, reads four elements for each result, one by one. Here the first pass is
kept in memory, and the second one, which does most of the work, is vectorized. The results are those of the
decomposition, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch._prims_common import suggest_memory_format
from torch.fx import GraphModule, Node

from ._graph import replace_node, values_of


def upsample_in_two_passes(module: GraphModule) -> None:
    """Replaces the bilinear upsampling of an exported program where this may be faster."""
    for node in list(module.graph.nodes):
        if not _suits(node):
            continue
        x, _, align_corners, scales = node.args
        size = tuple(node.meta["val"].shape[2:])
        replace_node(node, upsample, (x, size, align_corners, scales))
    module.recompile()


def upsample(
    x: torch.Tensor, size: tuple[int, int], align_corners: bool, scales: Sequence[float] | None
) -> torch.Tensor:
    """Like torch's upsample_bilinear2d."""
    layout = suggest_memory_format(x)
    scale_height, scale_width = scales or (None, None)
    wide = _between(x, 3, size[1], align_corners, scale_width).contiguous(memory_format=layout)
    # Inductor would compute these again for each result, unless it is asked for their place in memory.
    wide = torch.as_strided(wide, wide.shape, wide.stride())
    return _between(wide, 2, size[0], align_corners, scale_height).contiguous(memory_format=layout)


def _between(x: torch.Tensor, dim: int, size: int, align_corners: bool, scale: float | None) -> torch.Tensor:
    """Linear interpolation along a dimension."""
    length = x.shape[dim]
    place = torch.arange(size, device=x.device).to(x.dtype)
    if align_corners:
        place = place * ((length - 1) / (size - 1) if size > 1 else 0)
    else:
        place = (place + 0.5) * (1 / scale if scale else length / size) - 0.5
    place = place.clamp(min=0).reshape(-1, *[1] * (3 - dim))
    before = place.to(torch.int64)
    after = (before + 1).clamp(max=length - 1)
    first, second = (torch.ops.aten._unsafe_index(x, [None] * dim + [i.flatten()]) for i in (before, after))
    return first + (second - first) * (place - before).clamp(0.0, 1.0)


def _suits(node: Node) -> bool:
    if node.target is not torch.ops.aten.upsample_bilinear2d.vec or node.kwargs or len(node.args) != 4:
        return False
    values = values_of(node.args[0], node)
    if values is None:
        return False
    x, y = values
    sizes = (*x.shape[2:], *y.shape[2:])
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and all(isinstance(size, int) for size in sizes)
        and y.shape[2] >= 2 * x.shape[2]
    )
