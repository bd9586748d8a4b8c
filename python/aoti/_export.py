"""Exports and compiles models, and writes them as one .pt2 package that says what they take and return.

A package written here loads wherever one written by `torch._inductor.aoti_compile_and_package` does. Its metadata also
has entries of this library, above all "aoti.spec": the compact JSON of `spec`, with the compiled model's constants.
Weights lie in a separate file beside the model's image, unless `Model.options` say otherwise: there they can be used
without being copied, and shared by processes. Torch 2.8 cannot put them there, and embeds them in the image.
"""

from __future__ import annotations

import copy
import json
import os
import re
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from operator import attrgetter
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
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree
from torch.utils._sympy.value_ranges import bound_sympy

from ._assumptions import assumptions_noted
from ._examples import distinct, expect_distinct, extent
from ._frozen import DTYPES, weights_plain
from ._guards import Inputs, Ranges, guards_of, guards_of_code, linear, module_of, ranges_of
from ._regions import regions_guarded
from ._upsampling import upsample_in_two_passes

SPEC_KEY = "aoti.spec"
# Specs with guards have version 2, so that older loaders, which do not check guards, refuse them.
SPEC_VERSION = 1
# How many threads the compiled code divides its work among.
THREADS_KEY = "aoti.threads"
# Whether an exception in a parallel region of the code is an error, rather than the end of the process.
REGIONS_KEY = "aoti.regions"
# What `tune` tried, the fastest first.
TUNED_KEY = "aoti.tuned"

# Exporting temporarily replaces torch functions.
_ONE_AT_A_TIME = threading.RLock()

# Set by `export` itself; other values would make a package that cannot be loaded, or lose the spec.
_RESERVED_OPTIONS = ("aot_inductor.package", "aot_inductor.output_path", "aot_inductor.metadata")

# Weights beside the image.
_BESIDE = {
    "aot_inductor.package_constants_in_so": False,
    "aot_inductor.package_constants_on_disk_format": "binary_blob",
}

# What the generated C++ says about inputs, outputs and constants.
_COUNTS = re.compile(r"AOTInductorModelBase\(\s*(\d+),\s*(\d+),\s*(\d+),")
_CONSTANT_FIELD = re.compile(r"^\s*constants_info_\[(\d+)\]\.(\w+) = (.*);$", re.MULTILINE)
_CONSTANT_KINDS = {
    "Parameter": "parameter",
    "Buffer": "buffer",
    "TensorConstant": "tensor",
    "FoldedConstant": "folded",
    "Unknown": "unknown",
}

Dimension = Union[int, "dict[str, Any]"]


@dataclass
class Model:
    """A model to be compiled, with what `torch.export.export` needs to know about its inputs.

    module: exported with `args`, `kwargs` and `dynamic_shapes`. An ExportedProgram is used as it is; leave those three
        empty.
    args, kwargs: example inputs. The compiled model expects their devices and memory layouts. Those that share memory
        with each other or with the module's weights are copied: torch.export treats one tensor in two places as one
        input. An ExportedProgram made from such inputs is refused if only one of the two is used; if it was saved and
        loaded, a buffer among its inputs goes undetected.
    dynamic_shapes: as for `torch.export.export`. The names of its Dims become symbols in the spec. Whether a dimension
        may be 0 or 1 is found by running the exported program on slices of copies of the example inputs.
    options: Inductor's configs, such as {"max_autotune": True}. They can put the weights elsewhere than beside the
        image: {"aot_inductor.package_constants_in_so": True} embeds them in it, {"aot_inductor.force_mmap_weights":
        True} appends them to it, {"aot_inductor.package_constants_in_so": False} leaves them out.
    metadata: text that loaders return. Keys that start with "aoti." are reserved.
    """

    module: torch.nn.Module | ExportedProgram
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    dynamic_shapes: Any = None
    options: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None


def export(
    path: str | os.PathLike[str],
    models: Model | Mapping[str, Model],
    *,
    extra: Mapping[str, str | bytes] | None = None,
    threads: int | None = None,
    tune: bool = False,
    updatable: bool = True,
    precision: str | None = None,
) -> str:
    """Compiles the models and writes them as one package; returns its path.

    path: ends in ".pt2", in a directory that exists. An older file is replaced only when the new one is complete, so an
        interrupted run leaves the old file, or none.
    models: by name; a single Model is named "model".
    extra: additional files, stored under "extra/". Names are relative paths with "/". torch's Python loader decodes all
        of them as UTF-8, and fails on a package with one that is not UTF-8.
    threads: how many threads the models will run with, since compiled code depends on it; None for
        torch.get_num_threads().
    tune: for CPU models only. Compiles each model in several ways: with the defaults, with freezing, with matrix
        products in C++, with both, and with freezing and 3 x 3 convolutions by Winograd's algorithm, which has larger
        rounding errors (some 5e-6 of the largest output) and takes four times the memory for their weights;
        `Model.options` apply to all. Runs each on the example inputs, as the package will be run; leaves out those
        whose outputs do not match the module's (in float32, to within 1e-3 of the largest), and keeps the fastest.
        Reports progress on stderr; the metadata lists what was tried, under "aoti.tuned". Takes minutes. Models that
        write to their own weights are not frozen, since that would lose what they write. Frozen models and those with
        matrix products in C++ may hold copies of weights in another memory layout ("derived" in `spec`): the weights
        themselves, "fixed" there, can no longer be changed.
    updatable: keeps every parameter and buffer out of the code, so that it can be changed. False makes a CPU model
        faster: it is frozen, so that batch norms become part of the weights of convolutions, what follows a convolution
        or a product is computed with it, and masks are computed in advance. Its weights stay plain tensors, which any
        runtime can read, but most can no longer be changed. (On libtorch, `Model.options` of {"freezing": True}, which
        packs the weights for libtorch alone, is faster still.) Models for other devices, those that write to their own
        weights, and those with weights of other dtypes than float32, bfloat16 and float16 are not frozen; of these,
        Inductor compiles weights with only a few elements into the code.
    precision: None computes in the modules' own dtypes. "bf16" computes products, convolutions and attention of CPU
        models in bfloat16, as torch.autocast does, which processors with AMX do several times faster; results are
        right to two or three digits. Not together with `tune`. Inputs keep their dtypes; outputs that would be
        bfloat16 are float32. With `updatable=False`, weights are stored in bfloat16; else each run converts them.

    Raises TypeError or ValueError for unusable arguments, before anything is compiled. Exceptions that torch raises
    while it exports or compiles are passed on.
    """
    target = _checked_path(path)
    if isinstance(models, Model):
        models = {"model": models}
    if not isinstance(models, Mapping):
        raise TypeError(f"models: expected a Model or a dict of name to Model; found {type(models).__name__}")
    if not models:
        raise ValueError("models: expected a Model or a non-empty dict of name to Model")
    for name, model in models.items():
        _check_model(name, model)
        if tune:
            _check_tuning(name, model.options or {})
        if precision is not None:
            _check_precision(name, model, precision, tune)
    _check_mapping("extra", extra)
    extra = dict(extra or {})
    for name, content in extra.items():
        _check_extra(name, content)
    check_threads(threads)
    if precision is not None:
        models = {name: replace(model, module=_in_bfloat16(model.module)) for name, model in models.items()}

    with _ONE_AT_A_TIME, _threads_set(threads), tempfile.TemporaryDirectory(prefix="aoti-") as work:
        files: dict[str, list[Any]] = {}
        for index, (name, model) in enumerate(models.items()):
            # One directory per model: files are named by a hash of the code, so equal models would share metadata.
            directory = os.path.join(work, str(index))
            os.mkdir(directory)
            files[name] = (_tune if tune else _compile)(name, model, directory, updatable=updatable)
        _write(target, files, extra)
    return str(target)


