"""The exporter: what the spec says, that upstream's loader runs its packages, and errors for bad arguments."""

from __future__ import annotations

import copy
import errno
import json
import logging
import re
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
import torch._inductor.config
from common import package
from torch import nn
from torch.export import Dim, export

import aoti
from aoti import SPEC_KEY, Model, spec
from aoti._export import _constant

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # warns that there is no GPU

TORCH = tuple(int(number) for number in torch.__version__.split("+")[0].split(".")[:2])
PUTS_WEIGHTS_BESIDE = hasattr(torch._inductor.config.aot_inductor, "package_constants_on_disk_format")
needs_weights_beside = pytest.mark.skipif(
    not PUTS_WEIGHTS_BESIDE, reason=f"torch {TORCH[0]}.{TORCH[1]} cannot put weights beside the image"
)


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class Twice(nn.Module):
    def forward(self, x):
        return x * 2


def spec_of_input(x: torch.Tensor, dynamic_shapes=None) -> dict:
    return spec(export(Twice(), (x,), dynamic_shapes=dynamic_shapes))["inputs"][0]


def load(path: Path, model: str = "model"):
    from torch._inductor.package import load_package

    return load_package(str(path), model)


def test_static_shape():
    result = spec(export(Add(), (torch.randn(8), torch.randn(8))))
    vector = {"dtype": "float32", "device": "cpu", "shape": [8]}
    assert result == {
        "version": 1,
        "inputs": [{"name": "a", **vector}, {"name": "b", **vector}],
        "outputs": [{"name": "add", **vector}],
    }


def test_symbol_shared_by_inputs_and_outputs():
    batch = Dim("batch", min=1, max=1024)
    args = (torch.randn(4, 3), torch.randn(4, 3))
    result = spec(export(Add(), args, dynamic_shapes={"a": {0: batch}, "b": {0: batch}}))
    for tensor in result["inputs"] + result["outputs"]:
        assert tensor["shape"] == [{"symbol": "batch", "min": 1, "max": 1024}, 3]


def test_unbounded_dimension_without_name():
    shape = spec_of_input(torch.randn(4, 3), ({0: Dim.DYNAMIC},))["shape"]
    assert shape[1] == 3
    assert shape[0]["symbol"].startswith("s") and shape[0]["max"] is None


def test_derived_dimension():
    class Cat(nn.Module):
        def forward(self, x, y):
            return torch.cat([x, y]), y.flatten()

    b = Dim("b", min=2, max=10)
    args = (torch.randn(3, 4), torch.randn(7, 4))
    result = spec(export(Cat(), args, dynamic_shapes={"x": {0: b}, "y": {0: 2 * b + 1}}))
    assert result["inputs"][1]["shape"] == [{"symbol": "b", "scale": 2, "offset": 1, "min": 5, "max": 21}, 4]
    assert result["outputs"][0]["shape"] == [{"symbol": "b", "scale": 3, "offset": 1, "min": 7, "max": 31}, 4]
    assert result["outputs"][1]["shape"] == [{"symbol": "b", "scale": 8, "offset": 4, "min": 20, "max": 84}]


def test_dimension_that_is_not_linear():
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten()

    shapes = ({0: Dim("n", min=2, max=5), 1: Dim("m", min=3, max=7)},)
    (output,) = spec(export(Flat(), (torch.randn(4, 6),), dynamic_shapes=shapes))["outputs"]
    assert output["shape"] == [{"text": "m*n", "min": 6, "max": 35}]


@pytest.mark.parametrize(
    ("example", "dynamic", "layout"),
    [
        (torch.randn(2, 3), {}, {}),
        (torch.randn(2, 3), {0: Dim("b")}, {}),
        (torch.randn(4, 2, 1).transpose(1, 2), {}, {}),
        (torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last), {0: Dim("b")}, {"order": [0, 2, 3, 1]}),
        (torch.randn(2, 3).t(), {}, {"order": [1, 0]}),
        (torch.randn(5, 4).t(), {0: Dim("b")}, {"order": [1, 0]}),
        (torch.randn(4, 10)[:, ::2], {0: Dim("b")}, {"strides": [10, 2]}),
        (torch.randn(1, 4).expand(3, 4), {}, {"strides": [0, 1]}),
    ],
)
def test_memory_layout(example, dynamic, layout):
    tensor = spec_of_input(example, (dynamic,))
    assert {key: tensor[key] for key in ("order", "strides") if key in tensor} == layout


