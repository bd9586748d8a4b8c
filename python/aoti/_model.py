"""Loads compiled models and calls them as the exported ones were called."""

from __future__ import annotations

import functools
import json
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO

import torch
from torch.utils import _pytree as pytree

from . import _C
from ._export import SPEC_KEY, THREADS_KEY
from .errors import InputError


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a model takes or returns.

    name: the argument's, or the output's inside the model.
    dtype: such as "float32"; None where the model returns None.
    device: such as "cpu".
    shape: sizes; a dimension that varies is a text, such as "batch 1..64".
    """

    name: str
    dtype: str | None
    device: str | None
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}".replace("'", "") + f" on {self.device}"


@dataclass(frozen=True)
class ConstantInfo:
    """A weight of a model. `name` is the FQN in the exported module; `shape` is None where nothing tells it."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    bytes: int


class ThreadsWarning(UserWarning):
    """A model runs with another number of threads than it was compiled for, which can cost half of its speed."""


class CompiledModel(_C.Model):
    """A compiled model, called as the exported module was; made by `load`.

    Any number of threads may call it. A call releases the GIL while the model runs. Tensors are torch's; numpy arrays
    and other objects with __dlpack__ are used where they lie, on the CPU. Where the package tells the shapes, dtypes and
    devices that the model was exported for, as those of `export` do, arguments are checked against them: InputError, a
    ValueError, says what does not fit. Numbers, texts and the like among the arguments were compiled in: their values are
    not looked at.
    """

    metadata: dict[str, str]  # what the package says of the model
    device: str  # the device's key, such as "cpu"

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
        """The weights, without those that are computed from others."""
        return [
            ConstantInfo(fqn, dtype, shape, size) for _, fqn, dtype, size, folded, shape in self._constants if not folded
        ]

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights in use, by name."""
        return self._weights()

    def update(self, *, share: bool = False) -> WeightsUpdate:
        """A change of weights that happens as a whole or not at all.

            with model.update() as u:
                u["fc.weight"] = tensor

        At the end of the block, all that was set is checked and put into use at once; runs in other threads see the
        old weights or the new ones, never both. An exception in the block, or a WeightsError at its end, changes
        nothing. Weights that are not set stay as they are.

        share: use the tensors themselves, without a copy. Writing to them then changes the model.
        """
        return WeightsUpdate(self, share)

    def _nested(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls of models whose arguments or results are nests of containers."""
        in_text, out_text = self._call_spec
        if not in_text:
            if kwargs:
                raise InputError(f"the model has no call spec, and takes no keywords: found {[*kwargs]}", "invalid argument")
            return self._call_flat(list(args))
        in_spec, out_spec = _tree(in_text), _tree(out_text)
        names = pytree.tree_unflatten([None] * in_spec.num_leaves, in_spec)[1]
        if names.keys() == kwargs.keys():
            kwargs = {name: kwargs[name] for name in names}
        leaves, found = pytree.tree_flatten((args, kwargs))
        if found != in_spec:
            text = f"the model is called with other arguments: found {_form(found)}, expected {_form(in_spec)}"
            raise InputError(text, "invalid argument")
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) or hasattr(leaf, "__dlpack__")]
        return pytree.tree_unflatten(self._call_flat(tensors), out_spec)


