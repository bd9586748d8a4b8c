"""Exports and compiles models, and writes them as one .pt2 package that says what it takes and returns.

A package written here loads wherever one written by `torch._inductor.aoti_compile_and_package` does. Each
model's metadata has one entry more, "aoti.spec", whose text is the compact JSON of `spec`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import sympy
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
    SymBoolArgument,
    SymFloatArgument,
    SymIntArgument,
    TensorArgument,
)
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import bound_sympy

SPEC_KEY = "aoti.spec"
SPEC_VERSION = 1

# Set by `package` itself; another value would make a package that nothing loads, or lose the spec.
_RESERVED_OPTIONS = ("aot_inductor.package", "aot_inductor.output_path", "aot_inductor.metadata")

Dimension = Union[int, "dict[str, Any]"]


@dataclass
class Model:
    """A model to be compiled, with what `torch.export.export` needs to know about its inputs.

    module: exported with `args`, `kwargs` and `dynamic_shapes`; an ExportedProgram is taken as it is, and
        then those three stay empty.
    args, kwargs: example inputs. Their devices and memory layouts are those the compiled model expects.
    dynamic_shapes: as for `torch.export.export`. The names of its Dims become symbols in the spec.
    options: Inductor's configs, such as {"aot_inductor.force_mmap_weights": True}.
    metadata: text that the loader hands out again. Keys that start with "aoti." are reserved.
    """

    module: torch.nn.Module | ExportedProgram
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    dynamic_shapes: Any = None
    options: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None


def package(
    path: str | os.PathLike[str],
    models: Model | Mapping[str, Model],
    *,
    extra: Mapping[str, str | bytes] | None = None,
) -> str:
    """Compiles the models and writes them as one package; returns its path.

    path: ends in ".pt2", in a directory that exists. An older file is replaced only when the new one is
        complete, so an interrupted run leaves either the old file or none.
    models: by name; a single Model is named "model".
    extra: files of the user's own, stored under "extra/". Names are relative paths with "/". Upstream's
        Python loader decodes them all as UTF-8, and fails on a package with one that is not.

    Raises ValueError for unusable arguments, before anything is compiled. What torch raises while it
    exports or compiles passes through.
    """
    target = _checked_path(path)
    if isinstance(models, Model):
        models = {"model": models}
    if not isinstance(models, Mapping) or not models:
        raise ValueError("models: expected a Model or a non-empty dict of name to Model")
    for name, model in models.items():
        _check_model(name, model)
    extra = dict(extra or {})
    for name, content in extra.items():
        _check_extra(name, content)

    with tempfile.TemporaryDirectory(prefix="aoti-") as work:
        files: dict[str, list[Any]] = {}
        for index, (name, model) in enumerate(models.items()):
            # One directory each: files are named by a hash of the code, so equal models would share metadata.
            directory = os.path.join(work, str(index))
            os.mkdir(directory)
            files[name] = _compile(name, model, directory)
        _write(target, files, extra)
    return str(target)


def spec(ep: ExportedProgram) -> dict[str, Any]:
    """What a compiled `ep` takes and returns, as data that `json.dumps` accepts.

    {"version": 1, "inputs": [tensor, ...], "outputs": [tensor, ...]}

    inputs: the tensors among the arguments, positional ones first, in the order in which the compiled model
        takes them. Numbers, strings and None among the arguments were compiled in.
    outputs: everything that is returned, flattened. Integers, bools and computed floats come back as CPU
        tensors without dimensions, None as no tensor at all, which a null dtype and device say.
    tensor: {"name", "dtype", "device", "shape"} and, unless the memory is row-major contiguous, either
        "order": the dimensions from outermost to innermost, when the memory is dense but permuted; or
        "strides": in elements, null where an output's stride is dynamic, when it is not dense.
    shape: a list with an integer for a static dimension, and for a dynamic one
        {"symbol", "scale", "offset", "min", "max"}: its size is scale * symbol + offset (left out when 1
        and 0), and min and max, null if unbounded, are the range of this size. A size that is not linear
        in one symbol is {"text", "min", "max"}.

    Raises ValueError if an argument is a number of variable value, a sparse tensor, or a tensor whose memory
    has gaps of dynamic size, or if a value is returned that a compiled model cannot return.
    """
    signature = ep.graph_signature
    values = {node.name: node.meta["val"] for node in ep.graph.nodes if "val" in node.meta}
    symbols = _symbol_names(values.values())

    inputs = []
    for item in signature.input_specs:
        if item.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(item.arg, TensorArgument):
            name = item.arg.name
            inputs.append(_tensor(f"input '{name}'", name, values[name], ep, symbols))
            if None in inputs[-1].get("strides", ()):
                raise ValueError(
                    f"input '{name}': its memory has gaps whose size depends on a dynamic dimension, which cannot "
                    "be checked; export with a contiguous example"
                )
        elif not isinstance(item.arg, ConstantArgument):
            raise ValueError(
                f"input '{item.arg.name}': a compiled model takes tensors only; pass the number as a tensor, "
                "or export it as a constant"
            )

    outputs: list[dict[str, Any]] = []
    arguments = [item.arg for item in signature.output_specs if item.kind is OutputKind.USER_OUTPUT]
    for argument, name in zip(arguments, _output_names(arguments, ep.call_spec.out_spec)):
        what = f"output '{name}'"
        if isinstance(argument, TensorArgument):
            outputs.append(_tensor(what, name, values[argument.name], ep, symbols))
        else:
            outputs.append(_scalar(what, name, argument))
    return {"version": SPEC_VERSION, "inputs": inputs, "outputs": outputs}


def _checked_path(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".pt2":
        raise ValueError(f"path: expected a file name that ends in .pt2, got '{target}'")
    if not target.parent.is_dir():
        raise ValueError(f"path: '{target.parent}' is not a directory")
    if target.is_dir():
        raise ValueError(f"path: '{target}' is a directory")
    return target


def _check_model(name: Any, model: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name):
        raise ValueError(
            f"model {name!r}: a name has letters, digits and any of '_.+-', and begins with a letter, digit or '_'"
        )
    where = f"model '{name}'"
    if not isinstance(model, Model):
        raise ValueError(f"{where}: expected a Model, got {type(model).__name__}")
    if isinstance(model.module, ExportedProgram):
        if tuple(model.args) or model.kwargs or model.dynamic_shapes is not None:
            raise ValueError(f"{where}: args, kwargs and dynamic_shapes are those of the ExportedProgram; leave them out")
        if model.module.example_inputs is None:
            raise ValueError(f"{where}: the ExportedProgram has no example inputs")
    elif not isinstance(model.module, torch.nn.Module):
        raise ValueError(
            f"{where}: module: expected an nn.Module or an ExportedProgram, got {type(model.module).__name__}"
        )
    if not isinstance(model.args, (tuple, list)):
        raise ValueError(f"{where}: args: expected a tuple, got {type(model.args).__name__}")
    for key in model.options or {}:
        if key in _RESERVED_OPTIONS:
            raise ValueError(f"{where}: option '{key}' is set by package(); metadata goes into Model.metadata")
    for key, value in (model.metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"{where}: metadata: expected text for text, got {key!r}: {value!r}")
        if key.startswith("aoti."):
            raise ValueError(f"{where}: metadata: keys that start with 'aoti.' are reserved, got '{key}'")


def _check_extra(name: Any, content: Any) -> None:
    parts = name.split("/") if isinstance(name, str) else [""]
    if "\\" in str(name) or "\0" in str(name) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"extra: expected a relative path without '..', got {name!r}")
    if not isinstance(content, (str, bytes)):
        raise ValueError(f"extra: '{name}': expected str or bytes, got {type(content).__name__}")


def _compile(name: str, model: Model, directory: str) -> list[Any]:
    """Returns what Inductor generated: paths under `directory`, and weights that are still in memory."""
    ep = model.module
    if not isinstance(ep, ExportedProgram):
        kwargs = dict(model.kwargs) if model.kwargs else None
        ep = torch.export.export(ep, tuple(model.args), kwargs, dynamic_shapes=model.dynamic_shapes)
    description = spec(ep)
    args, kwargs = ep.example_inputs
    files = torch._inductor.aot_compile(
        ep.module(),
        args,
        kwargs,
        options={
            **(model.options or {}),
            "aot_inductor.package": True,
            "aot_inductor.output_path": directory,
            "aot_inductor.metadata": {
                **(model.metadata or {}),
                SPEC_KEY: json.dumps(description, separators=(",", ":")),
            },
        },
    )
    _check_counts(name, description, files)
    return files


def _check_counts(name: str, description: dict[str, Any], files: list[Any]) -> None:
    """Holds the spec against the counts that the generated C++ hands to its base class."""
    for file in files:
        if not isinstance(file, str) or not file.endswith(".cpp"):
            continue
        match = re.search(r"AOTInductorModelBase\(\s*(\d+),\s*(\d+),", Path(file).read_text(encoding="utf-8"))
        if match is None:
            continue
        compiled = (int(match[1]), int(match[2]))
        expected = (len(description["inputs"]), len(description["outputs"]))
        if compiled != expected:
            raise RuntimeError(
                f"model '{name}': the spec has {expected[0]} inputs and {expected[1]} outputs, "
                f"the compiled model {compiled[0]} and {compiled[1]}"
            )


def _write(target: Path, files: dict[str, list[Any]], extra: dict[str, str | bytes]) -> None:
    from torch.export.pt2_archive._package import PT2ArchiveWriter, _package_aoti_files
    from torch.export.pt2_archive.constants import EXTRA_DIR

    # A directory rather than another file name: the archive's root is named after the file.
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as beside:
        unfinished = os.path.join(beside, target.name)
        with PT2ArchiveWriter(unfinished) as writer:
            _package_aoti_files(writer, files)
            for name, content in extra.items():
                data = content.encode() if isinstance(content, str) else content
                writer.write_bytes(f"{EXTRA_DIR}{name}", data)
        os.replace(unfinished, target)


def _symbol_names(values: Any) -> dict[sympy.Symbol, str]:
    """The user's Dim names by symbol, as far as torch remembers them (a saved and loaded program has none)."""
    for value in values:
        if isinstance(value, torch.Tensor) and hasattr(value, "fake_mode"):
            env = value.fake_mode.shape_env
            break
    else:
        return {}
    given = getattr(env, "source_name_to_debug_name", {})
    names: dict[sympy.Symbol, str] = {}
    for symbol, sources in getattr(env, "var_to_sources", {}).items():
        for source in sources:
            text = source.name() if callable(source.name) else source.name
            text = given.get(text, text)
            if text.isidentifier():
                names[symbol] = text
                break
    return names