def test_arguments_that_are_no_tensors_or_written_to():
    class Kinds(nn.Module):
        def forward(self, x, y, k=3, *, mode="a"):
            x.add_(1)
            return x * k + y

    result = spec(export(Kinds(), (torch.ones(2), torch.ones(2), 3), {"mode": "b"}))
    assert [tensor.get("mutated") for tensor in result["inputs"]] == [True, None]
    assert result["arguments"] == [
        {"name": "x"},
        {"name": "y"},
        {"name": "k", "value": "3"},
        {"name": "mode", "value": "'b'"},
    ]
    assert "arguments" not in spec(export(Twice(), (torch.ones(2),)))


def test_kwargs_dtypes_and_nested_outputs():
    class Nested(nn.Module):
        def forward(self, ids, times=1, *, mask, bias):
            y = torch.where(mask, ids * times, -1)
            return {"y": y, "z": (y.sum(), [y > 0, None]), "n": ids.shape[0], "half": ids.shape[0] / 2, "yes": True}

    n = Dim("n", min=1, max=9)
    kwargs = {"bias": torch.randn(2).to(torch.bfloat16), "mask": torch.ones(4, dtype=torch.bool)}
    shapes = {"ids": {0: n}, "times": None, "mask": {0: n}, "bias": {}}
    result = spec(export(Nested(), (torch.arange(4), 3), kwargs, dynamic_shapes=shapes))

    def brief(tensors):
        return [(tensor["name"], tensor["dtype"], len(tensor["shape"])) for tensor in tensors]

    assert brief(result["inputs"]) == [("ids", "int64", 1), ("bias", "bfloat16", 1), ("mask", "bool", 1)]
    assert brief(result["outputs"]) == [
        ("y", "int64", 1),
        ("z_0", "int64", 0),
        ("z_1_0", "bool", 1),
        ("z_1_1", None, 0),
        ("n", "int64", 0),
        ("half", "float64", 0),
        ("yes", "bool", 0),
    ]


def test_number_of_variable_value_is_refused():
    class Scale(nn.Module):
        def forward(self, x, k):
            return x * k

    ep = export(Scale(), (torch.randn(3), 7), dynamic_shapes={"x": None, "k": Dim.DYNAMIC})
    with pytest.raises(ValueError, match="input 'k': a compiled model takes tensors only"):
        spec(ep)


def test_constant_that_cannot_be_returned_is_refused():
    class Half(nn.Module):
        def forward(self, x):
            return x, 0.5

    with pytest.raises(ValueError, match="output 'output_1': a compiled model cannot return the constant 0.5"):
        spec(export(Half(), (torch.randn(3),)))


