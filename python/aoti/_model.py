"""Loads compiled models and calls them like the exported modules."""

from __future__ import annotations

import functools
import inspect
import json
import operator
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Union

import torch
from torch.utils import _pytree as pytree

from . import _C
from ._export import SPEC_KEY, THREADS_KEY, check_number, check_threads, constant_text
from .errors import InputError, PackageError, RunError

_BACKINGS = ("memory", "shared_memory", "temporary_file")  # as in C++'s Backing

Source = Union[str, os.PathLike[str], bytes, bytearray, memoryview, BinaryIO]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a model takes or returns.

    name: the argument's, or the output's inside the model.
    dtype: such as "float32"; None if the model returns None.
    device: such as "cpu".
    shape: sizes; a dynamic dimension is a text, such as "batch 1..64".
    """

    name: str
    dtype: str | None
    device: str | None
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}".replace("'", "") + f" on {self.device}"


@dataclass(frozen=True)
class ConstantInfo:
    """A weight of a model.

    name: the FQN in the exported module.
    shape: None if unknown.
    bytes: what the model reserves for it.
    tied_to: the name under which the same weight is already listed; None for most.
    updatable: False if it was compiled in, wholly or in part, as in tuned and frozen models, and cannot be changed.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    bytes: int
    tied_to: str | None = None
    updatable: bool = True


class ThreadsWarning(UserWarning):
    """A model runs with another number of threads than it was compiled for, which can halve its speed."""


class _CallSignature:
    """`inspect.signature` of a model: the arguments of the exported module; positional ones are positional-only."""

    def __get__(self, model: CompiledModel | None, owner: type) -> inspect.Signature:
        text = "" if model is None else model._call_spec[0]
        if not text or model is None:
            raise AttributeError("__signature__")
        spec = _tree(text)
        names = [argument["name"] for argument in model._arguments]
        args, kwargs = pytree.tree_unflatten(names if len(names) == spec.num_leaves else [""] * spec.num_leaves, spec)
        texts = [name if isinstance(name, str) and name.isidentifier() else f"_{i}" for i, name in enumerate(args)]
        return inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in texts]
            + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in kwargs]
        )


