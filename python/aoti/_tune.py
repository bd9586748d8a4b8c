"""Compiles a model in several ways with Inductor, and keeps the fastest."""

from __future__ import annotations

import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from ._winograd import with_winograd


class Way(NamedTuple):
    """Inductor's options, and a function that first changes the program in place; it returns False if nothing
    changes."""

    options: dict[str, Any]
    rewrite: Callable[[GraphModule], bool] | None = None


# Options that make models faster or slower on a CPU, depending on the model, the machine and the number of threads.
_PRODUCTS = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
CANDIDATES = {
    "defaults": Way({}),
    "freezing": Way({"freezing": True}),
    "C++ products": Way(_PRODUCTS),
    "freezing, C++ products": Way({"freezing": True, **_PRODUCTS}),
    "freezing, Winograd": Way({"freezing": True}, with_winograd),
}

# How much outputs may differ from those of the module, relative to the largest: the rounding errors that networks of
# many layers accumulate.
_TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-3}
_SECONDS = 2.0  # for measuring each candidate
_TURNS = 15


class Example:
    """The arguments of a call. `fresh` makes new copies of them, since a model may write to them."""

    def __init__(self, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        self.arguments = pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, arguments)

    def fresh(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return copy.deepcopy(self.arguments)  # unlike clone(), this keeps the strides

    def __call__(self, model: Callable[..., Any]) -> tuple[Any, Any]:
        """What a model returns, and what it leaves in its arguments."""
        args, kwargs = self.fresh()
        return model(*args, **kwargs), (args, kwargs)


@dataclass
class Candidate:
    """The result of one way: `seconds` per call, or why it `failed`."""

    name: str
    way: Way
    files: list[Any] | None = None
    model: Callable[..., Any] | None = None
    seconds: float | None = None
    failed: str | None = None

    def report(self) -> dict[str, Any]:
        result = {"failed": self.failed} if self.seconds is None else {"microseconds": round(self.seconds * 1e6, 2)}
        return {"name": self.name, "options": self.way.options, **result}


def fastest(
    ways: Mapping[str, Way],
    compile: Callable[[Way, str], tuple[list[Any], Callable[..., Any]]],
    example: Example,
    expected: Any,
    directory: str,
    title: str,
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The files of the fastest candidate, and a report on each, the fastest first.

    compile: compiles in a given way, in a directory; returns the files and the loaded model.
    expected: what `example` gives for the module.

    If no candidate works, raises what the first one raised.
    """
    candidates = [Candidate(name, way) for name, way in ways.items()]
    errors: list[Exception] = []
    for number, candidate in enumerate(candidates, 1):
        _say(f"{title}: {number} of {len(candidates)}, {candidate.name}: compiling…")
        folder = os.path.join(directory, f"candidate{number}")
        os.mkdir(folder)
        try:
            candidate.files, candidate.model = compile(candidate.way, folder)
            expect_alike(example(candidate.model), expected)
        except Exception as error:  # noqa: BLE001 one that fails is left out
            errors.append(error)
            candidate.model = None
            candidate.failed = f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"{title}: {candidate.name}: left out: {candidate.failed}")
    working = [candidate for candidate in candidates if candidate.model is not None]
    if not working:
        raise errors[0]
    _measure(working, example)
    working.sort(key=lambda candidate: candidate.seconds or 0)
    for candidate in working:
        _say(f"{title}: {candidate.name}: {(candidate.seconds or 0) * 1e6:,.1f} µs")
    others = [candidate for candidate in candidates if candidate.model is None]
    return working[0].files or [], [candidate.report() for candidate in working + others]


def _measure(candidates: list[Candidate], example: Example) -> None:
    """Measures the median time of a call of each. They take turns, so that other load on the machine affects all
    alike."""

    def seconds(candidate: Candidate, count: int) -> float:
        assert candidate.model is not None
        args, kwargs = example.fresh()
        if count > 1:
            candidate.model(*args, **kwargs)  # since another one's weights are in the caches
        start = time.perf_counter()
        for _ in range(count):
            candidate.model(*args, **kwargs)
        return (time.perf_counter() - start) / count

    counts = [max(1, int(_SECONDS / _TURNS / max(seconds(candidate, 1), 1e-7))) for candidate in candidates]
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(_TURNS):
        for candidate, count, taken in zip(candidates, counts, times):
            taken.append(seconds(candidate, count))
    for candidate, taken in zip(candidates, times):
        candidate.seconds = statistics.median(taken)


def expect_alike(found: Any, expected: Any) -> None:
    """Raises ValueError, saying how they differ, if outputs differ by more than rounding."""
    for output, wanted in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        if not isinstance(wanted, torch.Tensor):
            continue
        if output.shape != wanted.shape or output.dtype != wanted.dtype:
            raise ValueError(f"an output is {output.dtype}{list(output.shape)}, the module's {list(wanted.shape)}")
        if wanted.is_contiguous() and not output.is_contiguous():
            raise ValueError(f"an output has the strides {output.stride()}, the module's {wanted.stride()}")
        if wanted.numel() == 0:
            continue
        if wanted.is_complex():
            output, wanted = torch.view_as_real(output.resolve_conj()), torch.view_as_real(wanted.resolve_conj())
        if not wanted.is_floating_point():
            if not torch.equal(output, wanted):
                raise ValueError("an output differs from the module's")
            continue
        finite = wanted.isfinite()
        if not torch.allclose(output[~finite], wanted[~finite], equal_nan=True) or not output[finite].isfinite().all():
            raise ValueError("an output is infinite or not a number where the module's is not, or vice versa")
        output, wanted = output[finite], wanted[finite]
        if wanted.numel() == 0:
            continue
        largest = wanted.abs().max().item()
        difference = (output - wanted).abs().max().item()
        if not difference <= _TOLERANCES.get(wanted.dtype, 2e-2) * max(largest, 1e-6):
            raise ValueError(f"an output differs by {difference:.3g} from the module's, whose largest magnitude is {largest:.3g}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