def spec(ep: ExportedProgram) -> dict[str, Any]:
    """What a compiled `ep` takes and returns, as data that `json.dumps` accepts.

    {"version": 1, "inputs": [tensor, ...], "outputs": [tensor, ...]}, or with guards
    {"version": 2, "inputs": [tensor, ...], "outputs": [tensor, ...], "guards": [guard, ...]}

    inputs: the tensors among the arguments, positional ones first, in the order in which the compiled model takes them.
        Those that the model writes to have "mutated": true.
    arguments: all arguments, flattened; only if some are not tensors. Numbers, strings, None and the like were compiled
        in: {"name", "value"}, the value as `repr` writes it, or null if that does not identify it; tensors: {"name"}.
    outputs: everything that is returned, flattened. Integers, bools and computed floats are returned as CPU tensors
        without dimensions, None as no tensor at all, with a null dtype and device.
    tensor: {"name", "dtype", "device", "shape"} and, unless the memory is row-major contiguous, either
        "order": the dimensions from outermost to innermost, if the memory is dense but permuted; or
        "strides": in elements, if the memory is not dense; null for an output's dynamic stride.
    shape: a list with an integer for a static dimension, and for a dynamic one
        {"symbol", "scale", "offset", "min", "max"}: its size is scale * symbol + offset (left out when 1 and 0), and
        min and max, null if unbounded, are the range of this size. A size that is not linear in one symbol is
        {"text", "min", "max"}. The range of a Dim is the user's; other ranges include 0 and 1 if the program can run on
        them.
    guards: what the program requires of the inputs' sizes beyond their shapes: products, remainders and comparisons of
        sizes, including those that decided its control flow or from which compiled-in numbers were computed. Loaders
        check them at each call. A GuardWarning reports one that cannot be expressed; guards on data, such as
        `torch._check(x.item() > 0)`, are checked by the compiled code. A package also has guards that its code relies
        on, for example because Inductor wrote a size of the example inputs into it.
    guard: {"text", "check"}: the guard as text, and as data: ["operation", operand, ...], where an operand is another
        such list, a number, or [input, dimension] for a size. Operations are Python's. On integers: + * max min of any
        number of operands, - // % & | ^; on floats: / ** sqrt float, and those of integers except // % & | ^; from
        floats to integers: trunc floor ceil round; comparisons == != < <= > >=; and of these: and or not.

    What `export` writes also has, if the code that this torch generates can be parsed,

    "constants": the model's constants in its order, each {"name", "fqn", "dtype", "device", "shape", "bytes", "kind"},
        and those of the following that apply.
    name, fqn: its names in the compiled code and in the exported program. Tensor constants and computed constants have
        only one name.
    aliases: its other FQNs, of tied weights.
    strides: in elements, unless they are exactly those of a new row-major tensor.
    layout: "mkldnn" if the data is in oneDNN's own format; left out for plain tensors, whose data has strides.
    bytes: what the model reserves for it, padded.
    offset: where its first element lies in the weights beside the image, in bytes. Left out for constants that do not
        lie there, or not as plain tensors.
    kind: "parameter", "buffer", "tensor" (a constant of the program), "folded" (computed from the others when the
        model is loaded) or "unknown" (such as a copy for another device).
    mutated: true if the model writes to it when it runs.
    derived: true if it was computed from weights when the model was compiled, so that it does not follow their changes.

    and, for parameters and buffers that are not among these,

    "unused": the FQNs of those that the model does not depend on.
    "fixed": those that were compiled in, wholly or in part, and cannot be changed: each {"fqn", "dtype", "shape"}.

    Raises ValueError if an argument is a dynamic number, a sparse tensor, or a tensor whose memory has gaps of dynamic
    size, or if a compiled model cannot return one of the outputs.
    """
    return _spec(ep, _effects(ep).written_inputs)[0]


