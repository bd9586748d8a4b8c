"""What the rewriting of graphs has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node


def replace_node(node: Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """By a call of the function."""
    with node.graph.inserting_before(node):
        new = node.graph.call_function(function, arguments)
    new.meta.update(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


def values_of(*parts: Any) -> list[torch.Tensor] | None:
    """The fake tensors that nodes stand for; None if one has none or is no node."""
    if not all(isinstance(part, Node) and "val" in part.meta for part in parts):
        return None
    return [part.meta["val"] for part in parts]
