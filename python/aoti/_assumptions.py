"""What Inductor assumes about sizes while it compiles, beyond what an exported program requires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import sympy
from torch.utils._sympy.value_ranges import bound_sympy

from ._guards import Ranges


@contextmanager
def assumptions_noted(ranges: Ranges) -> Iterator[list[sympy.Basic]]:
    """Yields the relations between sizes that code compiled meanwhile relies on: sizes that were written into it, and
    which of two sizes is smaller. Torch records them as guards, and then drops them.

    Checks of indices known at compile time (those of an arange, or numbers) are left out only if they hold for all
    sizes in `ranges`. Torch assumes that each dynamic size is at least 2, and less than anything it was compared with.
    """
    from torch._inductor.index_propagation import IndexPropagation
    from torch._inductor.sizevars import SizeVarAllocator
    from torch._inductor.utils import generate_assert

    noted: list[sympy.Basic] = []
    environments: dict[int, Any] = {}

    def noting(name: str, relation_of: Callable[..., Any]) -> Any:
        original = getattr(SizeVarAllocator, name)

        def patched(self: Any, *operands: Any) -> Any:
            result = original(self, *operands)
            relation = sympy.sympify(relation_of(result, *operands))
            noted.append(relation.xreplace(self.inv_precomputed_replacements))
            environments[id(self.shape_env)] = self.shape_env
            return result

        return patch.object(SizeVarAllocator, name, patched)

    def may_be_empty(size: Any) -> bool:
        size = sympy.sympify(size)
        return bool(size.free_symbols) and size.free_symbols <= ranges.keys() and bound_sympy(size, ranges).lower <= 0

    def checking(original: Callable[..., Any]) -> Any:
        def patched(self: Any, index: Any, size: Any, check: bool = True, wrap_neg: bool = True) -> Any:
            place = original(self, index, size, check, wrap_neg)
            # For sympy, 0 is less than any size.
            if generate_assert(check) and isinstance(place, sympy.Expr) and (place < size) is sympy.true and may_be_empty(size):
                self.fallback("check_bounds", (place, size), {"lower": False, "upper": True})
            return place

        return patched

    def considering(original: Callable[..., None]) -> Any:
        def patched(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            self.var_to_range = tuple((symbol, ranges.get(symbol, bounds)) for symbol, bounds in self.var_to_range)
            environments[id(self.shape_env)] = self.shape_env

        return patched

    relations: dict[str, Callable[..., Any]] = {
        "evaluate_min": lambda least, a, b: sympy.Le(a, b) if least == a else sympy.Le(b, a),
        "check": lambda _, relation: relation,
        "guard_equals": lambda _, a, b: sympy.Eq(a, b),  # this and those below are torch 2.8's
        "guard_leq": lambda _, a, b: sympy.Le(a, b),
        "guard_lt": lambda _, a, b: sympy.Lt(a, b),
    }
    with ExitStack() as stack:
        for name, relation_of in relations.items():
            if hasattr(SizeVarAllocator, name):
                stack.enter_context(noting(name, relation_of))
        stack.enter_context(patch.object(IndexPropagation, "__init__", considering(IndexPropagation.__init__)))
        stack.enter_context(
            patch.object(IndexPropagation, "indirect_indexing", checking(IndexPropagation.indirect_indexing))
        )
        yield noted
    for environment in environments.values():
        noted += [guard.expr for guard in environment.guards if isinstance(guard.expr, sympy.Eq)]