def _spec(ep: ExportedProgram, mutated: set[str]) -> tuple[dict[str, Any], Inputs, Ranges]:
    signature = ep.graph_signature
    values = {node.name: node.meta["val"] for node in ep.graph.nodes if "val" in node.meta}
    symbols = _symbol_names(values.values())
    taken = Inputs(ep)
    ranges = ranges_of(taken, symbols)

    inputs: list[dict[str, Any]] = []
    arguments: list[dict[str, Any]] = []
    for item in signature.input_specs:
        if item.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(item.arg, TensorArgument):
            name = item.arg.name
            arguments.append({"name": name})
            inputs.append(_tensor(f"input '{name}'", name, values[name], ranges, symbols))
            if name in mutated:
                inputs[-1]["mutated"] = True
            if None in inputs[-1].get("strides", ()):
                raise ValueError(
                    f"input '{name}': its memory has gaps whose size depends on a dynamic dimension, which cannot "
                    "be checked; export with a contiguous example"
                )
        elif isinstance(item.arg, ConstantArgument):
            arguments.append({"name": item.arg.name, "value": constant_text(item.arg.value)})
        else:
            raise ValueError(
                f"input '{item.arg.name}': a compiled model takes tensors only; pass the number as a tensor, "
                "or export it as a constant"
            )

    outputs: list[dict[str, Any]] = []
    returned = [item.arg for item in signature.output_specs if item.kind is OutputKind.USER_OUTPUT]
    for argument, name in zip(returned, _output_names(returned, ep.call_spec.out_spec)):
        what = f"output '{name}'"
        if isinstance(argument, TensorArgument):
            outputs.append(_tensor(what, name, values[argument.name], ranges, symbols))
        else:
            outputs.append(_scalar(what, name, argument))
    described = {"version": SPEC_VERSION, "inputs": inputs, "outputs": outputs}
    if guards := guards_of(taken, ranges):
        described.update(version=2, guards=guards)
    if len(arguments) != len(inputs):
        described["arguments"] = arguments
    return described, taken, ranges