class CompiledModel(_C.Model):
    """A compiled model, called as the exported module was; made by `load`.

    Any number of threads may call it. A call releases the GIL while the model runs. Arguments are torch tensors; on the
    CPU, numpy arrays and other objects with __dlpack__ are used without a copy. If the package tells the shapes, dtypes
    and devices that the model was exported for, as packages of `export` do, arguments are checked against them: an
    InputError, a ValueError, says what does not fit. Numbers, strings and the like among the arguments were compiled
    in: another value is an InputError, too. If the package does not tell them, as torch's own do not, their values are
    ignored.

    A model that writes to an argument writes to the caller's memory. A read-only array is then a TypeError, and a
    tensor whose memory layout is not the example's is an InputError. If the package does not tell that the model
    writes, it writes to the read-only array, and what it writes to the tensor is lost.
    """

    __signature__ = _CallSignature()

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, tensors)) or "…" for tensors in (self.inputs, self.outputs))
        return f"<CompiledModel({inputs}) -> ({outputs})>"

    @property
    def inputs(self) -> list[TensorInfo]:
        """The tensors that it takes, in the order of the call; empty if the package does not tell."""
        return tensors_of(self.metadata, "inputs")

    @property
    def outputs(self) -> list[TensorInfo]:
        """The tensors that it returns, flattened; empty if the package does not tell."""
        return tensors_of(self.metadata, "outputs")

    @property
    def constants(self) -> list[ConstantInfo]:
        """The weights, tied ones under each name, without constants computed from others."""
        return constants_of(
            self.metadata,
            [(fqn, aliases, dtype, shape, size) for _, fqn, aliases, dtype, size, folded, shape in self._constants if not folded],
        )

    def run(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        """Calls it with a list of the tensors of a call, in their order there, and returns a list of the tensors of the
        result.

        For containers of classes that this process has not registered, or if flat lists are wanted: arguments that are
        not tensors are left out, and the result is not put into containers. torch's loaders do the same.
        """
        return self._call_flat(inputs)

    def get_metadata(self) -> dict[str, str]:
        """`metadata`, as in torch's class."""
        return self.metadata

    def get_call_spec(self) -> list[str]:
        """The trees of the arguments and of the results, as two JSON texts; empty where it has none."""
        return list(self._call_spec)

    def get_constant_fqns(self) -> list[str]:
        """The names of all constants, including those computed from others, as in torch's class."""
        return [fqn for _, fqn, *_ in self._constants]

    def load_constants(
        self,
        constants_map: Mapping[str, torch.Tensor],
        *,
        check_full_update: bool,
        user_managed: bool = False,
        allow_h2d_copy: bool = False,
    ) -> None:
        """As in torch's class: sets the weights in a map, all of them or none.

        check_full_update: refuse a map that lacks a weight.
        user_managed: use the tensors themselves, without a copy.
        allow_h2d_copy: has no effect: tensors on the CPU are always accepted, except with user_managed.
        """
        if user_managed and allow_h2d_copy:
            raise ValueError("user_managed and allow_h2d_copy exclude each other")
        self._update(constants_map, user_managed, check_full_update)

    def __copy__(self) -> CompiledModel:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None) -> CompiledModel:
        """The model itself, so that modules that hold it can be copied."""
        return self

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights in use, by name; tied ones are one tensor under each name."""
        weights = self._weights()
        for _, fqn, aliases, *_ in self._constants:
            weights.update((alias, weights[fqn]) for alias in aliases if fqn in weights)
        return weights

    def update(self, *, share: bool = False) -> WeightsUpdate:
        """A change of weights: all of them or none.

            with model.update() as u:
                u["fc.weight"] = tensor

        At the end of the block, all that was set is checked and takes effect at once; runs in other threads see the old
        weights or the new ones, never both. An exception in the block, or a WeightsError at its end, changes nothing.
        Weights that are not set stay as they are. Tied weights are set under either name, or both. Copies of weights
        that the compiler made ("derived" in `export`'s spec, in frozen models and for matrix products in C++) must be
        set, too; only torch can compute them.

        share: use the tensors themselves, without a copy. Writing to them then changes the model.
        """
        if not isinstance(share, bool):
            raise TypeError(f"share: expected True or False; found {share!r}")
        return WeightsUpdate(self, share)

    def _nested(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls a model whose arguments or results are nested containers."""
        in_text, out_text = self._call_spec
        if not in_text:
            if kwargs:
                raise InputError(f"the model has no call spec, and takes no keywords: found {[*kwargs]}", "invalid argument")
            return self._call_flat(args)
        in_spec, out_spec = _tree(in_text), _tree(out_text)
        leaves, found = pytree.tree_flatten((args, kwargs))
        if found != in_spec:
            leaves, found = pytree.tree_flatten(_in_order((args, kwargs), _nest(in_spec)))
        if found != in_spec:
            text = f"the model is called with other arguments: found {_form(found)}, expected {_form(in_spec)}"
            raise InputError(text, "invalid argument")
        tensors = self._checked(leaves)
        return pytree.tree_unflatten(self._call_flat(tensors), out_spec)

    @functools.cached_property
    def _arguments(self) -> list[dict[str, Any]]:
        """What the package tells about the leaves of a call (see `export`'s spec); empty if nothing."""
        spec = json_of(self.metadata, SPEC_KEY)
        with reading(SPEC_KEY):
            return [{**argument, "name": argument["name"]} for argument in spec.get("arguments", spec.get("inputs", []))]

    def _checked(self, leaves: list[Any]) -> list[Any]:
        """The tensors among the leaves of a call, after checking the others if the package describes them."""
        tensors = [leaf for leaf in leaves if _is_tensor(leaf)]
        if len(self._arguments) != len(leaves):
            return tensors
        for argument, leaf in zip(self._arguments, leaves):
            name = argument["name"]
            if "value" not in argument:
                if not _is_tensor(leaf):
                    raise TypeError(f"argument '{name}': expected a tensor; found {type(leaf).__name__}")
            elif _is_tensor(leaf) or argument["value"] not in (None, constant_text(leaf)):
                text = f"argument '{name}': found {_brief(leaf)}, but the model was compiled with {argument['value']}"
                raise InputError(text, "invalid argument")
        return tensors


class WeightsUpdate:
    """A change of weights, for a `with` block: see CompiledModel.update."""

    def __init__(self, model: CompiledModel, share: bool) -> None:
        self._model: CompiledModel | None = model  # until the block ends
        self._share = share
        self._tensors: dict[str, torch.Tensor] | None = None  # inside the block only

    def __setitem__(self, name: str, tensor: Any) -> None:
        """Sets the weight of that name to a tensor or, on the CPU, to a numpy array or an object with __dlpack__.

        The tensor is read when the block ends, and must not change until then. Raises TypeError for anything else, and
        RuntimeError outside of the block.
        """
        if self._tensors is None:
            raise RuntimeError("weights are set inside of `with model.update() as u:`")
        if not isinstance(name, str):
            raise TypeError(f"expected the name of a weight; found {type(name).__name__}")
        if not isinstance(tensor, torch.Tensor):
            if not hasattr(tensor, "__dlpack__"):
                raise TypeError(f"weight '{name}': expected a tensor or an array; found {type(tensor).__name__}")
            try:
                tensor = torch.from_dlpack(tensor)
            except Exception as error:
                raise TypeError(f"weight '{name}': no tensor can be made of a {type(tensor).__name__}") from error
        self._tensors[name] = tensor

    def update(self, tensors: Mapping[str, Any]) -> None:
        """Sets several weights.

        A state_dict may have weights that the model does not depend on: they are ignored if the package lists them, as
        packages of `export` do. Others that are not among `constants`, or not `updatable` there, cannot be changed: the
        end of the block raises a WeightsError.
        """
        if not isinstance(tensors, Mapping):
            raise TypeError(f"expected a mapping of names to tensors; found {type(tensors).__name__}")
        for name, tensor in tensors.items():
            self[name] = tensor

    def __enter__(self) -> WeightsUpdate:
        if self._tensors is not None:
            raise RuntimeError("this update is open already")
        if self._model is None:
            raise RuntimeError("this update has ended; model.update() begins another")
        self._tensors = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        tensors, self._tensors = self._tensors, None
        model, self._model = self._model, None
        if kind is None and tensors and model is not None:
            model._update(tensors, self._share, False)


def load(
    source: Source,
    model: str | None = None,
    *,
    device: str | torch.device | int | None = None,
    threads: int | None = None,
    instances: int = 1,
    operator_libraries: Sequence[str | os.PathLike[str]] = (),
    backing: str | None = None,
    compile: bool = False,
) -> CompiledModel:
    """Opens a model of a .pt2 package and returns a model that is called like the exported module.

        model = aoti.load("digits.pt2")
        logits = model(images)

    source: a path (of a package, of the directory of an unpacked one, or of a bare shared object with the files that
        torch wrote beside it), the bytes of a package or of a shared object, or an open binary file. Nothing is
        extracted.
    model: its name in the package; None for the only one, or else for the one named "model".
    device: which device of the kind that the model was compiled for, such as "cuda:1"; None for the current one.
    threads: how many threads a run uses internally; None for torch.get_num_threads(). During each run, torch's number
        of threads is set to this in the calling thread. A ThreadsWarning is given if the model was compiled for another
        number.
    instances: how many runs, of different Python threads, may proceed at once; others wait.
    operator_libraries: shared objects that define operators that the model calls, or C functions for them; loaded
        before the model.
    backing: where to put the copy of the model's code that the system loads: "memory" (a memory file), "shared_memory"
        (a file in /dev/shm, deleted at once) or "temporary_file" (the same in $TMPDIR); None for the first of these
        that is allowed.
    compile: compile a package of sources (aot_inductor.package_cpp_only) first, with the flags in the package. This
        takes as long as exporting, each time; `python -m aoti compile FILE` does it once and for all.

    Raises PackageError if the file is not a valid package, LoadError if the model does not fit this machine or this
    torch; both are RuntimeErrors. A package without weights gives a model that refuses to run, with a RunError, until
    `update` has set all of them. A model's code, some hundred kilobytes, stays loaded until the process ends, and so do
    the weights in its image if the package was given as bytes.

    The file is memory-mapped: replace it by renaming another file. If it is overwritten or truncated while a model of
    it is open, the model changes, or the process crashes. Packages given as bytes are not affected.

    After a fork, runs in the child may hang: if another thread was running a model at that moment, or if a model had
    already run with several threads. Start processes that run models with `multiprocessing`'s "spawn".

    When the process ends, daemon threads inside a call stay there. Torch itself crashes if threads free tensors at that
    time, or are inside an operator written in Python: join them first.
    """
    content, in_memory = source_of(source)
    check_threads(threads)
    check_number("instances", instances, 1 << 16)
    if not isinstance(model, (str, type(None))):
        raise TypeError(f"model: expected a name or None; found {type(model).__name__}")
    if isinstance(operator_libraries, (str, bytes, os.PathLike)):
        raise TypeError("operator_libraries: expected a sequence of paths; found one path")
    if backing not in (None, *_BACKINGS):
        raise ValueError(f"backing: expected None or one of {', '.join(map(repr, _BACKINGS))}; found {backing!r}")
    wanted = _device(device)
    if not isinstance(compile, bool):
        raise TypeError(f"compile: expected True or False; found {compile!r}")
    opened = CompiledModel(
        content,
        in_memory,
        (model or "").encode(),  # a ValueError if it cannot be encoded
        "" if wanted is None or isinstance(device, int) else wanted.type,
        -1 if wanted is None or wanted.index is None else wanted.index,
        threads or 0,
        instances,
        [path_of(library) for library in operator_libraries],
        0 if backing is None else 1 + _BACKINGS.index(backing),
        compile,
    )
    compiled_for, uses = threads_of(opened.metadata), threads or torch.get_num_threads()
    if compiled_for is not None and compiled_for > 1 and compiled_for != uses:
        warnings.warn(
            f"the model was compiled for {compiled_for} threads and runs with {uses}; "
            "compile it for the number that it will run with",
            ThreadsWarning,
            stacklevel=2,
        )
    return opened


@functools.lru_cache
def _tree(text: str) -> pytree.TreeSpec:
    try:
        return pytree.treespec_loads(text)
    except (NotImplementedError, ValueError, TypeError, LookupError) as error:
        unknown = [f"'{name}'" for name in _types(text) if name not in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE]
        what = str(error)
        if unknown:
            what = f"calls have values of {', '.join(unknown)}, which this process has not registered"
        text = (
            f"{what}: import the module that does, or register the class under that name (serialized_type_name), a "
            "dataclass by torch.export.register_dataclass; or use model.run(tensors), which takes and returns lists"
        )
        raise RunError(text, "unsupported") from error


def _types(text: str) -> list[str]:
    """The names of the classes in a serialized tree; none if it is damaged."""
    found: list[str] = []

    def collect(node: dict[str, Any]) -> dict[str, Any]:
        if isinstance(name := node.get("type"), str):
            found.append(name)
            if name == "collections.namedtuple" and isinstance(node.get("context"), str):
                found.append(node["context"])
        return node

    try:
        json.loads(text, object_hook=collect)
    except (ValueError, RecursionError):
        return []
    return list(dict.fromkeys(found))


def _in_order(nest: Any, like: Any) -> Any:
    """Nested containers, with the keys of dicts in the order of another's if they have the same keys."""
    if type(nest) is not type(like):
        return nest
    if type(nest) in (dict, OrderedDict) and nest.keys() == like.keys():
        nest = type(nest)((key, nest[key]) for key in like)
    (parts, form), (others, _) = (pytree.tree_flatten(one, lambda part: part is not one) for one in (nest, like))
    if len(parts) != len(others):
        return nest
    return pytree.tree_unflatten([_in_order(part, other) for part, other in zip(parts, others)], form)


class _Leaf:
    def __repr__(self) -> str:
        return "·"


def _nest(spec: pytree.TreeSpec) -> Any:
    """The arguments of a call, with placeholders for their leaves."""
    return pytree.tree_unflatten([_Leaf()] * spec.num_leaves, spec)


def _form(spec: pytree.TreeSpec) -> str:
    """How a call is written, with a dot for each leaf."""
    args, kwargs = _nest(spec)
    return "model(" + ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]) + ")"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or hasattr(value, "__dlpack__")