def test_package_runs_in_upstream_loader(tmp_path):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 5)

        def forward(self, x, *, scale):
            y = self.linear(x) * scale
            return {"y": y, "rest": (y.sum(), None, x.shape[0], x.shape[0] / 2, True, y)}

    batch = Dim("batch", min=1, max=64)
    module = Mixed().eval()
    path = tmp_path / "mixed.pt2"
    model = Model(
        module,
        (torch.randn(4, 3),),
        {"scale": torch.randn(4, 1)},
        {"x": {0: batch}, "scale": {0: batch}},
        metadata={"author": "me"},
    )
    assert aoti.export(path, model, extra={"labels.txt": "a b", "deep/raw.bin": b"\x01\x00"}) == str(path)

    with zipfile.ZipFile(path) as archive:
        assert archive.read("mixed/extra/labels.txt") == b"a b"
        assert archive.read("mixed/extra/deep/raw.bin") == b"\x01\x00"
    compiled = load(path)
    metadata = compiled.get_metadata()
    assert metadata["author"] == "me"
    described = json.loads(metadata[SPEC_KEY])
    assert [tensor["name"] for tensor in described["inputs"]] == ["x", "scale"]
    for size in (1, 7):
        x, scale = torch.randn(size, 3), torch.randn(size, 1)
        got, expected = compiled(x, scale=scale), module(x, scale=scale)
        torch.testing.assert_close(got["y"], expected["y"])
        flat = torch.utils._pytree.tree_leaves(got)
        for value, tensor in zip(flat, described["outputs"], strict=True):
            assert (value is None) == (tensor["dtype"] is None)
            if value is not None:
                assert str(value.dtype) == f"torch.{tensor['dtype']}" and value.dim() == len(tensor["shape"])
        assert got["rest"][2:5] == (size, size / 2, True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mixed.pt2"]


def test_two_models_of_equal_code_keep_their_own_metadata(tmp_path):
    args = (torch.randn(8), torch.randn(8))
    path = tmp_path / "pair.pt2"
    models = {
        "model": Model(Add(), args, metadata={"which": "first"}),
        "model2": Model(export(Add(), args), metadata={"which": "second"}),
    }
    aoti.export(path, models)
    assert entries(path, "_weights.blob") == []
    a, b = torch.randn(8), torch.randn(8)
    for name, which in (("model", "first"), ("model2", "second")):
        compiled = load(path, name)
        if TORCH > (2, 11):  # earlier ones find "model" in "model2"
            assert torch.equal(compiled(a, b), a + b)
            assert compiled.get_metadata()["which"] == which
        with zipfile.ZipFile(path) as archive:
            files = [file for file in archive.namelist() if f"/{name}/" in file and file.endswith("_metadata.json")]
            assert files and all(json.loads(archive.read(file))["which"] == which for file in files)


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    path = tmp_path / "model.pt2"
    path.write_text("old")
    model = Model(Twice(), (torch.randn(2),))

    class Bad(nn.Module):
        def forward(self, x):
            raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        aoti.export(path, Model(Bad(), (torch.randn(2),)))

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(PT2ArchiveWriter, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        aoti.export(path, model)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "models", "extra", "error", "message"),
    [
        ("model.zip", None, None, ValueError, "ends in .pt2"),
        ("absent/model.pt2", None, None, ValueError, "is not a directory"),
        ("a\0.pt2", None, None, ValueError, "embedded null byte"),
        ("\udcff.pt2", None, None, ValueError, "in UTF-8"),
        ("model.pt2", {}, None, ValueError, "non-empty dict"),
        ("model.pt2", [Model(Twice())], None, TypeError, "models: expected a Model"),
        ("model.pt2", {"a": 3}, None, TypeError, "model 'a': expected a Model; found int"),
        ("model.pt2", {"a/b": Model(Twice(), (torch.ones(1),))}, None, ValueError, "model 'a/b'"),
        ("model.pt2", Model(torch.sin), None, TypeError, "module: expected an nn.Module"),
        ("model.pt2", Model(Twice(), torch.ones(1)), None, TypeError, "args: expected a tuple"),
        ("model.pt2", Model(Twice(), (), metadata={"aoti.spec": "x"}), None, ValueError, "reserved"),
        ("model.pt2", Model(Twice(), (), metadata={"n": 1}), None, TypeError, "expected text for text"),
        ("model.pt2", Model(Twice(), (), metadata="x"), None, TypeError, "metadata: expected a dict"),
        ("model.pt2", Model(Twice(), (), kwargs=[1]), None, TypeError, "kwargs: expected a dict"),
        ("model.pt2", Model(Twice(), (), options=[]), None, TypeError, "options: expected a dict"),
        ("model.pt2", None, [1], TypeError, "extra: expected a dict"),
        ("model.pt2", Model(Twice(), (), options={"aot_inductor.package": False}), None, ValueError, "set by export"),
        ("model.pt2", Model(Twice(), (), options={"aot_inductor.none": 1}), None, ValueError, "torch .* has no option"),
        ("model.pt2", None, {"../x": "y"}, ValueError, r"without '\.\.'"),
        ("model.pt2", None, {"x": 1}, TypeError, "expected str or bytes"),
    ],
)
def test_bad_arguments(tmp_path, name, models, extra, error, message):
    models = Model(Twice(), (torch.ones(1),)) if models is None else models
    with pytest.raises(error, match=message):
        aoti.export(tmp_path / name, models, extra=extra)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refused)  # root may write anywhere
    with pytest.raises(ValueError, match="no file can be written .*: Permission denied"):
        aoti.export(tmp_path / "model.pt2", Model(Twice(), (torch.ones(1),)))


