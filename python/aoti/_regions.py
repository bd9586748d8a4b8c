"""Errors in the parallel regions of generated code.

Inductor's loops check indices and throw. An exception that leaves an OpenMP loop ends the process, so the C++ is
changed before it is compiled: an exception thrown in a loop is kept, the thread skips the rest of its part, all threads
skip what follows in the region, and the first exception is rethrown after the region.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEEPER = """#include <atomic>
#include <exception>
namespace {
struct AotiThrown {  // in a parallel region
  std::atomic<bool> any{false};
  std::exception_ptr first;
  void keep() noexcept { if (!any.exchange(true)) first = std::current_exception(); }
  void rethrow() { if (any) std::rethrow_exception(first); }
};
}
"""
_CATCH = "\n} catch (...) { aoti_thrown.keep(); aoti_ends = true; } }"
_PASSIVE = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_PARALLEL = re.compile(r"^[ \t]*#[ \t]*pragma omp parallel\b.*$", re.MULTILINE)
_SHARED = re.compile(r"^[ \t]*#[ \t]*pragma omp (?:parallel )?(?:for|single)\b.*$", re.MULTILINE)
_SIMD = re.compile(r"^[ \t]*#[ \t]*pragma omp simd\b.*$", re.MULTILINE)
_DIRECTIVES = re.compile(r"(?:\s|#.*\n)*")
_LOOP = re.compile(r"for\s*(?=\()")
# Checks, divisions of integers, and memory.
_THROWS = re.compile(r"CHECK\(|\bthrow\b|\b(?:floor_divide_integral|remainder_integral|mod)\(|\bmake_unique\b|\bnew\b")


def guarded(code: str) -> str:
    """The C++ with regions that report what is thrown in them. Raises ValueError if their form is unknown."""
    bare = _PASSIVE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), code)
    edits: list[tuple[int, int, str]] = []  # from, to, replacement

    def wrap(start: int, end: int, before: str, after: str) -> None:
        edits.append((start, start, before))
        edits.append((end, end, after))

    for region in _PARALLEL.finditer(bare):
        body, end = _statement(bare, region.end())
        if not _THROWS.search(bare, body, end):
            continue
        wrap(region.start(), end, "{ AotiThrown aoti_thrown; bool aoti_ends = false;\n", "\naoti_thrown.rethrow(); }")
        shared = list(_SHARED.finditer(bare, region.start(), end))
        for pragma in shared:
            if pragma.start() == region.start():
                edits.append((pragma.end(), pragma.end(), " firstprivate(aoti_ends)"))
            else:
                wrap(pragma.start(), _statement(bare, pragma.end())[1], "{ bool aoti_ends = aoti_thrown.any;\n", "\n}")
            wrap(*_body(bare, pragma), "{ if (!aoti_ends) try {\n", _CATCH)
        if not shared:
            wrap(body, end, "{ try {\n", _CATCH)
    for pragma in _SIMD.finditer(bare):
        if _THROWS.search(bare, *_statement(bare, pragma.end())):
            edits.append((*pragma.span(), ""))  # a SIMD loop must not throw
    if not edits:
        return code
    for start, end, text in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        code = code[:start] + text + code[end:]
    return _KEEPER + code


def _body(bare: str, pragma: re.Match[str]) -> tuple[int, int]:
    """What a thread executes of the shared work: one iteration of the loops, or all of it."""
    start, end = _statement(bare, pragma.end())
    collapsed = re.search(r"\bcollapse\((\d+)\)", pragma[0])
    for _ in range(0 if "omp single" in pragma[0] else int(collapsed[1]) if collapsed else 1):
        while bare[start] == "{":
            start, end = _statement(bare, start + 1)
        loop = _LOOP.match(bare, start)
        if loop is None:
            raise ValueError(f"no loop behind {pragma[0].strip()}")
        start, end = _statement(bare, _closing(bare, loop.end()))
    return start, end


def _statement(bare: str, at: int) -> tuple[int, int]:
    """Where the next statement begins and ends."""
    start = _DIRECTIVES.match(bare, at).end()  # type: ignore[union-attr]
    if bare[start] == "{":
        return start, _closing(bare, start)
    if loop := _LOOP.match(bare, start):
        return start, _statement(bare, _closing(bare, loop.end()))[1]
    return start, bare.index(";", start) + 1


def _closing(bare: str, at: int) -> int:
    """The position after the bracket that closes the one at `at`."""
    depth = 0
    for bracket in re.compile(r"[(){}\[\]]").finditer(bare, at):
        depth += 1 if bracket[0] in "({[" else -1
        if depth == 0:
            return bracket.end()
    raise ValueError("a bracket is not closed")


@contextmanager
def regions_guarded() -> Iterator[list[bool]]:
    """Makes Inductor compile guarded code. The list that it yields tells afterwards, for each model, whether it did."""
    from torch._inductor.codecache import AotCodeCompiler

    original = AotCodeCompiler.__dict__["compile"]
    done: list[bool] = []

    def compile(cls: Any, graph: Any, wrapper_code: str, kernel_code: str, *rest: Any, **named: Any) -> Any:
        try:
            wrapper_code, kernel_code = guarded(wrapper_code), guarded(kernel_code)
            done.append(True)
        except (ValueError, IndexError, TypeError):
            done.append(False)
        return original.__func__(cls, graph, wrapper_code, kernel_code, *rest, **named)

    AotCodeCompiler.compile = classmethod(compile)  # type: ignore[assignment]
    try:
        yield done
    finally:
        AotCodeCompiler.compile = original
