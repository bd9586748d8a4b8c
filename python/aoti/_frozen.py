"""Frozen models whose weights any runtime can read.

When Inductor freezes a model for the CPU, it packs weights for the oneDNN inside torch, as bytes that only that version
can read, so that it can fuse what follows a convolution or a product into it. Here that is undone before it fuses: the
weights stay plain tensors, which oneDNN packs where the model runs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import GraphModule, Node

from ._graph import replace_node

# Of weights that Inductor packs.
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# Torch's, which nothing is fused with.
_CONVOLUTION = torch.ops.aten.convolution.default

# Of a constant that is computed when the model is compiled.
MOST_BYTES = 4 << 20


@contextmanager
def weights_plain() -> Iterator[None]:
    """Meanwhile, models that are frozen keep plain weights. Not for several threads at once."""
    from torch._inductor import freezing, ir
    from torch._inductor.fx_passes import mkldnn_fusion

    passes, may_overwrite = freezing.freezing_passes, mkldnn_fusion._can_be_inplace

    def unpacking(module: GraphModule, *rest: Any) -> None:
        passes(module, *rest)
        _compute_constants(module)
        _unpack(module)

    def no_constant(other: Any) -> bool:
        # Inductor would add a convolution to a constant in place, in each run.
        return not isinstance(getattr(other.data, "data", None), ir.ConstantBuffer) and may_overwrite(other)

    freezing.freezing_passes, mkldnn_fusion._can_be_inplace = unpacking, no_constant
    try:
        yield
    finally:
        freezing.freezing_passes, mkldnn_fusion._can_be_inplace = passes, may_overwrite


def _compute_constants(module: GraphModule) -> None:
    """Computes what follows from nothing but constants and sizes, such as masks. Inductor would have it computed in each
    run, and if a place in it takes divisions, the loops that use it would not be vectorized."""
    from torch._inductor.constant_folding import ConstantFolder, replace_node_with_constant

    class Folder(ConstantFolder):  # type: ignore[misc]
        def _deduce_value(self, node: Node) -> Any:
            if node.op == "call_function":
                value = node.meta.get("val")
                if not isinstance(value, torch.Tensor) or value.numel() * value.element_size() > MOST_BYTES:
                    return self.unknown_value
            return super()._deduce_value(node)

    with torch.utils._python_dispatch._disable_current_modes():
        folder = Folder(module)
        folder.run()
        for node, value in folder.node_replacements.items():
            # Inductor computes indices as it needs them, and knows what is the same everywhere.
            if value.is_floating_point() and value.is_contiguous() and value.numel() > 1 and (value != value.view(-1)[0]).any():
                replace_node_with_constant(module, node, value.clone())
        module.graph.eliminate_dead_code()
        module.recompile()


def _unpack(module: GraphModule) -> None:
    undo: dict[str, Callable[[Node], None]] = {
        "_reorder_convolution_weight": _unpack_convolution,
        "_reorder_convolution_transpose_weight": _unpack_transposed,
        "_reorder_linear_weight": _unpack_linear,
        "_reorder_mkldnn_rnn_layer_weight": _unpack_recurrent,
    }
    for node in list(module.graph.nodes):
        name = str(node.target).split(".")
        if node.op == "call_function" and name[0] == "mkldnn" and name[1] in undo:
            undo[name[1]](node)
            module.graph.erase_node(node)


def _unpack_linear(packed: Node) -> None:
    weight = packed.args[0]
    if weight.op != "get_attr":  # the transpose of one: laid out anew here, else in each run
        with packed.graph.inserting_before(packed):
            weight = packed.graph.call_function(
                torch.ops.aten.clone.default, (weight,), {"memory_format": torch.contiguous_format}
            )
    packed.replace_all_uses_with(weight)


def _unpack_convolution(packed: Node) -> None:
    for fused in list(packed.users):
        x, _, bias, padding, stride, dilation, groups = fused.args[:7]
        if _keeps_channels_last(x, packed.args[0], groups):
            fused.replace_input_with(packed, packed.args[0])
        else:
            arguments = (x, packed.args[0], bias, stride, padding, dilation, False, [0] * len(stride), groups)
            replace_node(fused, _CONVOLUTION, arguments)


def _unpack_transposed(packed: Node) -> None:
    for fused in list(packed.users):
        x, _, bias, padding, output_padding, stride, dilation, groups = fused.args[:8]
        arguments = (x, packed.args[0], bias, stride, padding, dilation, True, output_padding, groups)
        replace_node(fused, _CONVOLUTION, arguments)


def _unpack_recurrent(packed: Node) -> None:
    for item in list(packed.users):
        assert item.target is operator.getitem
        item.replace_all_uses_with(packed.args[item.args[1]])
        packed.graph.erase_node(item)


def _keeps_channels_last(x: Node, weight: Node, groups: int) -> bool:
    """Whether the result of a fused convolution is channels-last, as Inductor assumes. With a plain weight, that depends on
    strides, of which those of sizes of 1 may be anything."""
    value = x.meta["val"]
    if weight.meta["val"].shape[1] * groups == 1:
        return False
    return value.shape[0] != 1 or value.stride()[0] == value.numel()