def _output_names(arguments: list[Any], out_spec: pytree.TreeSpec | None) -> list[str]:
    """Dictionary keys and fields where there are any ("z_0" for {"z": (sum,)}), else the graph's names."""
    paths: list[tuple[Any, ...]] = [()] * len(arguments)
    if out_spec is not None and out_spec.num_leaves == len(arguments):
        tree = pytree.tree_unflatten(list(range(len(arguments))), out_spec)
        for path, index in pytree.tree_flatten_with_path(tree)[0]:
            paths[index] = path
    names: list[str] = []
    for index, (argument, path) in enumerate(zip(arguments, paths)):
        name = None
        if any(not isinstance(key, pytree.SequenceKey) for key in path):
            name = "_".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path)
        elif isinstance(argument, TensorArgument):
            name = argument.name
        if not name or name in names:
            name = f"output_{index}"
        names.append(name)
    return names


def _scalar(what: str, name: str, argument: Any) -> dict[str, Any]:
    kinds = {SymIntArgument: torch.int64, SymFloatArgument: torch.float64, SymBoolArgument: torch.bool}
    dtype = kinds.get(type(argument))
    if isinstance(argument, ConstantArgument):
        if argument.value is None:
            return {"name": name, "dtype": None, "device": None, "shape": []}
        dtype = {int: torch.int64, bool: torch.bool}.get(type(argument.value))
        if dtype is None:
            raise ValueError(f"{what}: a compiled model cannot return the constant {argument.value!r}; return a tensor")
    if dtype is None:
        raise ValueError(f"{what}: a compiled model returns tensors, numbers and None only, got {argument}")
    return {"name": name, "dtype": _dtype_name(dtype), "device": "cpu", "shape": []}