def constant_text(value: Any) -> str | None:
    """A value that can be compiled in, as text for the spec; None if its text does not identify it."""
    if getattr(value, "shape", None) == () and hasattr(value, "item") and not hasattr(value, "__dlpack__"):
        value = value.item()  # numpy scalars, by value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # including numpy's float64 and other subclasses
            return repr(kind(value))
    plain = (type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
    return repr(value) if isinstance(value, plain) else None


def _checked_path(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if "\0" in str(target):
        raise ValueError("path: embedded null byte")
    try:
        str(target).encode()
    except UnicodeEncodeError:
        raise ValueError(f"path: expected a name in UTF-8; found {str(target)!r}") from None
    if target.suffix != ".pt2":
        raise ValueError(f"path: expected a file name that ends in .pt2; found '{target}'")
    if not os.path.isdir(target.parent):
        raise ValueError(f"path: '{target.parent}' is not a directory")
    if os.path.isdir(target):
        raise ValueError(f"path: '{target}' is a directory")
    try:  # now, rather than after minutes of compiling
        with _unfinished(target) as file:
            file.touch()
    except OSError as error:
        raise ValueError(f"path: no file can be written into '{target.parent}': {error.strerror}") from None
    return target


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A path for a file that is being written, on the file system of its target."""
    # A directory rather than another file name: the archive's root is named after the file.
    with tempfile.TemporaryDirectory(prefix=".aoti-", dir=target.parent) as beside:
        yield Path(beside) / target.name


def _check_model(name: Any, model: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name):
        raise ValueError(
            f"model {name!r}: a name consists of letters, digits and '_.+-', and begins with a letter, digit or '_'"
        )
    where = f"model '{name}'"
    if not isinstance(model, Model):
        raise TypeError(f"{where}: expected a Model; found {type(model).__name__}")
    if isinstance(model.module, ExportedProgram):
        if tuple(model.args) or model.kwargs or model.dynamic_shapes is not None:
            raise ValueError(f"{where}: args, kwargs and dynamic_shapes are those of the ExportedProgram; leave them out")
        if model.module.example_inputs is None:
            raise ValueError(f"{where}: the ExportedProgram has no example inputs")
        expect_distinct(name, model.module)
    elif not isinstance(model.module, torch.nn.Module):
        raise TypeError(
            f"{where}: module: expected an nn.Module or an ExportedProgram; found {type(model.module).__name__}"
        )
    if not isinstance(model.args, (tuple, list)):
        raise TypeError(f"{where}: args: expected a tuple; found {type(model.args).__name__}")
    for what in ("kwargs", "options", "metadata"):
        _check_mapping(f"{where}: {what}", getattr(model, what))
    for key in model.options or {}:
        if key in _RESERVED_OPTIONS:
            raise ValueError(f"{where}: option '{key}' is set by export(); metadata goes into Model.metadata")
        if not _has_option(key):
            raise ValueError(f"{where}: torch {torch.__version__} has no option '{key}'")
    for key, value in (model.metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{where}: metadata: expected text for text; found {key!r}: {value!r}")
        if key.startswith("aoti."):
            raise ValueError(f"{where}: metadata: keys that start with 'aoti.' are reserved; found '{key}'")


def _check_tuning(name: str, options: Mapping[str, Any]) -> None:
    if not options.get("aot_inductor.package_constants_in_so", True) and not any(options.get(key) for key in _BESIDE):
        raise ValueError(f"tune: the options leave out the weights of model '{name}', without which it cannot run")
    if options.get("aot_inductor.package_cpp_only"):
        raise ValueError(f"tune: option 'aot_inductor.package_cpp_only' leaves nothing of model '{name}' that could run")


def _check_precision(name: str, model: Model, precision: str, tune: bool) -> None:
    if precision != "bf16":
        raise ValueError(f"precision: expected 'bf16' or None; found {precision!r}")
    if tune:
        raise ValueError("precision: models that are tuned keep their dtypes; leave out one of the two")
    if isinstance(model.module, ExportedProgram):
        raise ValueError(f"precision: the dtypes of model '{name}', an ExportedProgram, are fixed; give its module")
    tensors = [*model.module.parameters(), *model.module.buffers(), *pytree.tree_leaves((model.args, model.kwargs))]
    if any(isinstance(tensor, torch.Tensor) and not tensor.is_cpu for tensor in tensors):
        raise ValueError(f"precision: expected a model for the CPU; '{name}' is for another device")
    if not (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        raise ValueError("precision: this processor has neither AMX nor AVX512-BF16, without which bfloat16 is slower")


def _in_bfloat16(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the same weights, which computes under torch.autocast."""
    forward = module.forward

    @wraps(forward)
    def autocast(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            results = forward(*args, **kwargs)
        return pytree.tree_map_only(
            torch.Tensor, lambda result: result.float() if result.dtype is torch.bfloat16 else result, results
        )

    module = copy.copy(module)
    module.forward = autocast
    return module


def _check_mapping(what: str, value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what}: expected a dict or None; found {type(value).__name__}")


def _has_option(key: str) -> bool:
    from torch._inductor import config

    *groups, name = key.split(".")
    for group in groups:
        config = getattr(config, group, None)
    return hasattr(config, name)


def _check_extra(name: Any, content: Any) -> None:
    parts = name.split("/") if isinstance(name, str) else [""]
    if "\\" in str(name) or "\0" in str(name) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"extra: expected a relative path without '..'; found {name!r}")
    if not isinstance(content, (str, bytes)):
        raise TypeError(f"extra: '{name}': expected str or bytes; found {type(content).__name__}")


def check_threads(threads: int | None) -> None:
    """Raises ValueError for an unreasonable number of threads: each takes memory, and too many end the process."""
    most = max(64, 4 * (os.cpu_count() or 1))
    if threads is not None:
        check_number("threads", threads, most)


def check_number(what: str, number: int, most: int) -> None:
    if type(number) is not int:
        raise TypeError(f"{what}: expected a number from 1 to {most}; found {type(number).__name__}")
    if not 1 <= number <= most:
        raise ValueError(f"{what}: expected a number from 1 to {most}; found {number}")


@contextmanager
def _threads_set(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _exported(model: Model) -> ExportedProgram:
    kwargs = dict(model.kwargs or {})
    ep, shapes = model.module, model.dynamic_shapes
    try:
        if not isinstance(ep, ExportedProgram):
            if isinstance(shapes, torch.export.ShapesCollection):  # which identifies tensors by id
                shapes = shapes.dynamic_shapes(ep, tuple(model.args), kwargs)
            args, kwargs = distinct(ep, model.args, kwargs)
            ep = torch.export.export(ep, args, kwargs or None, dynamic_shapes=shapes)
        for tree in (ep.call_spec.in_spec, ep.call_spec.out_spec):
            pytree.treespec_dumps(tree)  # as in the package
    except (RuntimeError, NotImplementedError) as error:
        named = re.search("<class '(.+?)'>", str(error))
        if named is None or not re.search("not a known type|register(ed)? .*serializ", str(error)):
            raise
        raise ValueError(
            f"the module takes or returns a {named[1]}, which packages have no name for: register it before exporting "
            f"and before loading, with serialized_type_name='{named[1]}': a dataclass by torch.export.register_dataclass, "
            "a namedtuple by torch.utils._pytree._register_namedtuple, others by …register_pytree_node"
        ) from error
    return ep


def _tune(name: str, model: Model, directory: str, *, updatable: bool) -> list[Any]:
    """Like `_compile`, in the fastest way."""
    from ._model import load
    from ._tune import CANDIDATES, Example, Way, expect_alike, fastest

    ep = _exported(model)
    args, kwargs = ep.example_inputs
    if any(isinstance(leaf, torch.Tensor) and not leaf.is_cpu for leaf in pytree.tree_leaves((args, kwargs))):
        raise ValueError("tune: expected a model for the CPU")
    fixed = dict(model.options or {})
    state = {**ep.state_dict, **ep.constants}
    written = {fqn: state[fqn] for fqn in _effects(ep).written}
    if fixed.get("freezing") and written:
        raise ValueError(f"tune: option 'freezing' would lose what {name} writes to {', '.join(sorted(written))}")
    before = {fqn: tensor.detach().clone() for fqn, tensor in written.items()}

    def restored() -> None:
        for fqn, tensor in written.items():
            tensor.copy_(before[fqn])

    def compile_as(way: Way, folder: str) -> tuple[list[Any], Callable[[], Any]]:
        try:
            files = _compile(name, replace(model, options=way.options), folder, ep, way.rewrite, updatable=updatable)
        finally:
            restored()  # compiling may run the program
        path = Path(folder) / "candidate.pt2"
        _write(path, {name: files}, {})
        return files, load(path, threads=torch.get_num_threads())

    ways: dict[str, Way] = {}
    for title, (options, rewrite) in CANDIDATES.items():
        way = Way({**options, **fixed}, rewrite)
        loses = way.options.get("freezing") and written
        if way not in ways.values() and not loses and (rewrite is None or rewrite(module_of(ep))):
            ways[title] = way
    with torch.no_grad():
        expected, again = (Example(ep.example_inputs)(copy.deepcopy(module_of(ep))) for _ in range(2))
        try:
            expect_alike(again, expected)
        except ValueError as error:
            raise ValueError(f"tune: the outputs of {name} are random, so no candidate can be checked: {error}") from None
        files, tried = fastest(ways, compile_as, Example(ep.example_inputs), expected, directory, f"tuning {name}")
    _amend_metadata(files, TUNED_KEY, {"threads": torch.get_num_threads(), "tried": tried})
    return files


def _compile(
    name: str,
    model: Model,
    directory: str,
    ep: ExportedProgram | None = None,
    rewrite: Callable[[GraphModule], bool] | None = None,
    *,
    updatable: bool,
) -> list[Any]:
    """Returns what Inductor generated: paths under `directory`, and weights that are still in memory.

    rewrite: changes the program before it is compiled, in place, but not what it takes and returns.
    """
    ep = ep or _exported(model)
    effects = _effects(ep)
    description, taken, ranges = _spec(ep, effects.written_inputs)
    given = model.options or {}
    freezes = not updatable and given.get("freezing", True) and _may_freeze(ep, effects)
    options = {**(_keeping(ep, effects) if updatable else {}), **({"freezing": True} if freezes else {}), **given}
    beside = _weights_go_beside(ep, options)
    generate = partial(_generate, ep, rewrite, description, model.metadata)
    with assumptions_noted(ranges) as assumed, ExitStack() as frozen:
        if freezes:
            frozen.enter_context(torch.no_grad())
            frozen.enter_context(weights_plain())
        files = generate({**options, **(_BESIDE if beside else {})}, directory)
        constants = _constants(ep, files, effects.written)
        if beside and (constants is None or not _weights_size(files)):
            # Unknown code is packaged as torch does by default; and torch's loader cannot map an empty file.
            directory = os.path.join(directory, "embedded")
            os.mkdir(directory)
            files = generate(options, directory)
            constants = _constants(ep, files, effects.written)
    _check_counts(name, description, files)
    if any("Mc_blocks" in path.read_text(encoding="utf-8") for path in _paths(files, ".cpp")):
        _refuse_empty(description)
    if guards := guards_of_code(assumed, taken, ranges, description.get("guards", [])):
        description.update(version=2, guards=guards)
    if constants is not None:
        description.update(constants=constants, **_others(ep, effects, constants, files))
    _amend_metadata(files, SPEC_KEY, description)
    return files


def _refuse_empty(description: dict[str, Any]) -> None:
    """Excludes size 0: Inductor's matrix products in C++ divide by a matrix's number of blocks."""
    for tensor in description["inputs"]:
        for dimension in tensor["shape"]:
            if isinstance(dimension, dict) and dimension["min"] == 0:
                dimension["min"] = 1


def _weights_go_beside(ep: ExportedProgram, options: Mapping[str, Any]) -> bool:
    """Whether the options do not say where weights go, and the program has some."""
    from torch._inductor import config

    def setting(name: str) -> Any:
        return options.get(f"aot_inductor.{name}", getattr(config.aot_inductor, name, None))

    if any(key in options for key in _BESIDE) or not hasattr(config.aot_inductor, "package_constants_on_disk_format"):
        return False
    if not setting("package_constants_in_so") or setting("package_constants_on_disk_format") is not None:
        return False
    if setting("force_mmap_weights") or setting("package_cpp_only"):
        return False
    kinds = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
    names = {item.arg.name for item in ep.graph_signature.input_specs if item.kind in kinds}
    return any(node.users for node in ep.graph.nodes if node.op == "placeholder" and node.name in names)


def _generate(
    ep: ExportedProgram,
    rewrite: Callable[[GraphModule], bool] | None,
    description: dict[str, Any],
    metadata: Mapping[str, str] | None,
    options: Mapping[str, Any],
    directory: str,
) -> list[Any]:
    from ._operators import results_noted

    args, kwargs = ep.example_inputs
    module = module_of(ep)
    upsample_in_two_passes(module)
    if rewrite is not None and rewrite(module):
        _keep_layouts(module, description["outputs"])
    _keep_assertions(module)
    _own_memory(module, keep_strides=any("strides" in output for output in description["outputs"]))
    with regions_guarded() as done:
        files = results_noted()(torch._inductor.aot_compile)(
            module,
            args,
            kwargs,
            options={
                **options,
                "aot_inductor.package": True,
                "aot_inductor.output_path": directory,
                "aot_inductor.metadata": {
                    **(metadata or {}),
                    SPEC_KEY: _compact(description),
                    THREADS_KEY: str(_threads(options)),
                },
            },
        )
    for image in _paths(files, ".so"):
        _forbid_executable_stack(image)
    if done and all(done):
        _amend_metadata(files, REGIONS_KEY, True)
    return files


def _forbid_executable_stack(image: Path) -> None:
    """Clears the request for an executable stack, which the linker makes since Inductor's assembler file of weights does
    not say that it needs none."""
    header, segment = struct.Struct("<4sBB"), struct.Struct("<II")
    gnu_stack, executable = 0x6474E551, 1
    with open(image, "r+b") as file:
        start = file.read(64)
        if header.unpack_from(start) != (b"\x7fELF", 2, 1):  # 64 bits, little-endian
            return
        (table,), (size, count) = struct.unpack_from("<Q", start, 32), struct.unpack_from("<HH", start, 54)
        for place in range(table, table + size * count, size):
            file.seek(place)
            kind, flags = segment.unpack(file.read(segment.size))
            if kind == gnu_stack:
                file.seek(place)
                file.write(segment.pack(kind, flags & ~executable))


def _threads(options: Mapping[str, Any]) -> int:
    from torch._inductor import config

    threads = options.get("cpp.threads", config.cpp.threads)
    return threads if threads > 0 else torch.get_num_threads()


def _compact(description: dict[str, Any]) -> str:
    return json.dumps(description, separators=(",", ":"))


def _paths(files: list[Any], ending: str) -> list[Path]:
    return [Path(file) for file in files if isinstance(file, str) and file.endswith(ending)]


def _amend_metadata(files: list[Any], key: str, value: Any) -> None:
    """Adds an entry to the metadata of the wrapper and to that of the kernels; torch's loader reads either."""
    for path in _paths(files, "_metadata.json"):
        metadata = json.loads(path.read_text(encoding="utf-8"))
        metadata[key] = _compact(value)
        path.write_text(json.dumps(metadata), encoding="utf-8")


def _generated_source(files: list[Any]) -> tuple[str, tuple[int, int, int]] | None:
    """The C++ of the model's class, and its numbers of inputs, outputs and constants."""
    for path in _paths(files, ".cpp"):
        text = path.read_text(encoding="utf-8")
        if match := _COUNTS.search(text):
            return text, (int(match[1]), int(match[2]), int(match[3]))
    return None


def _check_counts(name: str, description: dict[str, Any], files: list[Any]) -> None:
    """Checks the spec against the counts that the generated C++ passes to its base class."""
    source = _generated_source(files)
    if source is None:
        return
    compiled = source[1][:2]
    expected = (len(description["inputs"]), len(description["outputs"]))
    if compiled != expected:
        raise RuntimeError(
            f"model '{name}': the spec has {expected[0]} inputs and {expected[1]} outputs, "
            f"the compiled model {compiled[0]} and {compiled[1]}"
        )


def _weights_size(files: list[Any]) -> int | None:
    """The size of the weights beside the image; None if there are none."""
    blobs = _paths(files, "_weights.blob")
    return blobs[0].stat().st_size if len(blobs) == 1 else None


def _constants(ep: ExportedProgram, files: list[Any], mutated: set[str]) -> list[dict[str, Any]] | None:
    """What `spec` documents; None if the form of the generated C++ is unknown."""
    source = _generated_source(files)
    if source is None:
        return None
    text, (_, _, count) = source
    fields: dict[int, dict[str, str]] = {index: {} for index in range(count)}
    tensors = {fqn: value for fqn, value in {**ep.constants, **ep.state_dict}.items() if isinstance(value, torch.Tensor)}
    ties = _ties(tensors)
    # Torch 2.8 does not tell each constant's device: it is the model's.
    device = next((tensor.device.type for tensor in tensors.values() if tensor.device.type != "cpu"), "cpu")
    blob = _weights_size(files)
    constants: list[dict[str, Any]] = []
    position = 0
    try:
        for index, field, value in _CONSTANT_FIELD.findall(text):
            fields[int(index)][field] = value
        for values in fields.values():
            constant, start = _constant({"device_type": f"cached_torch_device_type_{device}", **values})
            _expect_like(constant, tensors.get(constant["fqn"]))
            constants.append(constant)
            if aliases := [fqn for fqn in ties.get(constant["fqn"], ()) if fqn != constant["fqn"]]:
                constant["aliases"] = aliases
            if constant["kind"] == "folded":
                continue
            if constant["fqn"] not in tensors and constant["kind"] != "tensor":
                constant["derived"] = True
            if blob is not None and "layout" not in constant:
                constant["offset"] = position + start
            position += constant["bytes"]
        if blob is not None and blob != position:
            raise ValueError(f"{blob} bytes of weights, expected {position}")
        for constant in constants:
            if constant["fqn"] in mutated:
                constant["mutated"] = True
        if any(tensors[fqn].numel() > 0 for fqn in mutated - {constant["fqn"] for constant in constants}):
            raise ValueError("the program writes to a constant of unknown name")
    except (KeyError, ValueError):
        return None
    return constants


def _constant(values: dict[str, str]) -> tuple[dict[str, Any], int]:
    """A constant, from the texts assigned to its fields, and the offset of its first element in its storage, in
    bytes."""

    def read(field: str, pattern: str) -> str:
        match = re.fullmatch(pattern, values[field])
        if match is None:
            raise ValueError(f"{field}: {values[field]}")
        return match[1]

    def numbers(field: str) -> list[int]:
        return [int(number) for number in read(field, r"\{([\d, ]*)\}").split(",") if number.strip()]

    dtype = getattr(torch, read("dtype", r"(?:static_cast<int32_t>\()?cached_torch_dtype_(\w+)\)?"), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(values["dtype"])
    shape, strides = numbers("shape"), numbers("stride")
    layout = read("layout", r"static_cast<int32_t>\(cached_torch_layout_(\w+)\)").lstrip("_")
    constant = {
        "name": read("name", r'"([^"\\]+)"'),
        "fqn": read("original_fqn", r'"([^"\\]+)"'),
        "dtype": _dtype_name(dtype),
        "device": read("device_type", r"cached_torch_device_type_(\w+)"),
        "shape": shape,
        "bytes": int(read("data_size", r"(\d+)")),
        "kind": _CONSTANT_KINDS[read("type", r"static_cast<int32_t>\(torch::aot_inductor::ConstantType::(\w+)\)")],
    }
    if (constant["kind"] == "folded") != (read("from_folded", "(true|false)") == "true"):
        raise ValueError(values["from_folded"])
    start = int(read("offset", r"(\d+)")) * dtype.itemsize
    if layout != "strided":
        return {**constant, "layout": layout}, start
    if len(strides) != len(shape):
        raise ValueError(values["stride"])
    if strides != list(torch.empty(shape, device="meta").stride()):
        constant["strides"] = strides
    elements = extent(shape, strides)
    if start + elements * dtype.itemsize > constant["bytes"] and elements > 0:
        raise ValueError(values["data_size"])
    return constant, start


def _expect_like(constant: dict[str, Any], tensor: torch.Tensor | None) -> None:
    """Raises ValueError if a constant is not like the program's tensor of that FQN."""
    if tensor is not None and (list(tensor.shape), _dtype_name(tensor.dtype)) != (constant["shape"], constant["dtype"]):
        raise ValueError(f"{constant['fqn']}: the program has another shape or dtype")


@dataclass
class _Effects:
    """What a program does with its weights and inputs.

    written, written_inputs: the FQNs of weights, and the names of inputs, that it writes to.
    uses: in how many places it needs the values of a parameter or buffer, by FQN; uses of its shape or dtype alone do
        not count.
    """

    written: set[str]
    written_inputs: set[str]
    uses: dict[str, int]


# Operators that use a tensor's shape or dtype, not its values.
_FORM_ONLY = re.compile(r"(zeros|ones|full|empty|rand|randn|randint)_like|new_\w+|sym_\w+|_assert_tensor_metadata")


def _effects(ep: ExportedProgram) -> _Effects:
    # The signature of a program that is not functional yet, as those of `torch.export.export`, does not tell.
    try:
        with _decomposable(ep):
            program = ep.run_decompositions({})
    except AssertionError as error:
        overlapping = _overlapping(_weights(ep))
        if not overlapping:
            raise
        raise ValueError(
            "torch cannot decompose the program, probably because it writes to one of "
            f"{', '.join(overlapping)}, which share memory, while a compiled model keeps them apart; register only one of them, "
            f"and make the others from it in forward() ({error})"
        ) from error
    signature = program.graph_signature
    written = {*signature.buffers_to_mutate.values(), *getattr(signature, "parameters_to_mutate", {}).values()}
    fqns = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    uses = {
        fqns[node.name]: sum(
            not (user.op == "call_function" and _FORM_ONLY.fullmatch(getattr(user.target, "__name__", "").split(".")[0]))
            for user in node.users
        )
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in fqns
    }
    return _Effects(written, set(signature.user_inputs_to_mutate.values()), uses)


def _weights(ep: ExportedProgram) -> dict[str, torch.Tensor]:
    """Parameters and buffers, by FQN."""
    signature = ep.graph_signature
    names = [*signature.inputs_to_parameters.values(), *signature.inputs_to_buffers.values()]
    found = {fqn: ep.state_dict.get(fqn, ep.constants.get(fqn)) for fqn in names}
    return {fqn: tensor for fqn, tensor in found.items() if isinstance(tensor, torch.Tensor)}


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether its elements lie in one storage, at its sizes and strides."""
    kinds = (torch.Tensor, torch.nn.Parameter)
    return type(tensor) in kinds and tensor.layout is torch.strided and tensor.device.type != "meta"


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    form = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
    return (tensor.untyped_storage().data_ptr(), tensor.device, *form)


def _ties(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """For each name, all names of the same weight."""
    groups: dict[Any, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(_place(tensor) if _is_plain(tensor) and tensor.numel() > 0 else id(tensor), []).append(name)
    return {name: group for group in groups.values() for name in group}


def _overlapping(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of those that share a storage with another without being tied to it."""
    plain = {name: tensor for name, tensor in tensors.items() if _is_plain(tensor) and tensor.numel() > 0}
    ties = _ties(plain)
    storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in plain.items()}
    return [name for name in plain if sum(storage == storages[name] for storage in storages.values()) > len(ties[name])]


def _keeping(ep: ExportedProgram, effects: _Effects) -> dict[str, Any]:
    """Inductor's options that keep every parameter and buffer out of the code."""
    used = [tensor for fqn, tensor in _weights(ep).items() if effects.uses.get(fqn)]
    tensors = [tensor for tensor in (*used, *ep.constants.values()) if isinstance(tensor, torch.Tensor)]
    if any(not tensor.is_cpu for tensor in tensors) and any(tensor.is_cpu and tensor.dim() == 0 for tensor in tensors):
        return {}  # GPU kernels cannot read a scalar on the CPU unless it is compiled in
    options: dict[str, Any] = {"always_keep_tensor_constants": True}
    if any(tensor.numel() == 1 for tensor in used):
        options["joint_graph_constant_folding"] = False  # which compiles in tensors of one element
    return {key: value for key, value in options.items() if _has_option(key)}


def _may_freeze(ep: ExportedProgram, effects: _Effects) -> bool:
    """Whether all tensors are on the CPU, the model writes to none of its weights, and Inductor packs their dtypes."""
    weights = [leaf for leaf in (*ep.state_dict.values(), *ep.constants.values()) if isinstance(leaf, torch.Tensor)]
    inputs = [leaf for leaf in pytree.tree_leaves(ep.example_inputs) if isinstance(leaf, torch.Tensor)]
    return (
        not effects.written
        and all(tensor.is_cpu for tensor in (*weights, *inputs))
        and all(tensor.dtype in DTYPES for tensor in weights if tensor.dim() > 1)
    )


def _others(
    ep: ExportedProgram, effects: _Effects, constants: list[dict[str, Any]], files: list[Any]
) -> dict[str, Any]:
    """What `spec` documents for weights without a constant."""
    weights = _weights(ep)
    ties = _ties(weights)
    if copied := any("derived" in constant for constant in constants):
        read = _names_read(files)
        constants = [constant for constant in constants if constant["name"] in read]
    kept = {fqn for constant in constants for fqn in (constant["fqn"], *constant.get("aliases", ()))}
    unused: list[str] = []
    fixed: list[dict[str, Any]] = []
    for fqn, tensor in weights.items():
        uses = sum(effects.uses.get(other, 0) for other in ties[fqn])
        if fqn not in kept and (uses == 0 or tensor.numel() == 0):
            unused.append(fqn)
        elif fqn not in kept or (copied and uses > 1):  # one of its uses may read a copy
            fixed.append({"fqn": fqn, "dtype": _dtype_name(tensor.dtype), "shape": list(tensor.shape)})
    return {"unused": unused, "fixed": fixed}


def _names_read(files: list[Any]) -> set[str]:
    """The words in the model's C++, except in lines that only list and fetch its constants."""
    source = _generated_source(files)
    lines = () if source is None else source[0].splitlines()
    texts = (line for line in lines if "constants_info_[" not in line and "= constants_->at(" not in line)
    return {word for text in texts for word in re.findall(r"\w+", text)}


def _keep_assertions(module: GraphModule) -> None:
    """Gives assertions on tensors a message, since Inductor leaves out those without one."""
    aten = torch.ops.aten
    for node in module.graph.find_nodes(op="call_function", target=aten._assert_async.default):
        node.target = aten._assert_async.msg
        node.args = (*node.args, "expected a tensor with a nonzero value, found zero")
    module.recompile()


def _own_memory(module: GraphModule, *, keep_strides: bool) -> None:
    """Copies weights that are views of a larger storage, since Inductor writes whole storages.

    keep_strides: keep gaps in a view, even if another weight lies in them.
    """
    names = [*dict(module.named_parameters(remove_duplicate=False)), *dict(module.named_buffers(remove_duplicate=False))]
    names += [node.target for node in module.graph.nodes if node.op == "get_attr"]
    tensors = {name: attrgetter(name)(module) for name in names}
    tensors = {name: t for name, t in tensors.items() if isinstance(t, torch.Tensor) and _is_plain(t)}
    places: dict[int, set[Any]] = {}
    for tensor in tensors.values():
        places.setdefault(tensor.untyped_storage().data_ptr(), set()).add(_place(tensor))
    made: dict[Any, torch.Tensor] = {}
    for name, tensor in tensors.items():
        count = extent(tensor.shape, tensor.stride())
        if tensor.untyped_storage().nbytes() == count * tensor.element_size() and not (tensor.is_conj() or tensor.is_neg()):
            continue
        if _place(tensor) not in made:
            shared = len(places[tensor.untyped_storage().data_ptr()]) > 1
            if tensor.numel() == 0 or (shared and count > tensor.numel() and not keep_strides):
                own = tensor.detach().clone().resolve_conj().resolve_neg()
            else:
                own = _memory_of(tensor.detach(), count).as_strided(tensor.shape, tensor.stride())
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            made[_place(tensor)] = torch.nn.Parameter(own, tensor.requires_grad) if is_parameter else own
        owner, _, field = name.rpartition(".")
        own = made[_place(tensor)]
        setattr(module.get_submodule(owner), field, own if isinstance(tensor, torch.nn.Parameter) else own.detach())


def _memory_of(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """A copy of the elements that it spans, gaps included; lazily conjugated or negated like the tensor."""
    conjugated, negated = tensor.is_conj(), tensor.is_neg()
    tensor = tensor.conj() if conjugated else tensor
    tensor = torch._neg_view(tensor) if negated else tensor
    memory = tensor.as_strided((count,), (1,)).clone()
    memory = memory.conj_physical_() if conjugated else memory
    return memory.neg_() if negated else memory


@contextmanager
def _decomposable(ep: ExportedProgram) -> Iterator[None]:
    """Hides what torch cannot handle: its own guard checks (see `module_of`), and the ranges of products and the like,
    which it puts among those of symbols when it loads a program."""
    values = (node.meta.get("val") for node in ep.graph.nodes)
    mode = next((value.fake_mode for value in values if hasattr(value, "fake_mode")), None)
    ranges = getattr(getattr(mode, "shape_env", None), "var_to_range", {})
    hidden = {key: ranges.pop(key) for key in list(ranges) if not key.is_Symbol}
    try:
        vars(ep)["module"] = lambda check_guards=False: module_of(ep)
        yield
    finally:
        del vars(ep)["module"]
        ranges.update(hidden)


def _write(target: Path, files: dict[str, list[Any]], extra: dict[str, str | bytes]) -> None:
    from torch.export.pt2_archive._package import PT2ArchiveWriter, _package_aoti_files
    from torch.export.pt2_archive.constants import EXTRA_DIR

    with _unfinished(target) as unfinished:
        with PT2ArchiveWriter(str(unfinished)) as writer:
            _package_aoti_files(writer, files)
            for name, content in extra.items():
                data = content.encode() if isinstance(content, str) else content
                writer.write_bytes(f"{EXTRA_DIR}{name}", data)
        os.replace(unfinished, target)


def _symbol_names(values: Any) -> dict[sympy.Symbol, str]:
    """The user's Dim names by symbol, if torch still has them (a saved and loaded program has none)."""
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
    """Dict keys and field names if there are any ("z_0" for {"z": (sum,)}), otherwise the graph's names."""
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
        raise ValueError(f"{what}: a compiled model returns tensors, numbers and None only; found {argument}")
    return {"name": name, "dtype": _dtype_name(dtype), "device": "cpu", "shape": []}


def _tensor(
    what: str, name: str, value: torch.Tensor, ranges: Ranges, symbols: dict[sympy.Symbol, str]
) -> dict[str, Any]:
    if value.layout is not torch.strided:
        raise ValueError(f"{what}: expected a dense tensor, got layout {value.layout}")
    return {
        "name": name,
        "dtype": _dtype_name(value.dtype),
        "device": value.device.type,
        "shape": [_dimension(_expression(size), ranges, symbols) for size in value.shape],
        **_layout([_expression(size) for size in value.shape], [_expression(stride) for stride in value.stride()]),
    }


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _expression(size: int | torch.SymInt) -> sympy.Expr:
    return sympy.expand(size.node.expr) if isinstance(size, torch.SymInt) else sympy.Integer(size)


def _dimension(size: sympy.Expr, ranges: Ranges, symbols: dict[sympy.Symbol, str]) -> Dimension:
    if size.is_number:
        return int(size)
    bounds = ranges.get(size) or bound_sympy(size, ranges)
    limits = {"min": max(0, _finite(bounds.lower) or 0), "max": _finite(bounds.upper)}
    if (line := linear(size)) is not None:
        symbol, scale, offset = line
        return {
            "symbol": symbols.get(symbol, str(symbol)),
            **({"scale": scale} if scale != 1 else {}),
            **({"offset": offset} if offset != 0 else {}),
            **limits,
        }
    text = size.xreplace({symbol: sympy.Symbol(name) for symbol, name in symbols.items()})
    return {"text": str(text), **limits}


def _finite(bound: Any) -> int | None:
    # Some versions of torch represent "unbounded" as the largest integer, or one less.
    return int(bound) if getattr(bound, "is_Integer", False) and abs(bound) < sys.maxsize - 1 else None


def _keep_layouts(module: GraphModule, outputs: list[dict[str, Any]]) -> None:
    """Gives the outputs of a rewritten program the memory layout of the spec."""
    (result,) = (node for node in module.graph.nodes if node.op == "output")
    for node, output in zip(pytree.tree_leaves(result.args), outputs, strict=True):
        is_tensor = isinstance(node, Node) and isinstance(node.meta.get("val"), torch.Tensor)
        if is_tensor and node in result.all_input_nodes and "strides" not in output:
            with module.graph.inserting_before(result):
                result.replace_input_with(node, module.graph.call_function(_laid_out, (node, output.get("order", []))))
    module.recompile()


def _laid_out(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """A tensor whose dimensions are laid out in `order`, from outermost to innermost; row-major if it is empty."""
    if not order:
        return tensor.contiguous()
    return tensor.permute(*order).contiguous().permute(*sorted(range(len(order)), key=order.__getitem__))


def _layout(sizes: list[sympy.Expr], strides: list[sympy.Expr]) -> dict[str, list[int | None]]:
    """{} if row-major contiguous, else {"order": ...} or {"strides": ...}. Strides of dimensions of size 1 do not
    count."""
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