def _brief(value: Any) -> str:
    return constant_text(value) or type(value).__name__


def source_of(source: Source) -> tuple[bytes, bool]:
    """A package's bytes and True, or its path and False."""
    if hasattr(source, "read"):
        source = source.read()
        if isinstance(source, str):
            raise TypeError("source: expected a file that is open in binary mode")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), True
    return path_of(source), False


def path_of(path: str | os.PathLike[Any]) -> bytes:
    """The path in the operating system's encoding, which need not be UTF-8."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _device(device: str | torch.device | int | None) -> torch.device | None:
    if device is None or isinstance(device, torch.device):
        return device
    if isinstance(device, str):
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device: {error}") from None
    if isinstance(device, bool):
        raise TypeError("device: expected a text, a torch.device or a number; found a bool")
    index = operator.index(device)
    if not 0 <= index < 128:  # what torch can count
        raise ValueError(f"device: expected a number from 0 to 127; found {index}")
    return torch.device("cpu", index)


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Turns errors in reading an entry of the metadata into a PackageError."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise PackageError(f"metadata '{key}': damaged package: {error!r}", "damaged package") from error


def json_of(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """An entry of the metadata that holds a JSON object; empty if there is none."""
    with reading(key):
        value = json.loads(metadata.get(key, "{}"))
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, found {type(value).__name__}")
        return value


def threads_of(metadata: Mapping[str, str]) -> int | None:
    """How many threads a model was compiled for."""
    with reading(THREADS_KEY):
        return int(metadata[THREADS_KEY]) if THREADS_KEY in metadata else None


def tensors_of(metadata: Mapping[str, str], which: str) -> list[TensorInfo]:
    spec = json_of(metadata, SPEC_KEY)
    with reading(SPEC_KEY):
        return [
            TensorInfo(t["name"], t["dtype"], t["device"], tuple(_size(size) for size in t["shape"]))
            for t in spec.get(which, [])
        ]


Described = tuple[str, Sequence[str], str, Union["tuple[int, ...]", None], int]


def constants_of(metadata: Mapping[str, str], described: Sequence[Described]) -> list[ConstantInfo]:
    """From (FQN, aliases, dtype, shape, bytes) of each, and from the metadata on those that were compiled in."""
    spec = json_of(metadata, SPEC_KEY)
    with reading(SPEC_KEY):
        fixed = {c["fqn"]: (c["fqn"], (), c["dtype"], tuple(map(int, c["shape"])), 0) for c in spec.get("fixed", [])}
    listed = [
        ConstantInfo(name, dtype, shape, size, fqn if name != fqn else None, name not in fixed)
        for fqn, aliases, dtype, shape, size in [*described, *fixed.values()]
        for name in (fqn, *aliases)
    ]
    return list({info.name: info for info in reversed(listed)}.values())[::-1]


def _size(size: int | Mapping[str, Any]) -> int | str:
    if isinstance(size, int):
        return size
    if "symbol" in size:
        scale = f"{size['scale']}*" if size.get("scale", 1) != 1 else ""
        offset = f" + {size['offset']}" if size.get("offset", 0) else ""
        text = f"{scale}{size['symbol']}{offset}"
    else:
        text = size["text"]
    least, most = size["min"], size["max"]
    return f"{text} {0 if least is None else least}..{'' if most is None else most}"
