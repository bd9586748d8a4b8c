"""Copies example inputs that torch.export could not tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def distinct(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    """The arguments, with copies of tensors that share memory with an earlier one or with the module's.

    torch.export treats one tensor in two places as one input, and a weight among the inputs as an input.
    """
    leaves, form = pytree.tree_flatten((tuple(args), dict(kwargs)))
    before = list(_tensors_of(module))
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor):
            if any(_share(leaf, other) for other in before):
                leaves[i] = _copy(leaf)
            before.append(leaf)
    return pytree.tree_unflatten(leaves, form)


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """The number of elements from a tensor's first to its last, gaps included."""
    return 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides))


def expect_distinct(name: str, ep: ExportedProgram) -> None:
    """Raises ValueError if a program's example inputs show that torch.export took two of its inputs, or an input and a
    weight, for one."""
    nodes = {node.name: node for node in ep.graph.nodes if node.op == "placeholder"}
    examples = iter(pytree.tree_leaves(ep.example_inputs))
    state: dict[str | None, Any] = {**ep.state_dict, **ep.constants}
    before: list[tuple[str, Any]] = []
    inputs: list[tuple[str, Any]] = []
    for item in ep.graph_signature.input_specs:
        is_input = item.kind is InputKind.USER_INPUT
        (inputs if is_input else before).append((item.arg.name, next(examples, None) if is_input else state.get(item.target)))
    for one, tensor in inputs:
        for other, same in before:
            # Then only the last of them is used.
            if isinstance(tensor, torch.Tensor) and tensor is same and bool(nodes[one].users) != bool(nodes[other].users):
                raise ValueError(
                    f"model '{name}': '{other}' and '{one}' were exported with one tensor as the example of both, and only "
                    "one of them is used: torch.export may have confused them; export with a clone of the tensor"
                )
        before.append((one, tensor))


def _tensors_of(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        yield from (value for value in vars(part).values() if isinstance(value, torch.Tensor))


def _share(one: torch.Tensor, other: torch.Tensor) -> bool:
    (begin, end), (start, stop) = _memory(one), _memory(other)
    return one is other or (begin < stop and start < end)


def _memory(tensor: torch.Tensor) -> tuple[int, int]:
    from torch._subclasses.fake_tensor import FakeTensor

    try:
        storage = tensor.untyped_storage()
        if isinstance(tensor, FakeTensor) or tensor.is_meta:
            return storage._cdata, storage._cdata + 1
        return storage.data_ptr(), storage.data_ptr() + storage.nbytes()
    except RuntimeError:  # sparse, or of a Python class without its own memory
        return 0, 0


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with the same sizes, strides and values, in new memory."""
    with torch.no_grad():
        if tensor.layout is torch.strided and not tensor.is_quantized:
            count = extent(tensor.shape, tensor.stride())
            elements = tensor.detach().as_strided((count,), (1,), tensor.storage_offset()).clone()
            copied = elements.as_strided(tensor.shape, tensor.stride())
        else:
            copied = tensor.detach().clone()
    copied.__dict__.update(vars(tensor))  # which torch._dynamo.mark_dynamic sets
    return copied.requires_grad_(tensor.requires_grad)
