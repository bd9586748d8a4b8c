"""Compiles the models that the C++ tests and benches load: compile_models.py OUT_DIR [--only NAME ...] [--as-users-do]

Writes OUT_DIR/NAME.pt2, or OUT_DIR/NAME.unavailable with the reason if this torch lacks what the model needs. A
model is compiled again only when this script, the exporter, torch or the machine has changed. "vit", "vit_beside",
"resnet18" and "mobilenet_v3" need torchvision, "bert" and "llama" need transformers, "add_cuda" and "linear_cuda" need
a GPU: these, "lstm" and "linear_packed" are compiled only when asked for by name.

Some models, and with --as-users-do all of them, are compiled as those of users are, which takes longer; the others by
light/g++.

Models with random weights come with OUT_DIR/NAME.bin: little-endian float32, row-major whatever the memory
layout of the tensors: first the input, then the output that eager PyTorch computes from it.

The operators of tests/operators/ need only schemas and shapes here; the class of "tally" is built, since its
objects are written into the package.

    mlp.bin     input [4, 64]        output [4, 8]    also for mlp_plain, mlp_appended and mlp_beside
    wide.bin    input [1, 1024]      output [1, 1024] embedded weights of over 1 MiB
    mlp_small.bin  input [1, 16]     output [1, 8]    also for mlp_tuned and mlp_arrayref
    image.bin   input [2, 3, 8, 8]   output [2, 4, 8, 8]
    linear.bin  input [4, 16]        output [4, 12]   for linear_beside, linear_embedded, linear_none, linear_foreign
    folding.bin input [4, 16]        output [4, 12]

For tests that change weights there are NAME_weights.bin, other weights one after the other in the same form, and
NAME_updated.bin, an input and its output with those weights. The weights, by their FQNs in the package, in this order:

    linear_weights.bin   first.weight [24, 16], first.bias [24], second.weight [12, 24], second.bias [12], scale [24],
                         _tensor_constant0 [12]
    folding_weights.bin  w1 [16, 8], w2 [8, 12]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import logging
import multiprocessing
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[2] / "python"

# Each has a function make_NAME(out) below.
NAMES = (
    "add",
    "mlp",
    "mlp_plain",
    "mlp_appended",
    "mlp_beside",
    "wide",
    "nested",
    "types",
    "derived",
    "image",
    "transposed",
    "pair",
    "repeated",
    "custom",
    "operators",
    "fallback",
    "throwing",
    "modes",
    "tally",
    "exported",
    "linear_beside",
    "linear_embedded",
    "linear_none",
    "linear_foreign",
    "folding",
    "frozen",
    "mutating",
    "checked",
    "checked_plain",
    "state",
    "state_embedded",
    "mlp_small",
    "mlp_tuned",
    "add_arrayref",
    "mlp_arrayref",
    "writing",
)
BY_NAME_ONLY = (
    "vit",
    "vit_beside",
    "add_cuda",
    "linear_cuda",
    "resnet18",
    "mobilenet_v3",
    "lstm",
    "bert",
    "llama",
    "linear_packed",
)

# Of these, each has another kind of code around its kernels.
AS_USERS_DO = ("add", "mlp", "fallback", "linear_beside", "mlp_arrayref")
LIGHT = Path(__file__).resolve().parent / "light"

TALLY = Path(__file__).resolve().parents[1] / "operators" / "tally.cpp"


def fingerprint() -> str:
    """Changes when a package that was compiled earlier is no longer what this run would write."""
    package = PYTHON / "aoti"
    files = (Path(__file__), LIGHT / "g++", LIGHT / "regex", *sorted(package.glob("_*.py")), TALLY)
    sources = b"".join(file.read_bytes() for file in files)
    return " ".join(
        (importlib.metadata.version("torch"), platform.machine(), cpu_flags(), hashlib.sha256(sources).hexdigest())
    )


def cpu_flags() -> str:
    """A digest of the processor's instruction set, as Inductor compiles for the machine that it runs on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(flags.encode()).hexdigest()[:16]


def read_stamps(out: Path) -> dict[str, str]:
    """The fingerprint that each model was compiled with."""
    file = out / "stamps.json"
    return json.loads(file.read_text()) if file.exists() else {}


