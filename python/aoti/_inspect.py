"""Tells what a package holds, without running any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from . import _C
from ._export import SPEC_KEY, TUNED_KEY
from ._model import ConstantInfo, Source, TensorInfo, constants_of, json_of, reading, source_of, tensors_of, threads_of

_ENDING = (
    "one that fails in a loop shared by several threads (an index out of range, say) ends the process; packages of "
    "aoti.export report an error"
)


@dataclass(frozen=True)
class ModelInfo:
    """A model of a package.

    image, weights: the size in bytes of its code, and of the weights beside it.
    refused: why it cannot run on this machine and this torch; None if it can.
    reports_checks: True if a failed check, such as an index out of range, is always an error; False if it may end the
        process, which it does in a loop shared by several threads unless `export` compiled it; None if unknown.
    threads: how many it was compiled for; None if the package does not tell.
    inputs, outputs, constants: empty if the package does not tell.
    guards: relations between sizes of inputs that are checked at each call, such as "x.size(0) % 4 == 0".
    operators: those that the model calls, by the names of their C functions, or as "aten::_fft_c2r".
    libraries: what a program without libtorch needs for them besides aoti's own headers.
    missing: the operators that a program without libtorch must provide itself; None if unknown.
    """

    name: str
    metadata: Mapping[str, str] = field(repr=False)
    image: int
    weights: int
    refused: str | None
    reports_checks: bool | None
    threads: int | None
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    constants: list[ConstantInfo] = field(repr=False)
    guards: list[str] = field(default_factory=list, repr=False)
    operators: list[str] = field(default_factory=list, repr=False)
    libraries: list[str] = field(default_factory=list)
    missing: list[str] | None = None

    def __str__(self) -> str:
        rows = [
            ("runs here", "yes" if self.refused is None else f"no: {self.refused}"),
            ("operators", ", ".join(map(_short, self.operators)) or "none"),
            ("libtorch", _libtorch(self.libraries, self.missing)),
            ("device", self.metadata.get("AOTI_DEVICE_KEY", "not told")),
            ("threads", _threads(self.threads)),
            *([("checks", _ENDING)] if self.reports_checks is False else []),
            ("size", f"{self.image:,} bytes of code, {self.weights:,} bytes of weights beside it"),
            *(("tuned", text) for text in _tuned(self.metadata)),
            *(("input", str(tensor)) for tensor in self.inputs),
            *(("guard", text) for text in self.guards),
            *(("output", str(tensor)) for tensor in self.outputs),
            *(("weight", _weight(c)) for c in self.constants),
            *((key, value) for key, value in self.metadata.items() if not key.startswith(("aoti.", "AOTI_"))),
        ]
        lines = [f"model {self.name}", *(f"  {label:10} {text}" for label, text in rows)]
        return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


class Inspection(list[ModelInfo]):
    """The models of a package, which print as a table."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__


def inspect(source: Source) -> Inspection:
    """What a package holds: a list of ModelInfo, which prints as a table. Nothing of the package is run.

    source: as for `load`.

    Raises PackageError if the file is not a valid package.
    """
    return Inspection(_info(*described) for described in _C._describe(*source_of(source)))


def _short(operator: str) -> str:
    return operator.removeprefix("aoti_torch_").removeprefix("cpu_")


def _libtorch(libraries: list[str], missing: list[str] | None) -> str:
    if missing is None:
        return "not told"
    if missing:
        return f"needed for {', '.join(map(_short, missing))}"
    return "not needed" + (f", with {', '.join(libraries)}" if libraries else "")


def _weight(weight: ConstantInfo) -> str:
    place = f"tied to {weight.tied_to}" if weight.tied_to else f"{weight.bytes:,} bytes"
    fixed = "" if weight.updatable else ", compiled in: cannot be changed"
    return f"{weight.name}: {weight.dtype}{list(weight.shape or ())}, {place}{fixed}"


def _threads(compiled_for: int | None) -> str:
    if compiled_for is None:
        return "not told"
    uses = torch.get_num_threads()
    return str(compiled_for) if compiled_for == uses else f"{compiled_for} (this process: {uses})"


def _tuned(metadata: Mapping[str, str]) -> list[str]:
    tuned = json_of(metadata, TUNED_KEY)
    with reading(TUNED_KEY):
        return [
            f"{row['name']}: "
            + (row["failed"] if "failed" in row else f"{row['microseconds']:,} µs, {tuned['threads']} threads")
            for row in tuned.get("tried", [])
        ]


def _info(
    name: str,
    metadata: dict[str, str],
    image: int,
    weights: int,
    refused: str | None,
    reports_checks: bool | None,
    operators: list[str],
    libraries: list[str],
    missing: list[str] | None,
) -> ModelInfo:
    spec = json_of(metadata, SPEC_KEY)
    _tuned(metadata)  # raises if it is damaged
    with reading(SPEC_KEY):
        described = [
            (c["fqn"], c.get("aliases", []), c["dtype"], tuple(map(int, c["shape"])), int(c["bytes"]))
            for c in spec.get("constants", [])
            if c["kind"] != "folded"
        ]
        guards = [str(guard["text"]) for guard in spec.get("guards", [])]
    return ModelInfo(
        name,
        metadata,
        image,
        weights,
        refused,
        reports_checks,
        threads_of(metadata),
        tensors_of(metadata, "inputs"),
        tensors_of(metadata, "outputs"),
        constants_of(metadata, described),
        guards,
        operators,
        libraries,
        missing,
    )