def test_names_as_long_as_they_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(aoti._export, "_compile", lambda *_, **__: [])
    name = "n" * 251 + ".pt2"
    assert zipfile.is_zipfile(aoti.export(tmp_path / name, Model(Twice(), (torch.ones(1),))))
    monkeypatch.delattr(aoti._export, "_compile")  # longer paths are refused before anything is compiled
    for path in (tmp_path / f"n{name}", tmp_path.joinpath(*["n" * 250] * 20, name)):
        with pytest.raises(ValueError, match="path: "):
            aoti.export(path, Model(Twice(), (torch.ones(1),)))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_images_ask_for_no_executable_stack():
    with zipfile.ZipFile(package("add")) as archive:
        (image,) = (archive.read(name) for name in archive.namelist() if name.endswith(".so"))
    (table,), (count,) = struct.unpack_from("<Q", image, 32), struct.unpack_from("<H", image, 56)
    headers = (struct.unpack_from("<II", image, table + 56 * i) for i in range(count))
    gnu_stack = 0x6474E551
    assert [flags for kind, flags in headers if kind == gnu_stack] == [6]  # readable, writable


def test_gaps_of_dynamic_size_are_refused() -> None:
    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    gaps = torch.randn(6, 20)[:, ::2]
    dynamic = torch.export.export(Double(), (gaps,), dynamic_shapes={"x": {0: Dim("n"), 1: Dim("m")}})
    with pytest.raises(ValueError, match="gaps whose size depends on a dynamic dimension"):
        spec(dynamic)
    fixed = spec(torch.export.export(Double(), (gaps,), dynamic_shapes={"x": {0: Dim("n")}}))
    assert fixed["inputs"][0]["strides"] == [20, 2]