def write_stamps(out: Path, stamps: dict[str, str]) -> None:
    unfinished = out / "stamps.json.tmp"
    unfinished.write_text(json.dumps(stamps, indent=1))
    os.replace(unfinished, out / "stamps.json")


def stamp(name: str, as_users_do: bool) -> str:
    return fingerprint() + " light" * is_light(name, as_users_do)


def is_light(name: str, as_users_do: bool) -> bool:
    return not as_users_do and name not in AS_USERS_DO


def arguments() -> tuple[Path, list[str], bool]:
    """OUT_DIR, the names of the models that are asked for and not up to date, and whether all are compiled as those of users are."""
    parser = argparse.ArgumentParser(description="Compiles the models that the C++ tests and benches load.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    every = NAMES + BY_NAME_ONLY
    parser.add_argument("--only", nargs="+", choices=every, metavar="NAME", help=", ".join(every))
    parser.add_argument("--as-users-do", action="store_true", help="compile all of them as those of users are")
    options = parser.parse_args()
    out, wanted = options.out, options.only or NAMES
    out.mkdir(parents=True, exist_ok=True)
    stamps = read_stamps(out)
    there = [name for name in wanted if any((out / f"{name}{end}").exists() for end in (".pt2", ".unavailable"))]
    # What is compiled as those of users are does for all.
    current = {name: {stamp(name, True), stamp(name, options.as_users_do)} for name in wanted}
    stale = [name for name in wanted if stamps.get(name) not in current[name] or name not in there]
    if not stale:
        print(f"{len(wanted)} models are up to date")
        sys.exit()
    return out, stale, options.as_users_do


# Before the imports below, which take seconds.
if __name__ == "__main__":
    ARGUMENTS = arguments()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.export import Dim, export  # noqa: E402

sys.path.insert(0, str(PYTHON))

import aoti  # noqa: E402
from aoti import Model  # noqa: E402

THREADS = torch.get_num_threads()

# Inductor's options for where weights lie; without them, `export` puts weights beside the image.
EMBEDDED = {"aot_inductor.package_constants_in_so": True}
NO_WEIGHTS = {"aot_inductor.package_constants_in_so": False}
ON_DISK_FORMAT = "package_constants_on_disk_format"
COMPILED_PRODUCTS = {"max_autotune": True, "max_autotune_gemm_backends": "CPP"}
ARRAYREF = {"aot_inductor.use_minimal_arrayref_interface": True, "aot_inductor.allow_stack_allocation": True}
BESIDE = {**NO_WEIGHTS, f"aot_inductor.{ON_DISK_FORMAT}": "binary_blob"}
# The options in config.aot_inductor that not every torch has.
NEEDS = {"mlp_beside": ON_DISK_FORMAT, "linear_foreign": ON_DISK_FORMAT}


class Add(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Subtract(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


class Nested(nn.Module):
    def forward(self, x: Tensor, *, scale: Tensor) -> dict[str, object]:
        y = x * scale
        return {"y": y, "z": (y.sum(), [y > 0])}


class Types(nn.Module):
    """Rows of a table whose element (i, j) is 4 * i + j, zero where the mask is false; and 2 * id, or -1 there."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(40.0).reshape(10, 4))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        rows = nn.functional.embedding(ids, self.table)
        return torch.where(mask[:, None], rows, 0.0), torch.where(mask, 2 * ids, -1)


class Derived(nn.Module):
    """For x of b rows and y of 2 * b rows: x + the first half of y, and both one after the other."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + y[: x.shape[0]], torch.cat([x, y])


class Transposed(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * 2 + y


class Repeated(nn.Module):
    """One tensor in two places, None, and a number: the model returns one handle twice and one null handle."""

    def forward(self, x: Tensor) -> tuple[Tensor, None, Tensor, int]:
        y = x * 2
        return y, None, y, x.shape[0]


@torch.library.custom_op("aoti_tests::twice_plus", mutates_args=())
def twice_plus(x: Tensor, alpha: float) -> Tensor:
    return 2 * x + alpha


@twice_plus.register_fake
def _(x: Tensor, alpha: float) -> Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    """Calls aoti_tests::twice_plus(Tensor x, float alpha) -> Tensor, which the process that runs it must register."""

    def forward(self, x: Tensor) -> Tensor:
        return twice_plus(x, 0.5) + 1


# Each operator of tests/operators/functions.cpp, with the tensors that it returns.
OPERATORS = {
    "mix(Tensor x, float factor, int[] shifts, Tensor? bias, str mode) -> Tensor": lambda x, *_: torch.empty_like(x),
    "halves(Tensor x) -> (Tensor, Tensor)": lambda x: tuple(torch.empty_like(half) for half in x.chunk(2)),
    "pieces(Tensor x, int count) -> Tensor[]": lambda x, count: [torch.empty_like(p) for p in x.chunk(count)],
    "sum_of(Tensor[] tensors, float[] weights, ScalarType dtype) -> Tensor": lambda tensors, _, dtype: torch.empty_like(
        tensors[0], dtype=dtype
    ),
    "gather(Tensor?[] tensors, Scalar fill) -> Tensor": lambda tensors, _: torch.empty_like(tensors[0]),
    "resized(Tensor x, SymInt[] sizes, Device device) -> Tensor": lambda x, sizes, _: x.new_empty(sizes),
    "not_negative(Tensor x) -> Tensor": torch.empty_like,
    "scaled(Tensor x, Scalar factor, Scalar? shift) -> Tensor": lambda x, *_: torch.empty_like(x),
    "accumulate(Tensor(a!) total, Tensor x) -> ()": lambda *_: None,
}
for schema, fake in OPERATORS.items():
    torch.library.define("aoti_tests::" + schema.split("(")[0], schema[schema.index("(") :])
    torch.library.register_fake("aoti_tests::" + schema.split("(")[0], fake)


class Operators(nn.Module):
    """Calls operators with every kind of argument and of result."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        ops = torch.ops.aoti_tests
        a, b = ops.halves(ops.mix(x, 0.5, [1, 2], None, "positive"))
        pieces = ops.pieces(ops.mix(a + b, 2, [], b, "negative"), 2)
        total = torch.zeros_like(pieces[0])
        ops.accumulate(total, pieces[0])
        return ops.sum_of(pieces, [1.0, 2.0], torch.float64) + total, ops.gather([b, None, a], 3)


class Fallback(nn.Module):
    """Calls a torch operator without a C function, and one with sizes known only at run time."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, r = torch.linalg.qr(x)
        return q, r, torch.ops.aoti_tests.resized(x, [2 * x.shape[0], 3], torch.device("cpu"))


class Throwing(nn.Module):
    """x + 1, where no element of x is negative."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aoti_tests.not_negative(x) + 1


class Modes(nn.Module):
    """A thread's torch settings reach operators through the dispatcher, operators within C functions, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 8, 8))
        self.bias = nn.Parameter(torch.randn(8))
        self.conv = nn.Conv1d(8, 8, 3)
        self.register_buffer("total", torch.zeros(2, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        y = torch.ops.aoti_tests.scaled(torch.conv_tbc(x, self.weight, self.bias, 1), True, False)
        torch.ops.aoti_tests.accumulate(self.total, x[0])
        return y, y + 1, self.conv(x.permute(1, 2, 0)), self.total.clone()


class Frozen(nn.Module):
    """Layers that freezing fuses with others, or packs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.each = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16))
        self.last, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)
        self.of_one, self.one = nn.Conv2d(1, 8, 3), nn.Conv2d(16, 1, 1)
        self.place = nn.Parameter(torch.randn(1, 1, 8, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.first(x)
        x = torch.relu(x + self.last(self.each(x)))
        one = self.one(x[:1]) + self.place  # which must not be added to in place
        seen = torch.max_pool2d(torch.relu(self.of_one(one)), 2)
        return torch.nn.functional.gelu(self.head(x.mean((2, 3)))), self.up(x), one, seen


class Linear(nn.Module):
    """A constant of each kind that a package can hold; shorter ones would be compiled in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 24)
        self.second = nn.Linear(24, 12)
        self.register_buffer("scale", torch.randn(24))
        self.shift = torch.randn(12)

    def weights(self) -> list[Tensor]:
        """In the order of linear_weights.bin."""
        return [*self.parameters(), self.scale, self.shift]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)) * self.scale) + self.shift


class Folding(nn.Module):
    """The product of the weights is computed when the model is loaded, and again when they are changed."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(16, 8))
        self.w2 = nn.Parameter(torch.randn(8, 12))

    def weights(self) -> list[Tensor]:
        return [self.w1, self.w2]

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.w1 @ self.w2)


class Mutating(nn.Module):
    """The n-th call returns x * (0, 1, …, 11) + n, and n in each of the counter's 12 elements."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(12.0))
        self.register_buffer("counter", torch.zeros(12))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.counter.add_(1)
        return x * self.weight + self.counter, self.counter.clone()


class Checked(nn.Module):
    """Elements of x, and sums of rows of them."""

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return x[ids], x[ids.view(64, -1)].sum(1)


class State(nn.Module):
    """The n-th call returns the buffer itself, in which 4 * j + i is (i, j) at first and n * x[j] is added; and its
    transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.arange(24.0).view(6, 4).t())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.total.add_(x)
        return self.total, self.total.t()


class Writing(nn.Module):
    """x + 1; w is doubled in place."""

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        w.mul_(2)
        return x + 1


def mlp_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def mlp(options: dict[str, object] | None = None) -> Model:
    shapes = {"input": {0: Dim("batch", min=1, max=1024)}}
    return Model(mlp_module(), (torch.randn(4, 64),), dynamic_shapes=shapes, options=options)


def image_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).to(memory_format=torch.channels_last).eval()


def image_input() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)


def write_bin(path: Path, module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        write_tensors(path, [x, module(x)])


def write_tensors(path: Path, tensors: list[Tensor]) -> None:
    path.write_bytes(b"".join(t.detach().contiguous().numpy().astype("<f4").tobytes() for t in tensors))


def seeded(module: type[nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return module().eval()


def of_rows(module: nn.Module, options: dict[str, object] | None = None) -> Model:
    """Takes x [batch, 16]."""
    shapes = {"x": {0: Dim("batch", min=1, max=64)}}
    return Model(module, (torch.randn(4, 16),), dynamic_shapes=shapes, options=options)


def write_updates(out: Path, name: str, module: type[nn.Module]) -> None:
    """NAME.bin, NAME_weights.bin and NAME_updated.bin."""
    torch.manual_seed(2)
    x = torch.randn(4, 16)
    write_bin(out / f"{name}.bin", seeded(module), x)
    updated = seeded(module, seed=1)
    write_tensors(out / f"{name}_weights.bin", updated.weights())
    write_bin(out / f"{name}_updated.bin", updated, x)


def make_add(out: Path) -> None:
    aoti.export(out / "add.pt2", Model(Add(), (torch.randn(8), torch.randn(8))))


def make_add_cuda(out: Path) -> None:
    """Its kernels are in the image, since a runner has no directory of kernels to name."""
    args = (torch.randn(8, device="cuda"), torch.randn(8, device="cuda"))
    aoti.export(out / "add_cuda.pt2", Model(Add(), args, options={"aot_inductor.embed_kernel_binary": True}))


def make_mlp(out: Path) -> None:
    """The weights lie in the image."""
    aoti.export(out / "mlp.pt2", mlp(EMBEDDED))
    torch.manual_seed(1)
    write_bin(out / "mlp.bin", mlp_module(), torch.randn(4, 64))


def make_mlp_plain(out: Path) -> None:
    """Without our exporter: no spec."""
    model = mlp()
    ep = export(model.module, model.args, dynamic_shapes=model.dynamic_shapes)
    torch._inductor.aoti_compile_and_package(ep, package_path=str(out / "mlp_plain.pt2"))


def make_mlp_appended(out: Path) -> None:
    """The weights follow the image in the same file."""
    aoti.export(out / "mlp_appended.pt2", mlp({"aot_inductor.force_mmap_weights": True}))


def make_mlp_beside(out: Path) -> None:
    """The weights are a separate entry, <h>.wrapper_weights.blob."""
    aoti.export(out / "mlp_beside.pt2", mlp(BESIDE))


def make_wide(out: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(1024, 1024).eval()
    aoti.export(out / "wide.pt2", Model(module, (torch.randn(1, 1024),), options=EMBEDDED))
    write_bin(out / "wide.bin", module, torch.randn(1, 1024))


def make_nested(out: Path) -> None:
    batch = Dim("batch", min=1, max=64)
    shapes = {"x": {0: batch}, "scale": {0: batch}}
    aoti.export(out / "nested.pt2", Model(Nested(), (torch.randn(4, 3),), {"scale": torch.randn(4, 3)}, shapes))


def make_types(out: Path) -> None:
    n = Dim("n", min=0, max=100)
    args = (torch.arange(5), torch.tensor([True, False, True, False, True]))
    aoti.export(out / "types.pt2", Model(Types(), args, dynamic_shapes={"ids": {0: n}, "mask": {0: n}}))


def make_derived(out: Path) -> None:
    b = Dim("b", min=1, max=64)
    args = (torch.randn(3, 4), torch.randn(6, 4))
    aoti.export(out / "derived.pt2", Model(Derived(), args, dynamic_shapes={"x": {0: b}, "y": {0: 2 * b}}))


def make_image(out: Path) -> None:
    shapes = {"input": {0: Dim("batch", min=1, max=64)}}
    aoti.export(out / "image.pt2", Model(image_module(), (image_input(),), dynamic_shapes=shapes))
    write_bin(out / "image.bin", image_module(), image_input())


def make_transposed(out: Path) -> None:
    """x [6, 4] lies in memory as [4, 6]; y is row-major."""
    aoti.export(out / "transposed.pt2", Model(Transposed(), (torch.randn(4, 6).t(), torch.randn(6, 4))))


def make_pair(out: Path) -> None:
    args = (torch.randn(8), torch.randn(8))
    models = {"model": Model(Add(), args), "model2": Model(Subtract(), args)}
    aoti.export(out / "pair.pt2", models, extra={"notes.txt": "hello"})


def make_repeated(out: Path) -> None:
    shapes = {"x": {0: Dim("batch", min=1, max=64)}}
    aoti.export(out / "repeated.pt2", Model(Repeated(), (torch.randn(4, 3),), dynamic_shapes=shapes))


def make_custom(out: Path) -> None:
    aoti.export(out / "custom.pt2", Model(Custom(), (torch.randn(8),)))


def make_operators(out: Path) -> None:
    aoti.export(out / "operators.pt2", Model(Operators(), (torch.randn(8),)))


def make_fallback(out: Path) -> None:
    shapes = {"x": {0: Dim("rows", min=3, max=64)}}
    aoti.export(out / "fallback.pt2", Model(Fallback(), (torch.randn(5, 3),), dynamic_shapes=shapes))


def make_throwing(out: Path) -> None:
    aoti.export(out / "throwing.pt2", Model(Throwing(), (torch.rand(8),)))


def make_modes(out: Path) -> None:
    aoti.export(out / "modes.pt2", Model(seeded(Modes), (torch.randn(6, 2, 8),)))


def make_tally(out: Path) -> None:
    """The model holds an object that counts from 3; it returns x + count, and this sum minus the count."""
    from torch.utils.cpp_extension import load

    with tempfile.TemporaryDirectory() as folder:
        load("tally", str(TALLY), is_python_module=False, build_directory=folder)

    @torch._library.register_fake_class("aoti_classes::Tally")
    class FakeTally:
        def __init__(self, start: int) -> None:
            self.start = start

        @classmethod
        def __obj_unflatten__(cls, state: tuple[tuple[str, int]]) -> object:
            return cls(**dict(state))

        def add_to(self, x: Tensor) -> Tensor:
            return torch.empty_like(x)

    torch.library.register_fake("aoti_classes::minus_tally", lambda x, tally: torch.empty_like(x))

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tally = torch.classes.aoti_classes.Tally(3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.tally.add_to(x)
            return y, torch.ops.aoti_classes.minus_tally(y, self.tally)

    aoti.export(out / "tally.pt2", Model(Counting(), (torch.randn(8),)))


def make_exported(out: Path) -> None:
    """Not compiled: a package without a model that can be loaded."""
    torch.export.save(export(Add(), (torch.randn(8), torch.randn(8))), out / "exported.pt2")


def make_linear_beside(out: Path) -> None:
    aoti.export(out / "linear_beside.pt2", of_rows(seeded(Linear)))
    write_updates(out, "linear", Linear)


def make_linear_embedded(out: Path) -> None:
    aoti.export(out / "linear_embedded.pt2", of_rows(seeded(Linear), EMBEDDED))


def make_linear_none(out: Path) -> None:
    aoti.export(out / "linear_none.pt2", of_rows(seeded(Linear), NO_WEIGHTS))


def make_linear_foreign(out: Path) -> None:
    """Without our exporter: no spec."""
    model = of_rows(seeded(Linear))
    ep = export(model.module, model.args, dynamic_shapes=model.dynamic_shapes)
    path = str(out / "linear_foreign.pt2")
    torch._inductor.aoti_compile_and_package(ep, package_path=path, inductor_configs=BESIDE)


def make_linear_cuda(out: Path) -> None:
    """linear_beside for a GPU, with its kernels in the image."""
    module = seeded(Linear).cuda()
    module.shift = module.shift.cuda()
    options = {"aot_inductor.embed_kernel_binary": True}
    aoti.export(out / "linear_cuda.pt2", Model(module, (torch.randn(4, 16, device="cuda"),), options=options))


def make_folding(out: Path) -> None:
    options = {"aot_inductor.use_runtime_constant_folding": True}
    aoti.export(out / "folding.pt2", of_rows(seeded(Folding), options))
    write_updates(out, "folding", Folding)


def small_mlp(options: dict[str, object] | None = None) -> Model:
    """16 -> 32 -> 8, one row; compiled for one thread."""
    torch.manual_seed(0)
    return Model(small_mlp_module(), (torch.randn(1, 16),), options=options)


def small_mlp_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def make_mlp_small(out: Path) -> None:
    """With Inductor's defaults."""
    aoti.export(out / "mlp_small.pt2", small_mlp())
    torch.manual_seed(1)
    write_bin(out / "mlp_small.bin", small_mlp_module(), torch.randn(1, 16))


def make_mlp_tuned(out: Path) -> None:
    """Its matrix products are compiled in, so it imports no operator."""
    aoti.export(out / "mlp_tuned.pt2", small_mlp(COMPILED_PRODUCTS))


def make_add_arrayref(out: Path) -> None:
    aoti.export(out / "add_arrayref.pt2", Model(Add(), (torch.randn(8), torch.randn(8)), options=ARRAYREF))


def make_mlp_arrayref(out: Path) -> None:
    aoti.export(out / "mlp_arrayref.pt2", small_mlp({**ARRAYREF, **COMPILED_PRODUCTS}))


def make_frozen(out: Path) -> None:
    aoti.export(out / "frozen.pt2", Model(seeded(Frozen), (torch.randn(2, 3, 8, 8),)), updatable=False)


def make_mutating(out: Path) -> None:
    aoti.export(out / "mutating.pt2", Model(Mutating(), (torch.randn(12),)))


def checked() -> tuple[Checked, tuple[Tensor, Tensor]]:
    return Checked(), (torch.randn(10), torch.zeros(1 << 16, dtype=torch.int64))


def make_checked(out: Path) -> None:
    """Its loops are divided among threads."""
    aoti.export(out / "checked.pt2", Model(*checked()), threads=2)


def make_checked_plain(out: Path) -> None:
    """The same without our exporter."""
    torch.set_num_threads(2)
    torch._inductor.aoti_compile_and_package(export(*checked()), package_path=str(out / "checked_plain.pt2"))


def make_state(out: Path) -> None:
    aoti.export(out / "state.pt2", Model(State(), (torch.randn(6),)), threads=1)


def make_state_embedded(out: Path) -> None:
    aoti.export(out / "state_embedded.pt2", Model(State(), (torch.randn(6),), options=EMBEDDED), threads=1)


def make_writing(out: Path) -> None:
    aoti.export(out / "writing.pt2", Model(Writing(), (torch.randn(8), torch.randn(8)), options=ARRAYREF), threads=1)


def vit(options: dict[str, object] | None = None) -> Model:
    """ViT-B/16 with random weights, 346 MB; input [1, 3, 224, 224]."""
    from torchvision.models import vit_b_16

    return Model(vit_b_16().eval(), (torch.randn(1, 3, 224, 224),), options=options)


def make_vit(out: Path) -> None:
    aoti.export(out / "vit.pt2", vit(EMBEDDED))


def make_vit_beside(out: Path) -> None:
    aoti.export(out / "vit_beside.pt2", vit())


def vision(name: str) -> Model:
    """With random weights; input [1, 3, 224, 224]."""
    import torchvision.models

    return Model(getattr(torchvision.models, name)().eval(), (torch.randn(1, 3, 224, 224),))


def make_resnet18(out: Path) -> None:
    aoti.export(out / "resnet18.pt2", vision("resnet18"))


def make_linear_packed(out: Path) -> None:
    """The weights are packed for the oneDNN inside torch; input [4, 16]."""
    with torch.no_grad():
        aoti.export(out / "linear_packed.pt2", Model(seeded(Linear), (torch.randn(4, 16),), options={"freezing": True}))


def make_mobilenet_v3(out: Path) -> None:
    aoti.export(out / "mobilenet_v3.pt2", vision("mobilenet_v3_small"))


def make_lstm(out: Path) -> None:
    """Two layers, batch first; input [4, 32, 64], hidden size 128."""
    aoti.export(out / "lstm.pt2", Model(nn.LSTM(64, 128, num_layers=2, batch_first=True).eval(), (torch.randn(4, 32, 64),)))


class Ids(nn.Module):
    """A model of transformers from token ids and a mask to the last hidden state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state


def of_ids(model: nn.Module) -> Model:
    """Takes ids below 1000 and a mask, both int64 [2, 48]."""
    model.config.use_cache = False
    model.set_attn_implementation("sdpa")
    return Model(Ids(model).eval(), (torch.randint(0, 1000, (2, 48)), torch.ones(2, 48, dtype=torch.int64)))


def make_bert(out: Path) -> None:
    """Three layers with random weights."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=1000, hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=512
    )
    aoti.export(out / "bert.pt2", of_ids(BertModel(config, add_pooling_layer=False)))


def make_llama(out: Path) -> None:
    """Three layers with random weights, two query heads per key head."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=384,
    )
    aoti.export(out / "llama.pt2", of_ids(LlamaModel(config)))


def unavailable(name: str) -> str:
    """Why this torch cannot compile the model; empty if it can."""
    from torch._inductor import config

    release = torch.__version__.split("+")[0]
    if name == "modes" and tuple(map(int, release.split(".")[:2])) < (2, 15):
        return f"torch {release} writes arguments that are bools into C++ as Python has them"
    option = NEEDS.get(name)
    if option is None or hasattr(config.aot_inductor, option):
        return ""
    return f"torch {release} has no option aot_inductor.{option}, with which it is compiled"


def make(out: Path, name: str) -> str:
    """Compiles a model, or records why this torch cannot; returns the outcome."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # warns that there is no GPU
    (out / f"{name}.unavailable").unlink(missing_ok=True)
    if reason := unavailable(name):
        (out / f"{name}.pt2").unlink(missing_ok=True)
        (out / f"{name}.unavailable").write_text(reason)
        return reason
    start = time.monotonic()
    # Inductor writes the number of threads into the kernels; a second thread only slows down models this small.
    torch.set_num_threads(THREADS if name in BY_NAME_ONLY else 1)
    torch.manual_seed(0)
    try:
        globals()[f"make_{name}"](out)
    except Exception as error:
        # Some of Inductor's exceptions cannot be pickled.
        raise RuntimeError(f"{name}: {''.join(traceback.format_exception(error))}") from None
    return f"{time.monotonic() - start:.1f} s"


def main(out: Path, names: list[str], as_users_do: bool) -> None:
    """Compiles one model per core at a time."""
    from torch._inductor import config

    config.cpp.vec_isa_ok = True  # instead of compiling a library for each instruction set
    stamps, count = read_stamps(out), 0
    for light in (False, True):
        group = [name for name in names if is_light(name, as_users_do) == light]
        if light:  # in new processes, since a process keeps what it has precompiled
            os.environ["CPLUS_INCLUDE_PATH"] = str(LIGHT)
            config.aot_inductor.compile_wrapper_opt_level = "O0"
            compiler = LIGHT / Path(config.cpp.cxx[-1]).name
            if compiler.exists():
                config.cpp.cxx = (shlex.quote(str(compiler)),)
        processes = max(1, min(len(os.sched_getaffinity(0)), len(group)))
        with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            made = {pool.submit(make, out, name): name for name in group}
            for future in as_completed(made):
                name, count = made[future], count + 1
                print(f"{name} ({count}/{len(names)}): {future.result()}", flush=True)
                stamps[name] = stamp(name, as_users_do)
                write_stamps(out, stamps)


if __name__ == "__main__":
    main(*ARGUMENTS)
