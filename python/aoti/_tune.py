"""Compiles a model in the ways that Inductor has, and keeps the fastest."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

# What makes models faster or slower on a CPU, depending on the model, the machine and the number of threads.
_PRODUCTS = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
CANDIDATES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "freezing": {"freezing": True},
    "C++ products": _PRODUCTS,
    "freezing, C++ products": {"freezing": True, **_PRODUCTS},
}

# By how much outputs may differ from those of the module, relative to the largest: what networks of many layers
# add up of what each rounds.
_TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-3}
_SECONDS = 0.5  # that each candidate is measured
_TURNS = 15


@dataclass
class Candidate:
    """One way, and what came of it: `seconds` for a call, or why it `failed`."""

    name: str
    options: dict[str, Any]
    files: list[Any] | None = None
    call: Callable[[], Any] | None = None
    seconds: float | None = None
    failed: str | None = None

    def report(self) -> dict[str, Any]:
        result = {"failed": self.failed} if self.seconds is None else {"microseconds": round(self.seconds * 1e6, 2)}
        return {"name": self.name, "options": self.options, **result}


def fastest(
    compile: Callable[[Mapping[str, Any], str], tuple[list[Any], Callable[[], Any]]],
    expected: Any,
    directory: str,
    title: str,
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The files of the fastest candidate, and a report on each, the fastest first.

    compile: compiles with further options in a directory; returns files, and a call of the model that they make.
    expected: what the module returns.

    Raises what the defaults raised, where no candidate works.
    """
    candidates = [Candidate(name, options) for name, options in CANDIDATES.items()]
    errors: list[Exception] = []
    for number, candidate in enumerate(candidates, 1):
        _say(f"{title}: {number} of {len(candidates)}, {candidate.name}: compiling…")
        folder = os.path.join(directory, f"candidate{number}")
        os.mkdir(folder)
        try:
            candidate.files, candidate.call = compile(candidate.options, folder)
            _expect_alike(candidate.call(), expected)
        except Exception as error:  # noqa: BLE001 one that does not work is no candidate
            errors.append(error)
            candidate.call = None
            candidate.failed = f"{type(error).__name__}: {error}".splitlines()[0]
            _say(f"{title}: {candidate.name}: left out: {candidate.failed}")
    working = [candidate for candidate in candidates if candidate.call is not None]
    if not working:
        raise errors[0]
    _measure(working)
    working.sort(key=lambda candidate: candidate.seconds or 0)
    for candidate in working:
        _say(f"{title}: {candidate.name}: {(candidate.seconds or 0) * 1e6:,.1f} µs")
    others = [candidate for candidate in candidates if candidate.call is None]
    return working[0].files or [], [candidate.report() for candidate in working + others]


def _measure(candidates: list[Candidate]) -> None:
    """Sets the median time of a call of each; they take turns, so that what else the machine does meets all."""
    counts = []
    for candidate in candidates:
        start = time.perf_counter()
        candidate.call()
        once = max(time.perf_counter() - start, 1e-7)
        counts.append(max(1, int(_SECONDS / _TURNS / once)))
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(_TURNS):
        for candidate, count, taken in zip(candidates, counts, times):
            start = time.perf_counter()
            for _ in range(count):
                candidate.call()
            taken.append((time.perf_counter() - start) / count)
    for candidate, taken in zip(candidates, times):
        candidate.seconds = statistics.median(taken)


def _expect_alike(found: Any, expected: Any) -> None:
    for output, wanted in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        if not isinstance(wanted, torch.Tensor):
            continue
        if output.shape != wanted.shape or output.dtype != wanted.dtype:
            raise ValueError(f"an output is {output.dtype}{list(output.shape)}, the module's {list(wanted.shape)}")
        if wanted.numel() == 0:
            continue
        if not wanted.is_floating_point():
            if not torch.equal(output, wanted):
                raise ValueError("an output differs from the module's")
            continue
        largest = wanted.abs().max().item()
        difference = (output - wanted).abs().max().item()
        if not difference <= _TOLERANCES.get(wanted.dtype, 2e-2) * max(largest, 1e-6):
            raise ValueError(f"an output differs by {difference:.3g} from the module's, of {largest:.3g} at most")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
