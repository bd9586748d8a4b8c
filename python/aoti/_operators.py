"""Records what compiled code expects of the results of operators, with each call through the proxy executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sympy

from ._export import SPEC_KEY, SPEC_VERSION, _compact, _dtype_name, _layout
from ._guards import linear


@contextmanager
def results_noted() -> Iterator[None]:
    """While this is open, Inductor writes a spec of a call's arguments and results into the call's metadata."""
    from torch._inductor import ir
    from torch._inductor.virtualized import V

    original = ir.FallbackKernel.export_extern_kernel_node

    def outputs_of(kernel: Any) -> Any:
        if hasattr(kernel, "codegen_outputs"):
            return kernel.codegen_outputs()
        return kernel.outputs or kernel.mutation_outputs  # before torch 2.12

    def noted(kernel: Any) -> Any:
        result = original(kernel)
        if V.graph.aot_mode:
            before_2_9 = hasattr(V.graph, "extern_kernel_nodes")
            node = (V.graph if before_2_9 else V).extern_kernel_nodes[-1].node
            outputs = outputs_of(kernel)
            given = [_tensor(name, _named(kernel.inputs, name)) for item in node.inputs for name in _names(item.arg)]
            returned = [_tensor(name, _named(outputs, name)) for arg in node.outputs for name in _names(arg)]
            # Only the sizes of inputs matter, and unknown inputs have none.
            inputs = [tensor if tensor["dtype"] else {**tensor, "dtype": "uint8", "device": "cpu"} for tensor in given]
            node.metadata[SPEC_KEY] = _compact({"version": SPEC_VERSION, "inputs": inputs, "outputs": returned})
        return result

    ir.FallbackKernel.export_extern_kernel_node = noted
    try:
        yield
    finally:
        ir.FallbackKernel.export_extern_kernel_node = original


def _names(argument: Any) -> list[str]:
    """The names of the tensors in a serialized argument."""
    kind, value = str(argument.type), argument.value
    if kind == "as_optional_tensor":
        return _names(value)
    if kind == "as_optional_tensors":
        return [name for item in value for name in _names(item)]
    if kind == "as_tensors":
        return [item.name for item in value]
    return [value.name] if kind == "as_tensor" else []


def _named(nodes: Any, name: str) -> Any:
    """The tensor of that name; None if it is not a plain one, or if several views have the name."""
    found = []
    for node in nodes:
        for item in node if isinstance(node, (list, tuple)) else [node]:
            if getattr(item, "get_name", lambda: None)() == name and item not in found:
                found.append(item)
    return found[0] if len(found) == 1 else None


def _tensor(name: str, node: Any) -> dict[str, Any]:
    """As in `export`'s spec; with a null dtype if nothing is known."""
    from torch._inductor.ir import Layout

    layout = node.maybe_get_layout() if node is not None else None
    if not isinstance(layout, Layout):
        return {"name": name, "dtype": None, "device": None, "shape": []}
    sizes, strides = ([sympy.expand(number) for number in numbers] for numbers in (layout.size, layout.stride))
    return {
        "name": name,
        "dtype": _dtype_name(layout.dtype),
        "device": layout.device.type,
        "shape": [_size(size) for size in sizes],
        **_layout(sizes, strides),
    }


def _size(size: sympy.Expr) -> int | dict[str, Any]:
    if size.is_number:
        return int(size)
    if (line := linear(size)) is not None:
        symbol, scale, offset = line
        return {"symbol": str(symbol), "scale": scale, "offset": offset}
    return {"text": str(size)}
