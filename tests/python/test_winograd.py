"""Convolutions by Winograd's algorithm, one of the ways that aoti.export(…, tune=True) tries."""

import json

import pytest
import torch
from torch.nn import Conv2d
from torch.utils import _pytree as pytree

import aoti
from aoti import _tune
from aoti._winograd import conv2d, with_winograd


@pytest.mark.parametrize("padding", [(1, 1), (0, 0), (0, 2), (3, 1)])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 5, 13, 7), (3, 2, 3, 30), (1, 40, 32, 33)])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_a_convolution(shape, padding, bias):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator)
    weight = torch.randn(7, shape[1], 3, 3, generator=generator)
    offset = torch.randn(7, generator=generator) if bias else None
    expected = torch.conv2d(x.double(), weight.double(), None if offset is None else offset.double(), 1, padding)
    found = conv2d(x, weight, offset, padding)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).abs().max() < 2e-5 * expected.abs().max()
    exact = conv2d(x.double(), weight.double(), None if offset is None else offset.double(), padding)
    torch.testing.assert_close(exact, expected, rtol=1e-12, atol=1e-12)


def program(module, *shape, dtype=torch.float32, dynamic_shapes=None):
    return torch.export.export(module.eval().to(dtype), (torch.randn(shape, dtype=dtype),), dynamic_shapes=dynamic_shapes)


@pytest.mark.parametrize(
    "module, shape",
    [
        (Conv2d(32, 32, 3, padding=1, stride=2), (1, 32, 96, 96)),
        (Conv2d(32, 32, 3, padding=2, dilation=2), (1, 32, 48, 48)),
        (Conv2d(64, 64, 3, padding=1, groups=2), (1, 64, 48, 48)),
        (Conv2d(32, 32, 5, padding=2), (1, 32, 48, 48)),
        (Conv2d(32, 32, (3, 1)), (1, 32, 48, 48)),
        (Conv2d(16, 32, 3), (1, 16, 48, 48)),
        (Conv2d(32, 32, 3), (1, 32, 12, 12)),
        (torch.nn.ConvTranspose2d(32, 32, 3), (1, 32, 48, 48)),
        (torch.nn.Conv1d(32, 32, 3), (1, 32, 480)),
        (torch.nn.Linear(32, 32), (1, 32)),
    ],
)
def test_others_stay_as_they_are(module, shape):
    for ep in (program(module, *shape), program(module, *shape).run_decompositions()):
        compiled = ep.module()
        assert not with_winograd(compiled)
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), module(x), rtol=0, atol=0)


def test_without_a_batch_only_once_decomposed():
    torch.manual_seed(3)
    module, x = Conv2d(32, 32, 3, padding="same"), torch.randn(32, 48, 48)
    ep = program(module, *x.shape)
    assert not with_winograd(ep.module())
    compiled = ep.run_decompositions().module()
    assert with_winograd(compiled)
    expected = module(x)
    assert (compiled(x) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_only_float32_and_constant_weights():
    class Of(torch.nn.Module):
        def forward(self, x, weight):
            return torch.conv2d(x, weight)

    assert not with_winograd(program(Conv2d(32, 32, 3), 1, 32, 48, 48, dtype=torch.float64).module())
    ep = torch.export.export(Of(), (torch.randn(1, 32, 48, 48), torch.randn(32, 32, 3, 3)))
    assert not with_winograd(ep.module())


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_outputs_lie_as_without(tmp_path, monkeypatch, form):
    class Of(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Conv2d(32, 32, 3, padding=1), Conv2d(32, 48, 3)

        def forward(self, x):
            y = self.first(x)
            return {"y": y, "z": (torch.relu(self.second(y)), y, None, x.flip(2))}

    monkeypatch.setattr(_tune, "CANDIDATES", {"Winograd": _tune.CANDIDATES["freezing, Winograd"]})
    monkeypatch.setattr(_tune, "_SECONDS", 0.01)
    torch.manual_seed(4)
    module, x = Of().eval().to(memory_format=form), torch.randn(2, 32, 24, 26).to(memory_format=form)
    model = aoti.load(aoti.export(tmp_path / "model.pt2", aoti.Model(module, (x,)), threads=1, tune=True), threads=1)
    found, expected = model(x), module(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        assert ours is theirs or ours.stride() == theirs.stride()


class Block(torch.nn.Module):
    """As in ResNet."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Conv2d(32, 48, 3, padding=1, bias=False), Conv2d(48, 32, 3, padding=1)
        self.norm, self.small = torch.nn.BatchNorm2d(48), Conv2d(32, 4, 1)

    def forward(self, x):
        return self.small(torch.relu(x + self.second(torch.relu(self.norm(self.first(x))))))


@pytest.mark.parametrize("decomposed", [False, True])
def test_a_network_compiled_so(tmp_path, monkeypatch, decomposed):
    monkeypatch.setattr(_tune, "CANDIDATES", {"Winograd": _tune.CANDIDATES["freezing, Winograd"]})
    monkeypatch.setattr(_tune, "_SECONDS", 0.01)
    torch.manual_seed(2)
    module = Block()
    ep = program(module, 2, 32, 24, 26, dynamic_shapes={"x": {0: torch.export.Dim("count", min=1, max=8)}})
    if decomposed:
        ep = ep.run_decompositions()
    changed = ep.module()
    assert with_winograd(changed)
    assert sum(node.target is conv2d for node in changed.graph.nodes) == 2
    model = aoti.load(aoti.export(tmp_path / "model.pt2", aoti.Model(ep), threads=1, tune=True), threads=1)
    assert json.loads(model.metadata["aoti.tuned"])["tried"][0]["name"] == "Winograd"
    for count in (1, 2, 5):
        x = torch.randn(count, 32, 24, 26)
        torch.testing.assert_close(model(x), module(x), rtol=1e-4, atol=1e-4)