def _tensor(
    what: str, name: str, value: torch.Tensor, ep: ExportedProgram, symbols: dict[sympy.Symbol, str]
) -> dict[str, Any]:
    if value.layout is not torch.strided:
        raise ValueError(f"{what}: expected a dense tensor, got layout {value.layout}")
    return {
        "name": name,
        "dtype": _dtype_name(value.dtype),
        "device": value.device.type,
        "shape": [_dimension(_expression(size), ep, symbols) for size in value.shape],
        **_layout([_expression(size) for size in value.shape], [_expression(stride) for stride in value.stride()]),
    }


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _expression(size: int | torch.SymInt) -> sympy.Expr:
    return sympy.expand(size.node.expr) if isinstance(size, torch.SymInt) else sympy.Integer(size)


def _dimension(size: sympy.Expr, ep: ExportedProgram, symbols: dict[sympy.Symbol, str]) -> Dimension:
    if size.is_number:
        return int(size)
    bounds = ep.range_constraints.get(size) or bound_sympy(size, ep.range_constraints)
    limits = {"min": max(0, _finite(bounds.lower) or 0), "max": _finite(bounds.upper)}
    if len(size.free_symbols) == 1:
        (symbol,) = size.free_symbols
        scale, offset = size.coeff(symbol, 1), size.coeff(symbol, 0)
        if scale.is_Integer and offset.is_Integer and size == scale * symbol + offset:
            return {
                "symbol": symbols.get(symbol, str(symbol)),
                **({"scale": int(scale)} if scale != 1 else {}),
                **({"offset": int(offset)} if offset != 0 else {}),
                **limits,
            }
    text = size.xreplace({symbol: sympy.Symbol(name) for symbol, name in symbols.items()})
    return {"text": str(text), **limits}


def _finite(bound: Any) -> int | None:
    # Some versions of torch write "unbounded" as the largest integer, or one less.
    return int(bound) if getattr(bound, "is_Integer", False) and abs(bound) < sys.maxsize - 1 else None


def _layout(sizes: list[sympy.Expr], strides: list[sympy.Expr]) -> dict[str, list[int | None]]:
    """{} if row-major contiguous, else {"order": ...} or {"strides": ...}. Strides of dimensions of size 1 do not count."""
    if 0 in sizes:
        return {}
    ones = [dim for dim, size in enumerate(sizes) if size == 1]
    remaining = [dim for dim, size in enumerate(sizes) if size != 1]
    inner_to_outer: list[int] = []
    step: sympy.Expr = sympy.Integer(1)
    while remaining:
        dim = next((dim for dim in reversed(remaining) if strides[dim] == step), None)
        if dim is None:
            return {"strides": [int(stride) if stride.is_number else None for stride in strides]}
        remaining.remove(dim)
        inner_to_outer.append(dim)
        step = sympy.expand(step * sizes[dim])
    if inner_to_outer == sorted(inner_to_outer, reverse=True):
        return {}
    return {"order": ones + inner_to_outer[::-1]}
