"""Convolutions of 3 x 3 by Winograd's minimal filtering, F(4 x 4, 3 x 3): a quarter of the multiplications.

A tile of 6 x 6 inputs gives 4 x 4 outputs. Tiles and weights are transformed by small constant matrices, multiplied
element by element and summed over the channels, which amounts to 36 matrix products (Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", 2015, section 4). It is written in torch operations, from which Inductor makes one
kernel per pass over rows or columns, and fuses what follows into it. Freezing computes the transformed weights, which
are four times as large, when the model is compiled. An input that is infinite or not a number spoils the outputs of all
tiles that contain it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch.fx import GraphModule, Node

from ._graph import replace_node, values_of

# Rows of the matrices B^T, A^T and G for the points 0, 1, -1, 2, -2 and infinity.
_INPUT = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0))
_INPUT += ((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_WEIGHT = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6))
_WEIGHT += ((1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))

# With fewer channels, the transforms take longer than the multiplications that they save; with fewer tiles, reading the
# larger weights does.
_MIN_CHANNELS = 32
_MIN_TILES = 32


def with_winograd(module: GraphModule) -> bool:
    """Replaces the convolutions of an exported program for which this may be faster; False if there are none."""
    suitable = [node for node in module.graph.nodes if _suits(node)]
    for node in suitable:
        arguments = _arguments(node)
        replace_node(
            node, conv2d, (arguments["input"], arguments["weight"], arguments["bias"], arguments["padding"])
        )
    module.recompile()
    return bool(suitable)


def conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: Sequence[int]) -> torch.Tensor:
    """Like torch's conv2d, for an x of four dimensions and a weight of 3 x 3, with stride 1 and one group."""
    count, _, height, width = (size + 2 * pad - 2 for size, pad in zip(x.shape, (1, 1, *padding)))
    rows, columns = -(-height // 4), -(-width // 4)
    top, left = padding
    bottom, right = 4 * rows + 2 - top - x.shape[2], 4 * columns + 2 - left - x.shape[3]

    # Channels innermost, since Inductor vectorizes kernels over rows of them.
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom))
    x = _transformed(_INPUT, [x[:, i : i + 4 * rows - 3 : 4] for i in range(6)])
    x = _transformed(_INPUT, [x[:, :, :, j : j + 4 * columns - 3 : 4] for j in range(6)])
    kernel = weight.double().permute(2, 3, 1, 0)
    kernel = _transformed(_WEIGHT, list(kernel.unbind(0)))
    kernel = _transformed(_WEIGHT, list(kernel.unbind(1))).to(x.dtype)
    products = torch.bmm(x.flatten(0, 1).flatten(1, 3), kernel.flatten(0, 1))
    products = products.unflatten(1, (count, rows, columns)).unflatten(0, (6, 6))
    y = _transformed(_OUTPUT, list(products.unbind(0)), dim=4)
    y = _transformed(_OUTPUT, list(y.unbind(0)), dim=2)
    y = y.flatten(3, 4).flatten(1, 2)[:, :height, :width].permute(0, 3, 1, 2)
    return y if bias is None else y + bias[:, None, None]


def _transformed(matrix: Sequence[Sequence[float]], parts: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """The product of the matrix and the parts, stacked."""
    sums = []
    for row in matrix:
        terms = [part if factor == 1 else part * factor for factor, part in zip(row, parts) if factor != 0]
        sums.append(sum(terms[1:], terms[0]))
    return torch.stack(sums, dim)


def _arguments(node: Node) -> dict[str, object]:
    normalized = node.normalized_arguments(node.graph.owning_module, normalize_to_only_use_kwargs=True)
    return {} if normalized is None else normalized.kwargs


def _suits(node: Node) -> bool:
    if node.target not in (torch.ops.aten.conv2d.default, torch.ops.aten.convolution.default):
        return False
    arguments = _arguments(node)
    values = values_of(arguments.get("input"), arguments.get("weight"), node)
    if values is None:
        return False
    x, kernel, y = values
    batch = x.shape[0] if isinstance(x.shape[0], int) else 1  # comparing a symbol would add a guard
    return (
        x.dtype == kernel.dtype == torch.float32
        and x.dim() == 4
        and arguments["weight"].op == "get_attr"
        and tuple(kernel.shape[2:]) == (3, 3)
        and arguments["groups"] == 1
        and not arguments.get("transposed")
        and all(step == 1 for key in ("stride", "dilation") for step in arguments[key])
        and all(isinstance(size, int) for size in x.shape[2:])
        and min(kernel.shape[:2]) >= _MIN_CHANNELS
        and batch * -(-y.shape[2] // 4) * -(-y.shape[3] // 4) >= _MIN_TILES
    )