class WeightsUpdate:
    """See CompiledModel.update."""

    def __init__(self, model: CompiledModel, share: bool) -> None:
        self._model = model
        self._share = share
        self._tensors: dict[str, torch.Tensor] = {}

    def __setitem__(self, name: str, tensor: torch.Tensor) -> None:
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(f"expected a name and a tensor; found {type(name).__name__}, {type(tensor).__name__}")
        self._tensors[name] = tensor

    def update(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Sets several, such as a state_dict."""
        for name, tensor in tensors.items():
            self[name] = tensor

    def __enter__(self) -> WeightsUpdate:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        tensors, self._tensors = self._tensors, {}
        if kind is None and tensors:
            self._model._update(tensors, self._share)


def load(
    source: str | os.PathLike[str] | bytes | BinaryIO,
    model: str | None = None,
    *,
    device: str | torch.device | int | None = None,
    threads: int | None = None,
    instances: int = 1,
    operator_libraries: Sequence[str | os.PathLike[str]] = (),
) -> CompiledModel:
    """Opens a model of a .pt2 package and returns what is called like the exported module.

        model = aoti.load("digits.pt2")
        logits = model(images)

    source: a path (of a package or of the directory into which one was unpacked), a package's bytes, or an open binary
        file. Nothing is extracted.
    model: its name in the package; None for the only one.
    device: which device of the kind that the model was compiled for, such as "cuda:1"; None for the current one.
    threads: how many threads a run uses inside; None for torch.get_num_threads(), which is set to this number during
        each run. A ThreadsWarning says when the model was compiled for another number.
    instances: how many runs, of different Python threads, may proceed at once; others wait.
    operator_libraries: shared objects that define operators which the model calls, loaded before it.

    Raises PackageError where the file is not what it should be, LoadError where the model does not fit this machine or
    this torch; both are RuntimeErrors. A model's code, some hundred kilobytes, stays loaded until the process ends.
    """
    source = source_of(source)
    for what, number in (("threads", threads), ("instances", instances)):
        if number is not None and (type(number) is not int or not 1 <= number <= 1 << 16):
            raise ValueError(f"{what}: expected a number from 1 to 65536; found {number!r}")
    if not isinstance(model, (str, type(None))):
        raise TypeError(f"model: expected a name or None; found {type(model).__name__}")
    if isinstance(operator_libraries, (str, bytes, os.PathLike)):
        raise TypeError("operator_libraries: expected a sequence of paths; found one path")
    wanted = _device(device)
    opened = CompiledModel(
        source,
        model or "",
        -1 if wanted is None or wanted.index is None else wanted.index,
        threads or 0,
        instances,
        [os.fspath(library) for library in operator_libraries],
    )
    if wanted is not None and not isinstance(device, int) and wanted.type != opened.device:
        raise ValueError(f"device: the model was compiled for {opened.device}; asked for was {device}")
    compiled_for, uses = int(opened.metadata.get(THREADS_KEY, 0)), threads or torch.get_num_threads()
    if compiled_for > 1 and compiled_for != uses:
        warnings.warn(
            f"the model was compiled for {compiled_for} threads and runs with {uses}; "
            "compile it for as many as it will run with",
            ThreadsWarning,
            stacklevel=2,
        )
    return opened


@functools.lru_cache
def _tree(text: str) -> pytree.TreeSpec:
    return pytree.treespec_loads(text)


def _form(spec: pytree.TreeSpec) -> str:
    """How a call is written, with a dot for each leaf."""
    leaves = [type("Leaf", (), {"__repr__": lambda self: "·"})()] * spec.num_leaves
    args, kwargs = pytree.tree_unflatten(leaves, spec)
    return "model(" + ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]) + ")"


def source_of(source: str | os.PathLike[str] | bytes | BinaryIO) -> str | bytes:
    if hasattr(source, "read"):
        source = source.read()
        if isinstance(source, str):
            raise TypeError("source: expected a file that is open in binary mode")
    return bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else os.fspath(source)


def _device(device: str | torch.device | int | None) -> torch.device | None:
    if device is None or isinstance(device, torch.device):
        return device
    try:
        return torch.device(device) if isinstance(device, str) else torch.device("cpu", operator.index(device))
    except RuntimeError as error:
        raise ValueError(f"device: {error}") from None


def tensors_of(metadata: Mapping[str, str], which: str) -> list[TensorInfo]:
    return [
        TensorInfo(t["name"], t["dtype"], t["device"], tuple(_size(size) for size in t["shape"]))
        for t in json.loads(metadata.get(SPEC_KEY, "{}")).get(which, [])
    ]


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
