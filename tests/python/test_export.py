"""The exporter: what the spec says, that upstream's loader runs what it writes, and what bad arguments get."""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, export

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from aoti import SPEC_KEY, Model, package, spec  # noqa: E402


logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no GPU


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
    assert package(path, model, extra={"labels.txt": "a b", "deep/raw.bin": b"\x01\x00"}) == str(path)

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
    package(path, models)
    a, b = torch.randn(8), torch.randn(8)
    for name, which in (("model", "first"), ("model2", "second")):
        compiled = load(path, name)
        assert torch.equal(compiled(a, b), a + b)
        assert compiled.get_metadata()["which"] == which


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    path = tmp_path / "model.pt2"
    path.write_text("old")
    model = Model(Twice(), (torch.randn(2),))

    class Bad(nn.Module):
        def forward(self, x):
            raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        package(path, Model(Bad(), (torch.randn(2),)))

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(PT2ArchiveWriter, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        package(path, model)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "models", "extra", "message"),
    [
        ("model.zip", None, None, "ends in .pt2"),
        ("absent/model.pt2", None, None, "is not a directory"),
        ("model.pt2", {}, None, "non-empty dict"),
        ("model.pt2", {"a/b": Model(Twice(), (torch.ones(1),))}, None, "model 'a/b'"),
        ("model.pt2", Model(torch.sin), None, "module: expected an nn.Module"),
        ("model.pt2", Model(Twice(), torch.ones(1)), None, "args: expected a tuple"),
        ("model.pt2", Model(Twice(), (), metadata={"aoti.spec": "x"}), None, "reserved"),
        ("model.pt2", Model(Twice(), (), metadata={"n": 1}), None, "expected text for text"),
        ("model.pt2", Model(Twice(), (), options={"aot_inductor.package": False}), None, "set by package"),
        ("model.pt2", None, {"../x": "y"}, r"without '\.\.'"),
        ("model.pt2", None, {"x": 1}, "expected str or bytes"),
    ],
)
def test_bad_arguments(tmp_path, name, models, extra, message):
    models = Model(Twice(), (torch.ones(1),)) if models is None else models
    with pytest.raises(ValueError, match=message):
        package(tmp_path / name, models, extra=extra)
    assert list(tmp_path.iterdir()) == []


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