class Constants(nn.Module):
    """Constants of many kinds, long enough not to be compiled in."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(11, 5), nn.Linear(11, 5)
        self.right.weight = self.left.weight
        self.transposed = nn.Parameter(torch.randn(11, 11).t())
        self.gaps = nn.Parameter(torch.randn(11, 24)[:, 2::2])
        self.expanded = nn.Parameter(torch.randn(1, 11).expand(11, 11))
        self.slice = nn.Parameter(torch.randn(40)[7:18])
        self.scalar = nn.Parameter(torch.tensor(2.5))
        self.empty = nn.Parameter(torch.zeros(0, 11))
        self.column = nn.Parameter(torch.randn(1, 11, 1).transpose(0, 1))
        self.register_buffer("window", torch.randn(30)[4:15])
        self.register_buffer("flags", torch.arange(11) % 2 == 0)
        self.register_buffer("ids", torch.arange(11).flip(0))
        self.register_buffer("brain", torch.randn(11).to(torch.bfloat16))
        self.register_buffer("transient", torch.randn(11), persistent=False)
        self.register_buffer("unused", torch.randn(11))
        self.register_buffer("counter", torch.zeros(11))
        self.attribute = torch.randn(11)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.counter.add_(x[0])
        y = torch.cat([x @ self.transposed + x @ self.gaps + x @ self.expanded, self.empty]) * self.scalar + self.slice
        z = torch.where(self.flags, y, self.transient + self.window * self.brain.float()) + self.attribute
        literal = torch.tensor([7.0] * 11)
        return self.left(x) + self.right(x), z[:, self.ids] + literal, self.counter + self.column.flatten()


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 12)
        self.register_buffer("scale", torch.randn(12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale


def entries(path: Path, ending: str) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith(ending)]


def constants_of(path: Path) -> dict[str, dict] | None:
    """By FQN, after checking that the metadata files agree."""
    specs = {json.loads(text)[SPEC_KEY] for text in entries(path, "_metadata.json")}
    assert len(specs) == 1
    listed = json.loads(specs.pop()).get("constants")
    return None if listed is None else {constant["fqn"]: constant for constant in listed}


def read_constant(blob: bytes, constant: dict) -> torch.Tensor:
    dtype, shape = getattr(torch, constant["dtype"]), constant["shape"]
    strides = constant.get("strides", torch.empty(shape, device="meta").stride())
    count = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides)) if 0 not in shape else 0
    assert constant["offset"] + count * dtype.itemsize <= len(blob)
    elements = torch.frombuffer(bytearray(blob), dtype=dtype, count=count, offset=constant["offset"])
    return elements.as_strided(shape, strides)


@needs_weights_beside
@pytest.mark.parametrize("option", [None, "aot_inductor.use_runtime_constant_folding", "freezing"])
def test_constants_are_where_the_spec_says(tmp_path, option):
    torch.manual_seed(0)
    module, x = Constants().eval(), torch.randn(4, 11)
    eager = copy.deepcopy(module)  # running it changes its counter
    ep = export(module, (x,))
    tensors = {**ep.constants, **ep.state_dict}
    path = tmp_path / "model.pt2"
    with torch.no_grad():  # or nothing would be frozen
        aoti.export(path, Model(ep, options={option: True} if option else None))
        compiled = load(path)
        for _ in range(2):
            torch.testing.assert_close(compiled(x), eager(x))
    (blob,) = entries(path, "_weights.blob")
    constants = constants_of(path)
    assert [constant["name"] for constant in constants.values()] == re.findall(
        r'constants_info_\[\d+\]\.name = "(.*)";', entries(path, ".wrapper.cpp")[0].decode()
    )
    assert sum(constant["bytes"] for constant in constants.values() if constant["kind"] != "folded") == len(blob)
    assert [fqn for fqn, constant in constants.items() if "mutated" in constant] == ["counter"]
    assert constants["counter"]["mutated"] is True
    compared = set()
    for fqn, constant in constants.items():
        assert ("offset" in constant) == (constant["kind"] != "folded" and "layout" not in constant)
        if fqn in tensors:
            found = read_constant(blob, constant)
            assert found.stride() == tensors[fqn].stride() and torch.equal(found, tensors[fqn])
            compared.add(fqn)
        elif constant["kind"] == "tensor":
            found = read_constant(blob, constant)
            assert any(torch.equal(found, ep.constants[name]) for name in ("attribute", "lifted_tensor_0"))
    plain = {"flags", "ids", "counter", "slice"}
    if option == "freezing":
        assert plain <= compared and any(constant.get("layout") == "mkldnn" for constant in constants.values())
        return
    assert plain | {"window", "transient", "transposed", "gaps", "expanded", "column", "brain"} <= compared
    assert len(compared & {"left.weight", "right.weight"}) == 1 and "unused" not in constants
    kinds = {constant["kind"] for constant in constants.values()}
    assert kinds == {"parameter", "buffer", "tensor"} | ({"folded"} if option else set())
    offset = constants["gaps"]["offset"]
    assert constants["gaps"] == {
        "name": "gaps",
        "fqn": "gaps",
        "dtype": "float32",
        "device": "cpu",
        "shape": [11, 11],
        "bytes": 1088,
        "kind": "parameter",
        "strides": [24, 2],
        "offset": offset,
    }
    if option:
        assert constants["scalar"]["shape"] == [] and read_constant(blob, constants["scalar"]).item() == 2.5


def test_weights_lie_where_the_options_say(tmp_path):
    module, x = Scaled().eval(), torch.randn(4, 16)
    expected = module(x)
    in_so, on_disk = "aot_inductor.package_constants_in_so", "aot_inductor.package_constants_on_disk_format"
    variants = {
        "default": {},
        "embedded": {in_so: True},
        "appended": {"aot_inductor.force_mmap_weights": True},
        "none": {in_so: False},
        **({"pickle": {in_so: False, on_disk: "pickle_weights"}} if PUTS_WEIGHTS_BESIDE else {}),
    }
    outputs = {}
    for name, options in variants.items():
        path = tmp_path / f"{name}.pt2"
        aoti.export(path, Model(module, (x,), options=options))
        if name == "pickle":
            from torch.export.pt2_archive._package import load_pt2

            compiled = load_pt2(str(path), load_weights_from_disk=True).aoti_runners["model"]
        else:
            compiled = load(path)
        if name == "none":
            compiled.load_constants(module.state_dict(), check_full_update=True)
        outputs[name] = compiled(x)
        torch.testing.assert_close(outputs[name], expected)
        assert torch.equal(outputs[name], outputs["default"])
        beside = name == "default" and PUTS_WEIGHTS_BESIDE
        assert len(entries(path, "_weights.blob")) == beside
        assert set(constants_of(path)) == {"linear.weight", "linear.bias", "scale"}
        for fqn, constant in constants_of(path).items():
            assert ("offset" in constant) == beside
            assert constant["shape"] == list(module.state_dict()[fqn].shape) and "mutated" not in constant


def test_without_constants_no_weights_are_packaged(tmp_path):
    class CompiledIn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("two", torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.two

    path = tmp_path / "model.pt2"
    aoti.export(path, Model(CompiledIn(), (torch.ones(8),)), updatable=False)
    assert entries(path, "_weights.blob") == [] and constants_of(path) == {}
    assert torch.equal(load(path)(torch.ones(8)), torch.full((8,), 2.0))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("runs", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs.add_(1)
        return self.layer(x) * self.runs.sum()


def test_weights_that_are_not_updated_are_frozen_and_plain(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    path, x = tmp_path / "model.pt2", torch.randn(1, 3, 8, 8)
    aoti.export(path, Model(module, (x,)), updatable=False)
    assert b"_convolution_pointwise(" in b"".join(entries(path, ".wrapper.cpp"))
    constants = constants_of(path)
    assert any("derived" in constant for constant in constants.values())
    assert not any("layout" in constant for constant in constants.values())
    torch.testing.assert_close(load(path)(x), module(x))


class Transposed(nn.Module):
    """Its weight has a row for each input, as GPT-2's have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 32))
        self.bias = nn.Parameter(torch.randn(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x, self.weight)


def test_weights_are_transposed_once(tmp_path):
    module, x = Transposed(), torch.randn(4, 64)
    path = tmp_path / "model.pt2"
    aoti.export(path, Model(module, (x,)), updatable=False)
    assert [constant.get("strides") for constant in constants_of(path).values() if constant["shape"] == [32, 64]] == [None]
    assert b"_transpose" not in b"".join(entries(path, ".kernel.cpp"))
    torch.testing.assert_close(load(path)(x), module(x))


class Masked(nn.Module):
    """Adds -100 where the window of a row and that of a column differ, as Swin does, and a rising row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = torch.zeros(8, 8)
        windows[:4, 5:] = 1
        windows[4:] = 2
        windows = windows.view(4, 2, 4, 2).permute(0, 2, 1, 3).reshape(16, 4)
        difference = windows[:, None] - windows[:, :, None]
        return x + difference.masked_fill(difference != 0, -100.0) + torch.arange(4.0) / 3 + torch.full((4,), 0.25)


@pytest.mark.parametrize("updatable", [True, False])
def test_masks_are_computed_once_if_weights_are_not_updated(tmp_path, updatable):
    module, x = Masked(), torch.randn(16, 4, 4)
    path = tmp_path / "model.pt2"
    aoti.export(path, Model(module, (x,)), updatable=updatable)
    code = b"".join(entries(path, ".kernel.cpp"))
    assert (b"-100.0" in code) == updatable
    assert [constant["shape"] for constant in constants_of(path).values()] == ([] if updatable else [[16, 4, 4]])
    torch.testing.assert_close(load(path)(x), module(x))


@pytest.mark.parametrize("module", [Counted(), nn.Linear(4, 4).double()], ids=["written", "float64"])
def test_what_cannot_be_frozen_is_compiled_as_it_is(tmp_path, module):
    path, x = tmp_path / "model.pt2", torch.randn(2, 4, dtype=next(module.parameters()).dtype)
    aoti.export(path, Model(copy.deepcopy(module), (x,)), updatable=False)
    assert not any("derived" in constant for constant in constants_of(path).values())
    model = load(path)
    for _ in range(2):
        torch.testing.assert_close(model(x), module(x))


HAS_BFLOAT16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@pytest.mark.skipif(not HAS_BFLOAT16, reason="the processor has neither AMX nor AVX512-BF16")
@pytest.mark.parametrize("updatable", [True, False])
def test_products_may_be_of_bfloat16(tmp_path, updatable):
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 64), nn.GELU(), nn.Linear(64, 4)).eval()
    path, x = tmp_path / "model.pt2", torch.randn(2, 3, 8, 8)
    aoti.export(path, Model(module, (x,)), updatable=updatable, precision="bf16")
    with torch.autocast("cpu", torch.bfloat16):
        expected = module(x).float()
    found = load(path)(x)
    assert found.dtype is torch.float32 and not torch.equal(found, module(x))
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    constants = constants_of(path)
    dtypes = {constant["dtype"] for constant in constants.values() if constant["bytes"] > 1000}
    assert dtypes == ({"float32"} if updatable else {"bfloat16"})
    assert not updatable or constants.keys() == module.state_dict().keys()
    assert not any("layout" in constant for constant in constants.values())


def test_a_precision_is_known_and_the_modules_to_choose(tmp_path, monkeypatch):
    module, args = nn.Linear(4, 4), (torch.randn(2, 4),)
    elsewhere = Model(nn.Linear(4, 4, device="meta"), args)
    for model, precision, tune, told in (
        (Model(module, args), "bfloat16", False, "expected 'bf16' or None; found 'bfloat16'"),
        (Model(module, args), "bf16", True, "leave out one of the two"),
        (Model(export(module, args)), "bf16", False, "an ExportedProgram, are fixed; give its module"),
        (elsewhere, "bf16", False, "expected a model for the CPU; 'model' is for another device"),
    ):
        with pytest.raises(ValueError, match=f"^precision: .*{told}"):
            aoti.export(tmp_path / "model.pt2", model, precision=precision, tune=tune)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    with pytest.raises(ValueError, match="neither AMX nor AVX512-BF16"):
        aoti.export(tmp_path / "model.pt2", Model(module, args), precision="bf16")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(TORCH < (2, 9), reason="torch 2.8 cannot compile a batch norm that is being trained")
def test_statistics_that_are_updated_are_mutated(tmp_path):
    module, x = nn.BatchNorm1d(11).train(), torch.randn(4, 11)
    path = tmp_path / "model.pt2"
    aoti.export(path, Model(export(module, (x,))))
    mutated = {fqn for fqn, constant in constants_of(path).items() if constant.get("mutated")}
    assert mutated == {"running_mean", "running_var", "num_batches_tracked"}
    torch.testing.assert_close(load(path)(x), module(x))


def test_code_that_is_not_understood_is_packaged_as_torch_does(tmp_path, monkeypatch):
    module, x = Scaled().eval(), torch.randn(4, 16)
    path = tmp_path / "model.pt2"
    monkeypatch.setattr("aoti._export._CONSTANT_FIELD", re.compile("(never)(never)(never)"))
    aoti.export(path, Model(module, (x,)))
    assert constants_of(path) is None and entries(path, "_weights.blob") == []
    torch.testing.assert_close(load(path)(x), module(x))


@needs_weights_beside
def test_weights_of_another_size_than_the_code_says_are_not_packaged_beside(tmp_path, monkeypatch):
    class Nothing(nn.Module):
        """Torch writes no bytes for an empty view, but declares those of its whole storage."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12))
            self.none = nn.Parameter(torch.randn(9, 12)[:0])

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + self.weight, self.none * 2

    path = tmp_path / "model.pt2"
    monkeypatch.setattr("aoti._export._own_memory", lambda *_, **__: None)  # which would remove such views
    aoti.export(path, Model(Nothing(), (torch.randn(12),)))
    assert entries(path, "_weights.blob") == []
    assert not any("offset" in constant for constant in constants_of(path).values())


GENERATED = {
    "name": '"w"',
    "original_fqn": '"w"',
    "dtype": "cached_torch_dtype_float32",
    "device_type": "cached_torch_device_type_cpu",
    "offset": "2",
    "data_size": "64",
    "from_folded": "false",
    "type": "static_cast<int32_t>(torch::aot_inductor::ConstantType::Parameter)",
    "shape": "{2, 3}",
    "stride": "{1, 2}",
    "layout": "static_cast<int32_t>(cached_torch_layout_strided)",
}


def test_generated_constant_is_read():
    constant, start = _constant(GENERATED)
    assert (constant["shape"], constant["strides"], start) == ([2, 3], [1, 2], 8)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", "name"),
        ("dtype", "at::kFloat"),
        ("dtype", "cached_torch_dtype_float31"),
        ("device_type", "0"),
        ("offset", "-1"),
        ("offset", "11"),
        ("data_size", "4 * 6"),
        ("from_folded", "true"),
        ("type", "static_cast<int32_t>(torch::aot_inductor::ConstantType::Other)"),
        ("shape", "{2, s0}"),
        ("stride", "{1}"),
        ("layout", None),
    ],
)
def test_generated_constant_of_unknown_form_is_refused(field, text):
    values = {**GENERATED, field: text}
    if text is None:
        del values[field]
    with pytest.raises((KeyError, ValueError)):
        _constant(values)
